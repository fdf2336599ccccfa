//! Reason codes: one enum per packet, so that a code a packet may not carry cannot be written (2.4, and §3.x.2.1 of each packet).

use std::fmt;

/// Any reason code, for logs and metrics, where the packet it came in does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonCode(pub u8);

impl ReasonCode {
    /// Codes of 0x80 and more say that it failed (2.4).
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// The code's name as the specification writes it, in lower case.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0x00 => "success",
            0x01 => "granted qos 1",
            0x02 => "granted qos 2",
            0x04 => "disconnect with will message",
            0x10 => "no matching subscribers",
            0x11 => "no subscription existed",
            0x18 => "continue authentication",
            0x19 => "re-authenticate",
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "unsupported protocol version",
            0x85 => "client identifier not valid",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8C => "bad authentication method",
            0x8D => "keep alive timeout",
            0x8E => "session taken over",
            0x8F => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x92 => "packet identifier not found",
            0x93 => "receive maximum exceeded",
            0x94 => "topic alias invalid",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9A => "retain not supported",
            0x9B => "qos not supported",
            0x9C => "use another server",
            0x9D => "server moved",
            0x9E => "shared subscriptions not supported",
            0x9F => "connection rate exceeded",
            0xA0 => "maximum connect time",
            0xA1 => "subscription identifiers not supported",
            0xA2 => "wildcard subscriptions not supported",
            _ => "unknown",
        }
    }

    /// The same for a code that came in a DISCONNECT, where 0x00 is called otherwise (table 3-10).
    pub const fn name_in_disconnect(self) -> &'static str {
        match self.0 {
            0x00 => "normal disconnection",
            _ => self.name(),
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", self.name(), self.0)
    }
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal),+ $(,)? })+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($variant = $code),+ }

        impl $name {
            /// Every code of this packet.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code for its byte on the wire, if this packet may carry it.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($code => Some(Self::$variant),)+ _ => None }
            }

            pub const fn code(self) -> ReasonCode {
                ReasonCode(self as u8)
            }

            pub const fn is_error(self) -> bool {
                self.code().is_error()
            }
        }

        impl From<$name> for ReasonCode {
            fn from(reason: $name) -> Self {
                reason.code()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.code().fmt(f)
            }
        }
    )+ };
}

reason_codes! {
    /// What a CONNACK says (table 3-1).
    ConnectReason {
        Success = 0x00, UnspecifiedError = 0x80, MalformedPacket = 0x81, ProtocolError = 0x82,
        ImplementationSpecificError = 0x83, UnsupportedProtocolVersion = 0x84, ClientIdentifierNotValid = 0x85,
        BadUserNameOrPassword = 0x86, NotAuthorized = 0x87, ServerUnavailable = 0x88, ServerBusy = 0x89, Banned = 0x8A,
        BadAuthenticationMethod = 0x8C, TopicNameInvalid = 0x90, PacketTooLarge = 0x95, QuotaExceeded = 0x97,
        PayloadFormatInvalid = 0x99, RetainNotSupported = 0x9A, QosNotSupported = 0x9B, UseAnotherServer = 0x9C,
        ServerMoved = 0x9D, ConnectionRateExceeded = 0x9F,
    }
    /// What a PUBACK or a PUBREC says (tables 3-4 and 3-5).
    PublishReason {
        Success = 0x00, NoMatchingSubscribers = 0x10, UnspecifiedError = 0x80, ImplementationSpecificError = 0x83,
        NotAuthorized = 0x87, TopicNameInvalid = 0x90, PacketIdentifierInUse = 0x91, QuotaExceeded = 0x97,
        PayloadFormatInvalid = 0x99,
    }
    /// What a PUBREL or a PUBCOMP says (tables 3-6 and 3-7).
    ReleaseReason { Success = 0x00, PacketIdentifierNotFound = 0x92 }
    /// What a SUBACK says of one filter (table 3-8).
    SubscribeReason {
        GrantedQos0 = 0x00, GrantedQos1 = 0x01, GrantedQos2 = 0x02, UnspecifiedError = 0x80,
        ImplementationSpecificError = 0x83, NotAuthorized = 0x87, TopicFilterInvalid = 0x8F, PacketIdentifierInUse = 0x91,
        QuotaExceeded = 0x97, SharedSubscriptionsNotSupported = 0x9E, SubscriptionIdentifiersNotSupported = 0xA1,
        WildcardSubscriptionsNotSupported = 0xA2,
    }
    /// What an UNSUBACK says of one filter (table 3-9).
    UnsubscribeReason {
        Success = 0x00, NoSubscriptionExisted = 0x11, UnspecifiedError = 0x80, ImplementationSpecificError = 0x83,
        NotAuthorized = 0x87, TopicFilterInvalid = 0x8F, PacketIdentifierInUse = 0x91,
    }
    /// What a DISCONNECT says (table 3-10); which end may say it is checked where it is read and written.
    DisconnectReason {
        NormalDisconnection = 0x00, DisconnectWithWillMessage = 0x04, UnspecifiedError = 0x80, MalformedPacket = 0x81,
        ProtocolError = 0x82, ImplementationSpecificError = 0x83, NotAuthorized = 0x87, ServerBusy = 0x89,
        ServerShuttingDown = 0x8B, KeepAliveTimeout = 0x8D, SessionTakenOver = 0x8E, TopicFilterInvalid = 0x8F,
        TopicNameInvalid = 0x90, ReceiveMaximumExceeded = 0x93, TopicAliasInvalid = 0x94, PacketTooLarge = 0x95,
        MessageRateTooHigh = 0x96, QuotaExceeded = 0x97, AdministrativeAction = 0x98, PayloadFormatInvalid = 0x99,
        RetainNotSupported = 0x9A, QosNotSupported = 0x9B, UseAnotherServer = 0x9C, ServerMoved = 0x9D,
        SharedSubscriptionsNotSupported = 0x9E, ConnectionRateExceeded = 0x9F, MaximumConnectTime = 0xA0,
        SubscriptionIdentifiersNotSupported = 0xA1, WildcardSubscriptionsNotSupported = 0xA2,
    }
    /// What an AUTH says (table 3-11).
    AuthReason { Success = 0x00, ContinueAuthentication = 0x18, ReAuthenticate = 0x19 }
}

impl ConnectReason {
    /// The return code of older versions (3.1.1 table 3.1) that says it best. They have no code for malformed input and the like,
    /// where the server closes without a CONNACK `[MQTT3-3.2.2-6]`; should one be written all the same, it says 3.
    pub const fn to_v3(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            Self::UnspecifiedError
            | Self::MalformedPacket
            | Self::ProtocolError
            | Self::ImplementationSpecificError
            | Self::ServerUnavailable
            | Self::ServerBusy
            | Self::TopicNameInvalid
            | Self::PacketTooLarge
            | Self::QuotaExceeded
            | Self::PayloadFormatInvalid
            | Self::RetainNotSupported
            | Self::QosNotSupported
            | Self::UseAnotherServer
            | Self::ServerMoved
            | Self::ConnectionRateExceeded => 3,
        }
    }

    /// What a return code of older versions means; 6 to 255 are reserved.
    pub const fn from_v3(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

impl SubscribeReason {
    /// The return code of older versions: the QoS granted, or 0x80 for any failure (3.1.1 §3.9.3).
    pub const fn to_v3(self) -> u8 {
        if self.is_error() { 0x80 } else { self as u8 }
    }

    /// What a return code of older versions means; others than these four are reserved `[MQTT3-3.9.3-2]`.
    pub const fn from_v3(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::GrantedQos0,
            1 => Self::GrantedQos1,
            2 => Self::GrantedQos2,
            0x80 => Self::UnspecifiedError,
            _ => return None,
        })
    }
}

impl DisconnectReason {
    /// Whether a client may say it (table 3-10).
    pub const fn is_for_client(self) -> bool {
        matches!(
            self,
            Self::NormalDisconnection
                | Self::DisconnectWithWillMessage
                | Self::UnspecifiedError
                | Self::MalformedPacket
                | Self::ProtocolError
                | Self::ImplementationSpecificError
                | Self::TopicNameInvalid
                | Self::ReceiveMaximumExceeded
                | Self::TopicAliasInvalid
                | Self::PacketTooLarge
                | Self::MessageRateTooHigh
                | Self::QuotaExceeded
                | Self::AdministrativeAction
                | Self::PayloadFormatInvalid
        )
    }

    /// Whether a server may say it (table 3-10).
    pub const fn is_for_server(self) -> bool {
        !matches!(self, Self::DisconnectWithWillMessage)
    }
}

impl AuthReason {
    /// Whether a client may say it (table 3-11).
    pub const fn is_for_client(self) -> bool {
        matches!(self, Self::ContinueAuthentication | Self::ReAuthenticate)
    }

    /// Whether a server may say it (table 3-11).
    pub const fn is_for_server(self) -> bool {
        matches!(self, Self::Success | Self::ContinueAuthentication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_by_their_bytes_and_by_nothing_else() {
        for reason in DisconnectReason::ALL {
            assert_eq!(DisconnectReason::from_byte(reason.code().0), Some(*reason));
        }
        assert_eq!(DisconnectReason::from_byte(0x01), None);
        assert_eq!(AuthReason::from_byte(0x17), None);
    }

    #[test]
    fn every_return_code_of_older_versions_stands_for_a_reason() {
        for code in 0..=5 {
            assert_eq!(ConnectReason::from_v3(code).unwrap().to_v3(), code);
        }
        assert_eq!(ConnectReason::from_v3(6), None);
        for code in [0, 1, 2, 0x80] {
            assert_eq!(SubscribeReason::from_v3(code).unwrap().to_v3(), code);
        }
        assert_eq!(SubscribeReason::from_v3(3), None);
    }

    #[test]
    fn no_refusal_turns_into_success_for_older_clients() {
        for reason in ConnectReason::ALL {
            assert_eq!(reason.to_v3() == 0, *reason == ConnectReason::Success, "{reason}");
        }
        for reason in SubscribeReason::ALL {
            assert_eq!(reason.to_v3() >= 0x80, reason.is_error(), "{reason}");
        }
    }
}
