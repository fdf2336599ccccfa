use std::sync::Arc;

use super::{Counter, Gauge};

/// The labels of the protocol versions, in the order of `ListenerMetrics::connected`.
pub const VERSIONS: [&str; 3] = ["3.1", "3.1.1", "5.0"];

/// The figures of one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    name: Box<str>,
    /// Connections that have come through their handshakes since the start, whatever became of them.
    pub accepted: Counter,
    /// Connections whose CONNECT has not been answered yet.
    pub pending: Gauge,
    connected: [Gauge; 3],
    /// TLS, WebSocket and PROXY protocol handshakes that failed or took too long.
    pub handshake_failures: Counter,
    /// When the first of its certificates ends, in seconds since 1970; zero without TLS.
    pub certificate_expiry: Gauge,
}

impl ListenerMetrics {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            accepted: Counter::default(),
            pending: Gauge::default(),
            connected: Default::default(),
            handshake_failures: Counter::default(),
            certificate_expiry: Gauge::default(),
        }
    }

    /// The name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts an accepted connection for as long as what it gives lives.
    pub fn accept(self: &Arc<Self>) -> OpenConnection {
        self.accepted.increment();
        self.pending.increment();
        OpenConnection { listener: self.clone(), version: None }
    }

    /// Connections now, by version: the index is that of `VERSIONS`.
    pub fn connected(&self) -> [u64; 3] {
        [0, 1, 2].map(|version: usize| self.connected[version].get())
    }
}

/// One connection's place in the gauges; dropping it takes the connection out, also when its task panics.
#[derive(Debug)]
pub struct OpenConnection {
    listener: Arc<ListenerMetrics>,
    version: Option<u8>,
}

impl OpenConnection {
    /// The CONNECT was accepted; `level` is the protocol level in it: 3, 4 or 5 (3.1.2.2). Others count as 5.
    pub fn connected(&mut self, level: u8) {
        self.leave();
        let version = level.clamp(3, 5) - 3;
        self.listener.connected[usize::from(version)].increment();
        self.version = Some(version);
    }

    /// The listener it came in by.
    pub fn listener(&self) -> &Arc<ListenerMetrics> {
        &self.listener
    }

    fn leave(&self) {
        match self.version {
            None => self.listener.pending.decrement(),
            Some(version) => self.listener.connected[usize::from(version)].decrement(),
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_pending_then_of_its_version_then_gone() {
        let listener = Arc::new(ListenerMetrics::new("tcp"));
        let mut first = listener.accept();
        let second = listener.accept();
        assert_eq!((listener.pending.get(), listener.connected()), (2, [0, 0, 0]));
        first.connected(4);
        assert_eq!((listener.pending.get(), listener.connected()), (1, [0, 1, 0]));
        drop(second);
        assert_eq!((listener.pending.get(), listener.connected()), (0, [0, 1, 0]));
        drop(first);
        assert_eq!((listener.pending.get(), listener.connected()), (0, [0, 0, 0]));
        assert_eq!(listener.accepted.get(), 2);
    }
}
