//! The labels. A new cause to count is a new line here.

use super::Kind;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal),+ $(,)? })+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value of the label in Prometheus.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }

        impl Kind for $name {
            const ALL: &'static [Self] = Self::ALL;

            fn name(self) -> &'static str {
                self.name()
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )+ };
}

kinds! {
    /// The fifteen control packets, in the order of their type on the wire, which begins at 1 (2.1.2).
    PacketType {
        Connect = "connect", ConnAck = "connack", Publish = "publish", PubAck = "puback", PubRec = "pubrec", PubRel = "pubrel",
        PubComp = "pubcomp", Subscribe = "subscribe", SubAck = "suback", Unsubscribe = "unsubscribe", UnsubAck = "unsuback",
        PingReq = "pingreq", PingResp = "pingresp", Disconnect = "disconnect", Auth = "auth",
    }

    /// Why a message did not reach a subscriber.
    DropReason {
        /// The session's queue was full by `max_queued_messages`.
        QueueFull = "queue_full",
        /// The session's queue was full by `max_queued_bytes`.
        QueueBytes = "queue_bytes",
        /// A QoS 0 message to a peer whose write buffer was full.
        WriteBufferFull = "write_buffer_full",
        /// Written or queued for a peer that was cut because it took nothing.
        SlowConsumer = "slow_consumer",
        /// Larger than the subscriber's Maximum Packet Size `[MQTT-3.1.2-25]`.
        TooLarge = "too_large",
        /// The session ended with messages waiting.
        SessionGone = "session_gone",
        /// A QoS 0 message to a session that is offline, where those do not wait.
        Offline = "offline",
        /// The Message Expiry Interval had passed `[MQTT-3.3.2-5]`.
        Expired = "expired",
        /// The publisher may not publish it, or the subscriber may not read it any more.
        NotAuthorized = "not_authorized",
        /// All sessions of the user together had too much waiting, by `user_queued_bytes`.
        UserQueueBytes = "user_queue_bytes",
        /// All sessions of the tenant together had too much waiting, by `tenant_queued_bytes`.
        TenantQueueBytes = "tenant_queue_bytes",
        /// A QoS 0 message to a subscriber that did not keep up, while memory ran short.
        Overload = "overload",
        /// Nobody had subscribed to it.
        NoSubscriber = "no_subscriber",
    }

    /// The keys of `[limits]`, `[rates]`, `[protection]`, `[quotas]` and `[overload]` that can be hit, and the bounds of a listener, of
    /// `[work_queues]` and of `[auth.http]`.
    Limit {
        MaxConnections = "max_connections", MaxConnectionsPerAddress = "max_connections_per_address",
        MaxPendingConnections = "max_pending_connections", ConnectTimeout = "connect_timeout", MaxConnectSize = "max_connect_size",
        MaxPacketSize = "max_packet_size", ReceiveMaximum = "receive_maximum", MaxInflight = "max_inflight",
        MaxQueuedMessages = "max_queued_messages", MaxQueuedBytes = "max_queued_bytes", MaxWriteBuffer = "max_write_buffer",
        SlowConsumerTimeout = "slow_consumer_timeout", MaxSubscriptions = "max_subscriptions", MaxQueues = "max_queues",
        MaxDelayedMessages = "max_delayed_messages", MaxDelayedBytes = "max_delayed_bytes", MaxTopicLevels = "max_topic_levels",
        MaxTopicLength = "max_topic_length", MaxRetainedMessages = "max_retained_messages", MaxRetainedBytes = "max_retained_bytes",
        TopicAliasMaximum = "topic_alias_maximum", MaxTopicAliasesOut = "max_topic_aliases_out", MaxKeepAlive = "max_keep_alive",
        MaxSessionExpiry = "max_session_expiry", MaxSessions = "max_sessions", MaxClientIdLength = "max_client_id_length",
        MaxUserProperties = "max_user_properties",
        /// Bans, which fill up when they are made by themselves.
        MaxBans = "max_bans",
        /// `max_waiting` of `[auth.http]`.
        HttpMaxWaiting = "auth_http_max_waiting",
        /// `max_cached` of `[auth.http]`: answers for one session.
        HttpMaxCached = "auth_http_max_cached",
        /// `max_cached_logins` of `[auth.http]`.
        HttpMaxCachedLogins = "auth_http_max_cached_logins",
        /// `max_connections` of one listener.
        ListenerMaxConnections = "listener_max_connections",
        /// The keys of `[rates]`.
        ClientMessageRate = "client_message_rate", ClientByteRate = "client_byte_rate", UserMessageRate = "user_message_rate",
        UserByteRate = "user_byte_rate", AddressMessageRate = "address_message_rate", AddressByteRate = "address_byte_rate",
        AddressConnectionRate = "address_connection_rate", MaxTracked = "max_tracked",
        /// `message_rate`, `byte_rate` and `connection_rate` of one listener.
        ListenerMessageRate = "listener_message_rate", ListenerByteRate = "listener_byte_rate",
        ListenerConnectionRate = "listener_connection_rate",
        /// The keys of `[protection]`.
        LoginFailures = "login_failures", Reconnects = "reconnects", Takeovers = "takeovers", MaxWatched = "max_watched",
        /// The keys of `[quotas]`.
        UserConnections = "user_connections", UserSessions = "user_sessions", UserSubscriptions = "user_subscriptions",
        UserRetainedMessages = "user_retained_messages", UserQueuedBytes = "user_queued_bytes",
        UserQueues = "user_queues", UserDelayedMessages = "user_delayed_messages", TenantConnections = "tenant_connections", TenantSessions = "tenant_sessions",
        TenantSubscriptions = "tenant_subscriptions", TenantRetainedMessages = "tenant_retained_messages",
        TenantQueuedBytes = "tenant_queued_bytes", TenantQueues = "tenant_queues",
        TenantDelayedMessages = "tenant_delayed_messages",
        /// The keys of `[overload]`.
        ShedAt = "shed_at", RefuseConnectionsAt = "refuse_connections_at", RefusePublishesAt = "refuse_publishes_at",
    }

    /// How a login ended.
    Authentication {
        Success = "success",
        /// Let in without a name, because the config allows it.
        Anonymous = "anonymous",
        /// No name given, and the config wants one.
        AnonymousRefused = "anonymous_refused",
        /// Unknown user or wrong password.
        BadCredentials = "bad_credentials",
        /// A certificate that names nobody, or somebody who may not in.
        BadCertificate = "bad_certificate",
        /// An Authentication Method that is not spoken here (4.12).
        BadMethod = "bad_method",
        /// An AUTH exchange that failed on the way (4.12).
        ExchangeFailed = "exchange_failed",
        /// Too many logins were being checked at once.
        Overloaded = "overloaded",
        /// What knows the users could not be asked.
        Unavailable = "unavailable",
    }

    /// What became of a question to the HTTP server that says who clients are and what they may do.
    HookResult {
        /// It said yes, no, or that the client is none of its own.
        Answered = "answered",
        /// An answer of before was still good.
        Cached = "cached",
        /// No connection, no answer in time, or one that cannot be used.
        Failed = "failed",
        /// Not asked: too many questions were waiting.
        Overloaded = "overloaded",
        /// Not asked: it had not answered several times in a row.
        Paused = "paused",
    }

    /// What became of a request for keys.
    KeyFetch { Success = "success", Failure = "failure" }

    /// What a client wanted and was not let.
    Denied {
        Publish = "publish",
        Subscribe = "subscribe",
        /// Being given a message that its subscription matches.
        Read = "read",
        /// A Will on a topic it may not publish to.
        Will = "will",
    }

    /// The kinds of `packet::Malformed`.
    MalformedKind {
        Packet = "malformed_packet", Protocol = "protocol_error", Version = "unsupported_protocol_version",
        TooLarge = "packet_too_large", TopicName = "topic_name_invalid", TopicFilter = "topic_filter_invalid",
        TopicAlias = "topic_alias_invalid", Quota = "quota_exceeded",
    }
}

impl PacketType {
    /// The type in the first byte of a packet; `None` for the reserved 0.
    pub const fn of_first_byte(byte: u8) -> Option<Self> {
        match byte >> 4 {
            0 => None,
            number => Some(Self::ALL[number as usize - 1]),
        }
    }
}

impl DropReason {
    /// The limit that the drop is due to, if one is.
    pub const fn limit(self) -> Option<Limit> {
        match self {
            Self::QueueFull => Some(Limit::MaxQueuedMessages),
            Self::QueueBytes => Some(Limit::MaxQueuedBytes),
            Self::WriteBufferFull => Some(Limit::MaxWriteBuffer),
            Self::SlowConsumer => Some(Limit::SlowConsumerTimeout),
            Self::UserQueueBytes => Some(Limit::UserQueuedBytes),
            Self::TenantQueueBytes => Some(Limit::TenantQueuedBytes),
            Self::Overload => Some(Limit::ShedAt),
            Self::TooLarge | Self::SessionGone | Self::Offline | Self::Expired | Self::NotAuthorized | Self::NoSubscriber => {
                None
            }
        }
    }

    /// Whether a subscriber lost what it should have got because a bound was reached: what mosquitto counts as dropped.
    pub const fn is_loss(self) -> bool {
        match self {
            Self::QueueFull
            | Self::QueueBytes
            | Self::WriteBufferFull
            | Self::SlowConsumer
            | Self::UserQueueBytes
            | Self::TenantQueueBytes
            | Self::Overload
            | Self::TooLarge
            | Self::SessionGone => true,
            Self::Offline | Self::Expired | Self::NotAuthorized | Self::NoSubscriber => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_are_distinct<K: Kind>() {
        let mut names: Vec<_> = K::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), K::ALL.len());
        assert!(K::ALL.iter().enumerate().all(|(place, kind)| kind.index() == place));
    }

    #[test]
    fn no_label_value_stands_for_two_kinds() {
        names_are_distinct::<PacketType>();
        names_are_distinct::<DropReason>();
        names_are_distinct::<Limit>();
        names_are_distinct::<Authentication>();
        names_are_distinct::<Denied>();
        names_are_distinct::<HookResult>();
        names_are_distinct::<KeyFetch>();
        names_are_distinct::<MalformedKind>();
    }

    #[test]
    fn the_packet_type_is_the_upper_half_of_the_first_byte() {
        assert_eq!(PacketType::of_first_byte(0x0F), None);
        assert_eq!(PacketType::of_first_byte(0x10), Some(PacketType::Connect));
        assert_eq!(PacketType::of_first_byte(0x3D), Some(PacketType::Publish));
        assert_eq!(PacketType::of_first_byte(0xE0), Some(PacketType::Disconnect));
        assert_eq!(PacketType::of_first_byte(0xF0), Some(PacketType::Auth));
    }
}
