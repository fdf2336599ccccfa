use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use super::connect::{OpenRequest, next_epoch};
use super::door::Origin;
use super::wills::Will;
use crate::auth::{Authenticator, Credentials, Principal, Verdict};
use crate::metrics::{Limit, Metrics};
use crate::packet::{ConnAckProperties, Connect, ConnectReason, ProtocolVersion, TopicName};
use crate::session::Limits;

/// A CONNECT that is within the rules, copied out of the read buffer while it is decided who sent it.
#[derive(Debug)]
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
    pub maximum_packet_size: Option<u32>,
    topic_alias_maximum: u16,
    wants_response_information: bool,
    pub problem_information: bool,
    will: Option<Will>,
    pub username: Option<String>,
    pub password: Option<Vec<u8>>,
    pub certificate_identity: Option<String>,
    pub method: Option<Arc<str>>,
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
        let will = connect.will.as_ref().map(|will| mounted_will(will, origin, limits, metrics)).transpose()?;
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
            maximum_packet_size: properties.maximum_packet_size,
            topic_alias_maximum: properties.topic_alias_maximum,
            wants_response_information: properties.request_response_information,
            problem_information: properties.request_problem_information,
            will,
            username: connect.username.map(String::from),
            password: connect.password.map(<[u8]>::to_vec),
            certificate_identity: origin.certificate_identity.clone(),
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

    /// What the registry needs; the will goes with it.
    pub fn request(&mut self, principal: Principal, origin: &Origin, limits: Arc<Limits>) -> OpenRequest {
        OpenRequest {
            principal,
            door: origin.door.clone(),
            limits,
            version: self.version,
            clean_start: self.clean_start,
            expiry_interval: self.expiry_interval,
            receive_maximum: self.receive_maximum,
            maximum_packet_size: self.maximum_packet_size,
            topic_alias_maximum: self.topic_alias_maximum,
            keep_alive: self.keep_alive,
            will: self.will.take(),
            is_by_certificate: self.certificate_identity.is_some(),
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

fn mounted_will(will: &crate::packet::Will<'_>, origin: &Origin, limits: &Limits, metrics: &Metrics) -> Result<Will, Refusal> {
    let invalid = refusal(ConnectReason::TopicNameInvalid, "the will's topic is over the server's limit of length or levels");
    if let Err(limit) = limits.check_topic(will.topic.as_str()) {
        metrics.limit_hits.count(limit);
        return Err(invalid);
    }
    match &origin.door.mount_point {
        None => Ok(Will::new(will, will.topic)),
        Some(mount_point) => {
            let topic = format!("{mount_point}{}", will.topic);
            Ok(Will::new(will, TopicName::new(&topic).map_err(|_| invalid)?))
        }
    }
}

/// Checks passwords off the runtime's threads, so many at a time and no more.
#[derive(Debug)]
pub struct PasswordChecks {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl PasswordChecks {
    pub fn new(running_max: usize, waiting_max: usize) -> Self {
        let running_max = running_max.max(1);
        Self {
            running: Arc::new(Semaphore::new(running_max)),
            admitted: Arc::new(Semaphore::new((running_max + waiting_max).min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Begins a check; `None` when too many wait already.
    pub fn begin(
        &self,
        authenticator: Arc<Authenticator>,
        login: Box<Login>,
    ) -> Option<oneshot::Receiver<(Box<Login>, Verdict)>> {
        let admitted = self.admitted.clone().try_acquire_owned().ok()?;
        let running = self.running.clone();
        let (mut sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            // Whoever has hung up meanwhile costs nothing more, and gives its place back.
            let permit = tokio::select! {
                biased;
                () = sender.closed() => return,
                permit = running.acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            tokio::task::spawn_blocking(move || {
                let verdict = authenticator.authenticate(&login.credentials());
                let _ = sender.send((login, verdict));
                drop((permit, admitted));
            });
        });
        Some(receiver)
    }
}
