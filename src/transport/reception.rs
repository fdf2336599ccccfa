use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::broker::{Bucket, LogLimiter, Rate};
use crate::transport::accept_loop::{OnAccept, stopped};
use crate::transport::limits::{ConnectionGate, Permit, Refused};
use crate::transport::plain::{TcpWire, UnixWire};
use crate::transport::stats::HandshakeStep;
use crate::transport::tls::{TlsAcceptorSlot, TlsWire, peer_certificate};
use crate::transport::websocket::{self, HandshakeRules, WebSocketWire};
use crate::transport::{Accepted, ListenerContext, PeerInfo, Wire, proxy_protocol};

/// What the listeners share.
#[derive(Clone)]
pub struct Reception {
    pub gate: Arc<ConnectionGate>,
    /// Time from accept to a whole CONNECT.
    pub connect_timeout: Duration,
    /// How long connections gather that a listener's `connection_rate` would have let in.
    pub burst: Duration,
    pub logs: Arc<LogLimiter>,
    /// Where TLS handshakes are done, which cost more than all else on the way in.
    pub handshakes: Handle,
    /// Takes a connection over. It is to spawn a task for it and return: for plain TCP it is called by the accept loop. The
    /// task of the handshakes ends with the call, and its memory is given back. Called within the runtime of the listener.
    pub on_accepted: Arc<dyn Fn(Accepted) + Send + Sync>,
}

/// What lies between the socket and MQTT, from the outside in.
#[derive(Default)]
pub(super) struct Layers {
    pub(super) proxy_protocol: bool,
    pub(super) tls: Option<Arc<TlsAcceptorSlot>>,
    pub(super) websocket: Option<HandshakeRules>,
}

/// One listener's side of the reception: takes each socket through the limits and the handshakes.
pub(super) struct Doorkeeper {
    pub(super) context: Arc<ListenerContext>,
    /// How many connections were taken in against how many may be.
    pub(super) arrivals: Mutex<Bucket>,
    pub(super) layers: Layers,
    pub(super) reception: Reception,
    /// The runtime that the listener and its connections are of.
    pub(super) home: Handle,
    pub(super) stop: watch::Receiver<bool>,
}

/// Why a socket came to nothing.
enum Failure {
    Refused(Refused),
    Handshake(HandshakeStep, String),
}

/// A connection on its way in.
struct Arrival {
    peer: PeerInfo,
    permit: Permit,
    deadline: Instant,
}

impl OnAccept<(TcpStream, SocketAddr)> for Arc<Doorkeeper> {
    fn on_socket(&self, (stream, address): (TcpStream, SocketAddr)) {
        let Some(arrival) = self.arrive(Some(address)) else { return };
        // Fails only on a socket that is dead already, which the first read tells.
        let _ = stream.set_nodelay(true);
        if self.layers.is_plain() {
            return self.hand_on(arrival, Box::new(TcpWire::new(stream)));
        }
        let keeper = self.clone();
        // The socket's readiness comes from the listener's runtime in either case.
        let runtime = if self.layers.tls.is_some() { &self.reception.handshakes } else { &self.home };
        runtime.spawn(async move {
            let opening = async |arrival: &mut Arrival| keeper.layers.open_tcp(stream, arrival).await;
            keeper.open(arrival, opening).await;
        });
    }

    fn pause(&self) -> Duration {
        Doorkeeper::pause(self)
    }

    fn on_error(&self, error: &io::Error, wait: Duration) {
        self.on_accept_error(error, wait);
    }
}

impl OnAccept<UnixStream> for Arc<Doorkeeper> {
    fn on_socket(&self, stream: UnixStream) {
        let Some(arrival) = self.arrive(None) else { return };
        if self.layers.is_plain() {
            return self.hand_on(arrival, Box::new(UnixWire::new(stream)));
        }
        let keeper = self.clone();
        tokio::spawn(async move {
            let opening = async |arrival: &mut Arrival| keeper.layers.open_unix(stream, arrival).await;
            keeper.open(arrival, opening).await;
        });
    }

    fn pause(&self) -> Duration {
        Doorkeeper::pause(self)
    }

    fn on_error(&self, error: &io::Error, wait: Duration) {
        self.on_accept_error(error, wait);
    }
}

impl Doorkeeper {
    /// Holds a new socket to the limits.
    fn arrive(&self, address: Option<SocketAddr>) -> Option<Arrival> {
        self.context.stats.count_accepted();
        let arrival = self.try_arrive(address);
        arrival.map_err(|refused| self.on_failure(address, &Failure::Refused(refused))).ok()
    }

    fn try_arrive(&self, address: Option<SocketAddr>) -> Result<Arrival, Refused> {
        let mut permit = self.reception.gate.enter(&self.context.count)?;
        // A proxy is not held to the cap of one address, its clients are.
        if let Some(address) = address
            && !self.layers.proxy_protocol
        {
            permit.count_address(address.ip(), Instant::now())?;
        }
        let transport = self.context.transport;
        let peer = PeerInfo { address, listener: self.context.clone(), certificate: None, transport };
        Ok(Arrival { peer, permit, deadline: Instant::now() + self.reception.connect_timeout })
    }

    /// Does the handshakes within the time to CONNECT, unless the broker stops first.
    async fn open(&self, mut arrival: Arrival, opening: impl AsyncFnOnce(&mut Arrival) -> Result<Box<dyn Wire>, Failure>) {
        let deadline = arrival.deadline.into();
        let mut stop = self.stop.clone();
        let opened = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            opened = timeout_at(deadline, opening(&mut arrival)) => opened,
        };
        let timeout = |_| Err(Failure::Handshake(HandshakeStep::Timeout, "no handshake within connect_timeout".into()));
        match opened.unwrap_or_else(timeout) {
            Ok(wire) => self.hand_on(arrival, wire),
            Err(failure) => self.on_failure(arrival.peer.address, &failure),
        }
    }

    fn hand_on(&self, Arrival { peer, permit, deadline }: Arrival, wire: Box<dyn Wire>) {
        let _home = self.home.enter();
        (self.reception.on_accepted)(Accepted { wire, peer, permit, deadline });
    }

    fn on_failure(&self, address: Option<SocketAddr>, failure: &Failure) {
        let (listener, now) = (&self.context.name, Instant::now());
        match failure {
            Failure::Refused(refused) => {
                self.context.stats.count_refusal(*refused);
                if let Some(suppressed) = self.reception.logs.allow(refused.name(), now) {
                    let limit = refused.name();
                    tracing::warn!(listener, address = %Shown(address), limit, suppressed, "connection refused");
                }
            }
            Failure::Handshake(step, cause) => {
                self.context.stats.count_handshake_failure(*step);
                if let Some(suppressed) = self.reception.logs.allow(step.name(), now) {
                    let step = step.name();
                    tracing::info!(listener, address = %Shown(address), step, cause, suppressed, "handshake failed");
                }
            }
        }
    }

    /// More connections than the listener's rate wait outside: nobody is refused.
    fn pause(&self) -> Duration {
        let Some(rate) = Rate::new(self.context.connection_rate, self.reception.burst) else { return Duration::ZERO };
        let wait = self.arrivals.lock().take(1, rate, Instant::now());
        if !wait.is_zero() {
            self.context.stats.count_pause();
        }
        wait
    }

    fn on_accept_error(&self, error: &io::Error, wait: Duration) {
        self.context.stats.count_accept_error();
        if let Some(suppressed) = self.reception.logs.allow("accept", Instant::now()) {
            tracing::error!(listener = self.context.name, %error, ?wait, suppressed, "cannot accept a connection");
        }
    }
}

impl Layers {
    fn is_plain(&self) -> bool {
        !self.proxy_protocol && self.tls.is_none() && self.websocket.is_none()
    }

    async fn open_tcp(&self, mut stream: TcpStream, arrival: &mut Arrival) -> Result<Box<dyn Wire>, Failure> {
        if self.proxy_protocol {
            read_proxy_header(&mut stream, arrival).await?;
        }
        let Some(slot) = &self.tls else {
            return Ok(match &self.websocket {
                None => Box::new(TcpWire::new(stream)),
                Some(rules) => {
                    websocket::accept(&mut stream, rules).await.map_err(failed_at(HandshakeStep::WebSocket))?;
                    Box::new(WebSocketWire::new(stream))
                }
            });
        };
        let mut stream = slot.accept(stream).await.map_err(failed_at(HandshakeStep::Tls))?;
        arrival.peer.certificate = peer_certificate(&stream);
        Ok(match &self.websocket {
            None => Box::new(TlsWire::new(stream)),
            Some(rules) => {
                websocket::accept(&mut stream, rules).await.map_err(failed_at(HandshakeStep::WebSocket))?;
                Box::new(WebSocketWire::new(stream))
            }
        })
    }

    /// A Unix socket has no TLS and no WebSocket on it.
    async fn open_unix(&self, mut stream: UnixStream, arrival: &mut Arrival) -> Result<Box<dyn Wire>, Failure> {
        if self.proxy_protocol {
            read_proxy_header(&mut stream, arrival).await?;
        }
        Ok(Box::new(UnixWire::new(stream)))
    }
}

async fn read_proxy_header<S: tokio::io::AsyncRead + Unpin>(stream: &mut S, arrival: &mut Arrival) -> Result<(), Failure> {
    let header = proxy_protocol::read(stream).await.map_err(failed_at(HandshakeStep::ProxyProtocol))?;
    if let Some(source) = header.source {
        arrival.peer.address = Some(source);
        arrival.permit.count_address(source.ip(), Instant::now()).map_err(Failure::Refused)?;
    }
    Ok(())
}

fn failed_at<E: fmt::Display>(step: HandshakeStep) -> impl Fn(E) -> Failure {
    move |error| Failure::Handshake(step, error.to_string())
}

struct Shown(Option<SocketAddr>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}
