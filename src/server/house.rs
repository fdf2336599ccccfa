use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::StartError;
use super::admin_port::{AdminPort, BoundPort};
use super::background;
use super::backups::Backups;
use super::ban_file::{self, BanFile};
use super::bridges::{self, Bridges};
use super::control;
use super::data_dir::DataDir;
use super::journal::{self, RunningJournal};
use super::office::{Office, Request};
use super::overload;
use super::patient::Patient;
use super::rights::{Outside, RightsLoader, RightsSource};
use crate::admin::{AdminState, Api, Condition, Exporter, Readiness};
use crate::auth::{AclFile, Authenticator, Authorizer, CertificateIdentity, Facts, MountPoint, Principal, certificate};
use crate::broker::{
    Admission, Broker, BrokerSettings, Buckets, Certificate, Client, Door, Event, Flow, LogLimiter, Origin, OverloadConfig,
    Rates, Recovered, Rights, RightsOf, Waiter,
};
use crate::cli::exit;
use crate::config::{Config, ConfigSource, Loaded};
use crate::metrics::{Limit, Metrics};
use crate::packet::ProtocolVersion;
use crate::remote::KeyFetcher;
use crate::session::Limits;
use crate::storage::{Keeper, Opened, Recover};
use crate::transport::{
    Accepted, ConnectionGate, Driver, GateLimits, Listener, ListenerConfig, ListenerContext, Permit, Reception, Refused,
    TlsAcceptorSlot,
};

/// The parts of a running broker that its signals work on.
pub struct House {
    /// What holds: not all of what was read last does before the next start.
    pub config: Config,
    pub source: ConfigSource,
    pub broker: Arc<Broker>,
    pub gate: Arc<ConnectionGate>,
    pub doors: Arc<HashMap<String, OpenDoor>>,
    /// Those outside that are asked about clients.
    pub outside: Outside,
    pub bridges: Bridges,
    pub office: Arc<Office>,
    pub admin: Option<AdminPort>,
    /// Taken by who waits for them.
    pub requests: Option<mpsc::Receiver<Request>>,
    pub overload: Arc<ArcSwap<OverloadConfig>>,
    serving: Arc<Condition>,
    journal: Option<RunningJournal>,
    _data_dir: DataDir,
}

/// A listener that is running.
pub struct OpenDoor {
    pub door: Arc<Door>,
    pub context: Arc<ListenerContext>,
    pub tls: Option<Arc<TlsAcceptorSlot>>,
    /// Where it is bound.
    pub address: String,
    /// 0 is no bound.
    pub max_connections: usize,
}

impl House {
    /// Reads all files, binds all addresses, and starts everything; on an error nothing is left running. What costs much of a
    /// login is done by `patient`.
    pub async fn build(
        loaded: Loaded,
        source: ConfigSource,
        recover: Option<Recover>,
        patient: &Patient,
        stopping: &watch::Receiver<bool>,
    ) -> Result<Self, StartError> {
        let Loaded { config, overrides } = loaded;
        let source = source.running_in(&config.data_dir);
        let data_dir = DataDir::open(&config.data_dir).map_err(storage_error)?;
        let admin = BoundPort::bind(&config, &source).await?;
        let exporter = Arc::new(Exporter::new());
        // Without an admin port nobody would ever take the samples.
        let metrics = Arc::new(if admin.is_there() { exporter.metrics() } else { Metrics::default() });
        let (events, told) = mpsc::channel(background::EVENTS_MAX);
        let opened = journal::open(&config, recover, &metrics)?;
        let broker = Broker::new(settings(&config, &metrics, events, opened.as_ref(), patient), Instant::now());
        let gate = open_gate(&config);
        let bans = Arc::new(BanFile::open(&config.data_dir, &broker.bans).map_err(storage_error)?);
        let (listeners, doors, (outside, fetchers)) = open_doors(&config, &metrics)?;
        let doors = Arc::new(doors);
        fetch_keys(fetchers).await;
        let bridge_rights = bridges::rights();
        let rights = RightsOfDoors::new(&doors, &config, &bridge_rights);
        let journal = opened.map(|opened| take_over(&broker, opened, &rights, &config)).transpose()?;
        broker.configure_queues(&config.queues, config.work_queues.clone(), Instant::now());
        let keeper = journal.as_ref().map(|journal: &RunningJournal| journal.keeper.clone());
        open_control(&config, &broker, keeper.clone())?;
        let readiness = Arc::new(Readiness::default());
        let serving = readiness.condition("serving");
        let overload = watch_overload(&config, &broker, &readiness);
        // They are subscribed before anybody can publish.
        let mut bridges = Bridges::new(broker.clone(), bridge_rights);
        bridges.apply(&config).await;
        let hall = Hall {
            broker: broker.clone(),
            gate: gate.clone(),
            logs: Arc::default(),
            handshakes: patient.handshakes().clone(),
            config: config.clone(),
        };
        hall.receive(listeners, &doors, stopping);
        let (ask, requests) = mpsc::channel(1);
        let office = Arc::new(Office {
            broker: broker.clone(),
            doors: doors.clone(),
            config: ArcSwap::from_pointee(config.clone()),
            overrides: ArcSwap::from_pointee(overrides),
            changeable: ArcSwap::from_pointee(source.changeable()),
            log_level: Mutex::new(config.log.level.clone()),
            bans: bans.clone(),
            backups: keeper.map(|keeper| backups(&config, &broker, keeper)),
            requests: ask,
        });
        let admin = open_admin(admin, &config, &office, exporter, readiness);
        tokio::spawn(ban_file::run(bans, broker.clone()));
        start_background(&config, &broker, &gate, &doors, told);
        Ok(Self {
            config,
            source,
            broker,
            gate,
            doors,
            outside,
            bridges,
            office,
            admin: Some(admin),
            requests: Some(requests),
            overload,
            serving,
            journal,
            _data_dir: data_dir,
        })
    }

    pub fn ready(&self) {
        self.serving.set(true);
    }

    pub fn not_ready(&self) {
        self.serving.set(false);
    }

    /// Ends when the journal has failed.
    pub fn journal_failure(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match &self.journal {
            Some(journal) => Box::pin(journal::failure(journal.ended.clone())),
            None => Box::pin(std::future::pending()),
        }
    }

    /// Writes what is left. Returns whether that failed.
    pub async fn close_journal(&mut self) -> bool {
        let Some(journal) = self.journal.take() else { return false };
        let ended = journal.ended.clone();
        self.broker.tell_leases(Instant::now());
        journal.stop().await;
        journal::has_failed(&ended)
    }

    /// The last thing that closes.
    pub async fn close_admin(&mut self) {
        if let Some(admin) = self.admin.take() {
            admin.close().await;
        }
    }
}

const fn storage_error(cause: String) -> StartError {
    StartError { code: exit::STORAGE, cause }
}

/// What the broker gets of the config; the clock is the journal's, if there is one.
fn settings(
    config: &Config,
    metrics: &Arc<Metrics>,
    events: mpsc::Sender<Event>,
    opened: Option<&Opened<Waiter>>,
    patient: &Patient,
) -> BrokerSettings {
    let journal = opened.map(|opened| opened.committer.journal());
    BrokerSettings {
        limits: config.limits.clone(),
        rates: config.rates.clone(),
        protection: config.protection.clone(),
        quotas: config.quotas.clone(),
        strategy: config.shared_subscriptions.strategy,
        password_checks: (config.auth.max_password_checks, config.auth.max_waiting_password_checks),
        hashing: Some(patient.hashing()),
        metrics: metrics.clone(),
        events: config.sys.presence.then_some(events),
        journal: journal.cloned(),
        queues: config.work_queues.clone(),
        clock: journal.map_or_else(journal::clock, |journal| journal.clock),
    }
}

fn open_gate(config: &Config) -> Arc<ConnectionGate> {
    let gate = ConnectionGate::new(gate_limits(&config.limits));
    gate.set_address_rate(config.rates.connections(config.rates.address_connection_rate), config.rates.max_tracked);
    gate
}

/// The first clients find the keys there.
async fn fetch_keys(fetchers: Vec<KeyFetcher>) {
    for mut fetcher in fetchers {
        fetcher.fetch().await;
        tokio::spawn(fetcher.run());
    }
}

/// The socket for the tools of the same machine.
fn open_control(config: &Config, broker: &Arc<Broker>, keeper: Option<Arc<Keeper<Waiter>>>) -> Result<(), StartError> {
    let socket = control::bind(&config.data_dir)
        .map_err(|error| storage_error(format!("the control socket cannot be made: {error}")))?;
    tokio::spawn(control::run(socket, broker.clone(), keeper));
    Ok(())
}

/// Memory is measured from now on, and readiness knows of it.
fn watch_overload(config: &Config, broker: &Arc<Broker>, readiness: &Arc<Readiness>) -> Arc<ArcSwap<OverloadConfig>> {
    let has_room = readiness.condition("memory");
    has_room.set(true);
    let overload = Arc::new(ArcSwap::from_pointee(config.overload.clone()));
    tokio::spawn(overload::run(broker.clone(), overload.clone(), has_room));
    overload
}

fn backups(config: &Config, broker: &Arc<Broker>, keeper: Arc<Keeper<Waiter>>) -> Arc<Backups> {
    Backups::new(config.data_dir.clone(), broker.clone(), keeper, config.durability.min_free_space.0)
}

fn open_admin(
    port: BoundPort,
    config: &Config,
    office: &Arc<Office>,
    exporter: Arc<Exporter>,
    readiness: Arc<Readiness>,
) -> AdminPort {
    let broker = office.broker.clone();
    let metrics = broker.metrics.clone();
    let api = config.admin.api.enabled.then(|| {
        let (exporter, readiness, access) = (exporter.clone(), readiness.clone(), port.access.clone());
        Arc::new(Api::new(broker, exporter, readiness, access, office.clone(), &config.sys.node))
    });
    port.serve(AdminState { api, dashboard: config.admin.dashboard, ..AdminState::new(metrics, exporter, readiness) })
}

/// What goes on beside the connections.
fn start_background(
    config: &Config,
    broker: &Arc<Broker>,
    gate: &Arc<ConnectionGate>,
    doors: &HashMap<String, OpenDoor>,
    told: mpsc::Receiver<Event>,
) {
    tokio::spawn(background::run_timers(broker.clone()));
    tokio::spawn(background::run_queues(broker.clone()));
    let contexts = doors.values().map(|door| (door.context.clone(), door.door.metrics.clone())).collect();
    tokio::spawn(background::run_gauges(broker.clone(), contexts));
    let with_tls = doors.values().filter(|door| door.tls.is_some()).map(|door| door.door.metrics.clone()).collect();
    tokio::spawn(background::run_expiry_warnings(with_tls));
    tokio::spawn(background::run_sweeps(broker.clone(), gate.clone()));
    tokio::spawn(background::run_sys_topics(broker.clone(), config.sys.clone()));
    tokio::spawn(background::run_presence(broker.clone(), config.sys.clone(), told));
    tokio::spawn(background::run_watchdog());
}

/// What the driver of each new connection is made of.
struct Hall {
    broker: Arc<Broker>,
    gate: Arc<ConnectionGate>,
    logs: Arc<LogLimiter>,
    handshakes: Handle,
    config: Config,
}

impl Hall {
    /// Lets clients in at all doors.
    fn receive(&self, listeners: Vec<Listener>, doors: &HashMap<String, OpenDoor>, stopping: &watch::Receiver<bool>) {
        for listener in listeners {
            let name = &listener.context().name;
            let door = doors[name].door.clone();
            tokio::spawn(listener.run(self.for_door(door), stopping.clone()));
        }
    }

    fn for_door(&self, door: Arc<Door>) -> Reception {
        let broker = self.broker.clone();
        let on_accepted = move |accepted: Accepted| {
            let Accepted { wire, peer, permit, deadline } = accepted;
            let certificate = peer.certificate.as_deref().map(|der| {
                let identity = certificate::identity(der, peer.listener.identity);
                let is_nameless = peer.listener.identity != CertificateIdentity::None && identity.is_none();
                Box::new(Certificate { identity, der: der.into(), is_nameless })
            });
            let origin = Origin { door: door.clone(), address: peer.address, certificate };
            let client = Client::new(broker.clone(), origin, wire.direct(), Box::new(Place(permit)));
            tokio::spawn(Driver::new(wire, client, deadline));
        };
        Reception {
            gate: self.gate.clone(),
            connect_timeout: self.config.limits.connect_timeout.0,
            burst: self.config.rates.burst.0,
            logs: self.logs.clone(),
            handshakes: self.handshakes.clone(),
            on_accepted: Arc::new(on_accepted),
        }
    }
}

/// A permit, in the broker's words.
struct Place(Permit);

impl Admission for Place {
    fn admit(&mut self) -> Result<(), Limit> {
        self.0.admit().map_err(limit)
    }
}

/// The limit in the metrics' words.
pub(super) const fn limit(refused: Refused) -> Limit {
    match refused {
        Refused::Connections => Limit::MaxConnections,
        Refused::Listener => Limit::ListenerMaxConnections,
        Refused::Address => Limit::MaxConnectionsPerAddress,
        Refused::Pending => Limit::MaxPendingConnections,
        Refused::AddressRate => Limit::AddressConnectionRate,
    }
}

pub(super) fn gate_limits(limits: &Limits) -> GateLimits {
    GateLimits {
        connected: limits.max_connections,
        pending: limits.max_pending_connections,
        per_address: limits.max_connections_per_address,
    }
}

/// The limits as a listener changes them.
pub(super) fn listener_limits(limits: &Limits, listener: &ListenerConfig) -> Limits {
    Limits {
        max_packet_size: listener.max_packet_size.unwrap_or(limits.max_packet_size),
        max_keep_alive: listener.max_keep_alive.unwrap_or(limits.max_keep_alive),
        ..limits.clone()
    }
}

/// What may come in a second from all clients of a listener together.
pub(super) fn listener_flow(rates: &Rates, listener: &ListenerConfig) -> Flow {
    rates.flow(listener.message_rate, listener.byte_rate)
}

/// Sessions and retained messages that were stored are taken over, and from then on the journal is written to.
fn take_over(
    broker: &Arc<Broker>,
    opened: Opened<Waiter>,
    rights: &RightsOfDoors,
    config: &Config,
) -> Result<RunningJournal, StartError> {
    let Opened { committer, state, bodies, messages, report, starts } = opened;
    broker.restore(Recovered { state, bodies, messages, starts, rights }, Instant::now());
    let wrong =
        |error: std::io::Error| StartError { code: exit::STORAGE, cause: format!("the journal cannot be run: {error}") };
    let journal = journal::start(broker, committer, config).map_err(wrong)?;
    if !report.given_up.is_empty() {
        // What was given up is behind a checkpoint now, so that the next start does not find it again.
        let held = journal.keeper.hold(&**broker);
        held.map_err(|error| StartError { code: exit::STORAGE, cause: format!("after recovery: {error}") })?;
    }
    Ok(journal)
}

/// Whose rights the sessions of a listener have. Those of one that is gone have the rights of all others, if these have the same, and
/// none otherwise.
#[derive(Debug)]
struct RightsOfDoors {
    by_name: HashMap<String, Arc<Rights>>,
    mount_points: HashMap<String, MountPoint>,
    others: Arc<Rights>,
}

impl RightsOfDoors {
    fn new(doors: &HashMap<String, OpenDoor>, config: &Config, of_bridges: &Arc<Rights>) -> Self {
        let mut by_name: HashMap<_, _> = doors.iter().map(|(name, open)| (name.clone(), open.door.rights.clone())).collect();
        let first = by_name.values().next();
        let common = first.filter(|first| by_name.values().all(|rights| Arc::ptr_eq(rights, first))).cloned();
        let others = common.unwrap_or_else(|| {
            let nothing = AclFile::parse("").expect("no line is wrong");
            Arc::new(Rights::new(Authenticator::new(false, None), Authorizer::new(Some(Arc::new(nothing)))))
        });
        by_name.extend(config.bridges.iter().map(|bridge| (bridges::door_name(&bridge.name), of_bridges.clone())));
        let mount_point = |(name, open): (&String, &OpenDoor)| Some((name.clone(), open.door.mount_point.clone()?));
        let mount_points = doors.iter().filter_map(mount_point).collect();
        Self { by_name, mount_points, others }
    }
}

impl RightsOf for RightsOfDoors {
    fn rights_of(&self, listener: &str) -> Arc<Rights> {
        self.by_name.get(listener).unwrap_or(&self.others).clone()
    }

    fn mount_point_of(&self, listener: &str, principal: &Principal) -> Option<Arc<str>> {
        let (client_id, username) = (&*principal.client_id, principal.username.as_deref());
        self.mount_points.get(listener)?.fill(&Facts { client_id, username, claims: None, certificate: None })
    }
}

type Doors = (Vec<Listener>, HashMap<String, OpenDoor>, (Outside, Vec<KeyFetcher>));

fn open_doors(config: &Config, metrics: &Arc<Metrics>) -> Result<Doors, StartError> {
    let mut loader = RightsLoader::new(&config.auth, metrics.clone(), Outside::default());
    let mut listeners = Vec::new();
    let mut doors = HashMap::new();
    for listener_config in &config.listeners {
        let listener = Listener::bind(listener_config)
            .map_err(|error| StartError { code: bind_code(&error), cause: error.to_string() })?;
        let context = listener.context().clone();
        let source = RightsSource::of(config, listener_config, context.is_loopback);
        let rights = loader.share(source).map_err(|cause| StartError { code: exit::CONFIG, cause })?;
        let versions = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];
        let door = Arc::new(Door {
            name: context.name.as_str().into(),
            versions: versions.into_iter().filter(|version| context.versions.contains(*version)).collect(),
            mount_point: mount_point(&context.mount_point)?,
            limits: ArcSwap::from_pointee(listener_limits(&config.limits, listener_config)),
            rights,
            revoked: ArcSwapOption::empty(),
            metrics: metrics.listener(&context.name),
            flow: ArcSwap::from_pointee(listener_flow(&config.rates, listener_config)),
            buckets: Buckets::shared(Instant::now()),
        });
        let address = listener.local_addr().map_or_else(|| listener_config.url.clone(), |address| address.to_string());
        tracing::info!(listener = context.name, transport = context.transport, address = &*address, "listening");
        if let Some(slot) = listener.tls() {
            door.metrics.certificate_expiry.set(slot.expires_at());
            warn_of_expiry(&context.name, slot.expires_at());
        }
        let (tls, max_connections) = (listener.tls().cloned(), listener_config.max_connections);
        doors.insert(context.name.clone(), OpenDoor { door, context, tls, address, max_connections });
        listeners.push(listener);
    }
    Ok((listeners, doors, loader.finish()))
}

/// Time in which a certificate that is about to end is told in the log.
const EXPIRY_WARNING: u64 = 14 * 24 * 3600;

/// Tells of certificates that end soon, or have.
pub(super) fn warn_of_expiry(listener: &str, expires_at: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if expires_at <= now {
        tracing::error!(listener, expires_at, "a certificate has expired");
    } else if expires_at - now < EXPIRY_WARNING {
        tracing::warn!(listener, expires_at, days = (expires_at - now) / (24 * 3600), "a certificate expires soon");
    }
}

fn mount_point(text: &str) -> Result<Option<MountPoint>, StartError> {
    let parsed = (!text.is_empty()).then(|| MountPoint::parse(text)).transpose();
    parsed.map_err(|error| StartError { code: exit::CONFIG, cause: format!("mount_point {text:?}: {error}") })
}

/// A certificate that cannot be read is a wrong config; an address that cannot be had is not.
const fn bind_code(error: &crate::transport::BindError) -> u8 {
    use crate::transport::listener::BindCause;
    match error.cause {
        BindCause::Io(_) => exit::CANNOT_BIND,
        BindCause::Url(_) | BindCause::Versions(_) | BindCause::NoCertificate(_) | BindCause::Tls(_) => exit::CONFIG,
    }
}
