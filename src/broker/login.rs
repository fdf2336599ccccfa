use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::Broker;
use super::bridges::BRIDGE_PREFIX;
use super::connect::{OpenRequest, next_epoch};
use super::door::Origin;
use super::standing::Brought;
use super::wills::Will;
use crate::auth::{Credentials, Facts, Granted, Principal, RightAnswer};
use crate::metrics::{Limit, Metrics};
use crate::packet::{ConnAckProperties, Connect, ConnectReason, ProtocolVersion, TopicName};
use crate::session::Limits;

/// A CONNECT that is within the rules, copied out of the read buffer while it is decided who sent it.
#[derive(Clone, Debug)]
pub struct Login {
    pub version: ProtocolVersion,
    pub client_id: Arc<str>,
    /// The client gave none: it is told this one `[MQTT-3.2.2-16]`.
    is_assigned: bool,
    clean_start: bool,
    wanted_keep_alive: u16,
    keep_alive: u16,
    wanted_expiry: u32,
    pub expiry_interval: u32,
    receive_maximum: u16,
    names_receive_maximum: bool,
    pub maximum_packet_size: Option<u32>,
    topic_alias_maximum: u16,
    wants_response_information: bool,
    pub problem_information: bool,
    /// As the client named it, without a mount point.
    will: Option<Will>,
    /// What was said to the will by somebody outside, if anybody was asked.
    pub will_answer: Option<RightAnswer>,
    pub username: Option<String>,
    pub password: Option<Vec<u8>>,
    pub certificate_identity: Option<String>,
    pub method: Option<Arc<str>>,
    /// The last word of an authentication exchange, for CONNACK (4.12).
    pub exchange_data: Option<Vec<u8>>,
}

/// A client that has shown who it is, and has a place.
#[derive(Debug)]
pub struct Admitted {
    pub granted: Box<Granted>,
    pub principal: Principal,
    pub mount_point: Option<Arc<str>>,
    pub brought: Brought,
    /// On the topic that it is published on.
    pub will: Option<Will>,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: ConnectReason,
    pub why: &'static str,
}

pub(super) const fn refusal(reason: ConnectReason, why: &'static str) -> Refusal {
    Refusal { reason, why }
}

impl Login {
    /// Checks a CONNECT against the listener's rules and the limits.
    pub fn new(connect: &Connect<'_>, origin: &Origin, limits: &Limits, metrics: &Metrics) -> Result<Self, Refusal> {
        let door = &origin.door;
        if !door.versions.contains(&connect.version) {
            return Err(refusal(ConnectReason::UnsupportedProtocolVersion, "this listener does not let this version in"));
        }
        let client_id = client_id(connect, limits, metrics)?;
        if client_id.starts_with(BRIDGE_PREFIX) && !door.is_own() {
            let why = "client identifiers that begin so are the server's own bridges'";
            return Err(refusal(ConnectReason::ClientIdentifierNotValid, why));
        }
        let will = connect.will.as_ref().map(|will| checked_will(will, limits, metrics)).transpose()?;
        let properties = &connect.properties;
        let (wanted_expiry, keep_alive) = match connect.version {
            ProtocolVersion::V5 => (properties.session_expiry_interval, limits.bound_keep_alive(connect.keep_alive)),
            // Older clients cannot be told of a shorter keep alive; their session ends with the connection or is kept.
            _ if connect.clean_start => (0, connect.keep_alive),
            _ => (u32::MAX, connect.keep_alive),
        };
        if keep_alive != connect.keep_alive {
            metrics.limit_hits.count(Limit::MaxKeepAlive);
        }
        let expiry_interval = limits.bound_session_expiry(wanted_expiry);
        if expiry_interval != wanted_expiry && connect.version == ProtocolVersion::V5 {
            metrics.limit_hits.count(Limit::MaxSessionExpiry);
        }
        Ok(Self {
            version: connect.version,
            is_assigned: connect.client_id.is_empty(),
            client_id,
            clean_start: connect.clean_start,
            wanted_keep_alive: connect.keep_alive,
            keep_alive,
            wanted_expiry,
            expiry_interval,
            receive_maximum: properties.receive_maximum.min(limits.max_inflight),
            names_receive_maximum: properties.receive_maximum != u16::MAX,
            maximum_packet_size: properties.maximum_packet_size,
            topic_alias_maximum: properties.topic_alias_maximum,
            wants_response_information: properties.request_response_information,
            problem_information: properties.request_problem_information,
            will,
            will_answer: None,
            exchange_data: None,
            username: connect.username.map(String::from),
            password: connect.password.map(<[u8]>::to_vec),
            certificate_identity: origin.certificate.as_ref().and_then(|certificate| certificate.identity.clone()),
            method: properties.authentication_method.map(Arc::from),
        })
    }

    pub fn credentials(&self) -> Credentials<'_> {
        Credentials {
            client_id: &self.client_id,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            certificate_identity: self.certificate_identity.as_deref(),
        }
    }

    pub fn will(&self) -> Option<&Will> {
        self.will.as_ref()
    }

    /// The will on the topic that it is published on.
    pub fn mounted_will(&self, mount_point: Option<&str>) -> Result<Option<Will>, Refusal> {
        let Some(will) = &self.will else { return Ok(None) };
        let Some(mount_point) = mount_point else { return Ok(Some(will.clone())) };
        let topic = format!("{mount_point}{}", will.topic());
        Ok(Some(will.on_topic(TopicName::new(&topic).map_err(|_| invalid_will())?)))
    }

    /// Where the client's topics lie.
    pub fn place(&self, origin: &Origin, granted: &Granted) -> Result<Option<Arc<str>>, Refusal> {
        let why = "the listener's mount point cannot be filled in for this client";
        let place = self.mount_point(origin, granted.username.as_deref(), granted.claims.as_ref());
        place.ok_or_else(|| refusal(ConnectReason::NotAuthorized, why))
    }

    /// Where the topics of a client with this name would lie; the outer `None` if that cannot be said.
    pub fn mount_point(
        &self,
        origin: &Origin,
        username: Option<&str>,
        claims: Option<&Map<String, Value>>,
    ) -> Option<Option<Arc<str>>> {
        let Some(mount_point) = &origin.door.mount_point else { return Some(None) };
        let certificate = origin.certificate_der().map(|der| &**der);
        mount_point.fill(&Facts { client_id: &self.client_id, username, claims, certificate }).map(Some)
    }

    /// Who the client is.
    pub fn principal(&self, granted: &Granted) -> Principal {
        Principal { client_id: self.client_id.clone(), username: granted.username.as_deref().map(Into::into) }
    }

    /// The rights that came with the login.
    pub fn brought(granted: &Granted, mount_point: Option<Arc<str>>) -> Brought {
        let grants = granted.grants.clone().map(|grants| Arc::new(grants.mounted(mount_point)));
        grants.map_or(Brought::Nothing, Brought::Grants)
    }

    /// What the registry needs.
    pub fn request(&self, admitted: Admitted, origin: &Origin, limits: Arc<Limits>, now: Instant) -> OpenRequest {
        let Admitted { granted, principal, mount_point, brought, will } = admitted;
        OpenRequest {
            principal,
            mount_point,
            brought,
            by: granted.by,
            valid_until: granted.stay.and_then(|stay| now.checked_add(stay)),
            certificate: origin.certificate_der().cloned(),
            door: origin.door.clone(),
            limits,
            version: self.version,
            clean_start: self.clean_start,
            expiry_interval: self.expiry_interval,
            receive_maximum: self.receive_maximum,
            names_receive_maximum: self.names_receive_maximum,
            maximum_packet_size: self.maximum_packet_size,
            topic_alias_maximum: self.topic_alias_maximum,
            keep_alive: self.keep_alive,
            will,
            address: origin.address,
        }
    }

    /// What the client is told besides success; older clients are told nothing.
    pub fn connack<'a>(&'a self, limits: &Limits, response_information: Option<&'a str>) -> ConnAckProperties<'a> {
        ConnAckProperties {
            session_expiry_interval: (self.expiry_interval != self.wanted_expiry).then_some(self.expiry_interval),
            receive_maximum: limits.receive_maximum,
            maximum_packet_size: u32::try_from(limits.max_packet_size.0).ok(),
            assigned_client_identifier: self.is_assigned.then_some(&*self.client_id),
            topic_alias_maximum: limits.topic_alias_maximum,
            server_keep_alive: (self.keep_alive != self.wanted_keep_alive).then_some(self.keep_alive),
            response_information: response_information.filter(|_| self.wants_response_information),
            ..ConnAckProperties::default()
        }
    }

    pub const fn keep_alive(&self) -> u16 {
        self.keep_alive
    }

    pub const fn is_assigned(&self) -> bool {
        self.is_assigned
    }

    pub const fn clean_start(&self) -> bool {
        self.clean_start
    }
}

fn client_id(connect: &Connect<'_>, limits: &Limits, metrics: &Metrics) -> Result<Arc<str>, Refusal> {
    if connect.client_id.len() > limits.max_client_id_length {
        metrics.limit_hits.count(Limit::MaxClientIdLength);
        return Err(refusal(
            ConnectReason::ClientIdentifierNotValid,
            "the client identifier is over the server's limit of length",
        ));
    }
    if !connect.client_id.is_empty() {
        return Ok(connect.client_id.into());
    }
    match connect.version {
        // [MQTT-3.1.3-6], [MQTT3-3.1.3-7]
        ProtocolVersion::V5 => {}
        ProtocolVersion::V311 if connect.clean_start => {}
        // [MQTT3-3.1.3-8]; 3.1 wants 1 to 23 characters.
        _ => {
            return Err(refusal(ConnectReason::ClientIdentifierNotValid, "an empty client identifier without a clean session"));
        }
    }
    Ok(format!("auto-{:016x}-{:x}", rand::random::<u64>(), next_epoch()).into())
}

fn checked_will(will: &crate::packet::Will<'_>, limits: &Limits, metrics: &Metrics) -> Result<Will, Refusal> {
    if let Err(limit) = limits.check_topic(will.topic.as_str()) {
        metrics.limit_hits.count(limit);
        return Err(invalid_will());
    }
    if Broker::special(will.topic).is_some() {
        return Err(refusal(ConnectReason::TopicNameInvalid, "a will cannot go to $queue, $dedup or $delayed"));
    }
    Ok(Will::new(will, will.topic))
}

const fn invalid_will() -> Refusal {
    refusal(ConnectReason::TopicNameInvalid, "the will's topic is over the server's limit of length or levels")
}
