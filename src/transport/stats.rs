use std::sync::atomic::{AtomicU64, Ordering};

use crate::transport::limits::Refused;

/// Where a connection ended before its CONNECT could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeStep {
    /// No PROXY protocol header, or a malformed one.
    ProxyProtocol,
    Tls,
    WebSocket,
    /// `[limits] connect_timeout` ran out in one of them.
    Timeout,
}

impl HandshakeStep {
    pub const ALL: [Self; 4] = [Self::ProxyProtocol, Self::Tls, Self::WebSocket, Self::Timeout];

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProxyProtocol => "proxy-protocol",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::Timeout => "timeout",
        }
    }
}

/// What one listener has counted since the start.
#[derive(Debug, Default)]
pub struct TransportStats {
    accepted: AtomicU64,
    accept_errors: AtomicU64,
    pauses: AtomicU64,
    handshake_failures: [AtomicU64; HandshakeStep::ALL.len()],
    refusals: [AtomicU64; Refused::ALL.len()],
}

impl TransportStats {
    pub fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_pause(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_handshake_failure(&self, step: HandshakeStep) {
        self.handshake_failures[step as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_refusal(&self, refused: Refused) {
        self.refusals[refused as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Sockets that were taken from the kernel, refused ones included.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Times that the kernel gave none, for want of descriptors or memory for the most part.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Times that nothing was accepted for a while because of the listener's `connection_rate`.
    pub fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }

    pub fn handshake_failures(&self, step: HandshakeStep) -> u64 {
        self.handshake_failures[step as usize].load(Ordering::Relaxed)
    }

    pub fn refusals(&self, refused: Refused) -> u64 {
        self.refusals[refused as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_count() {
        let stats = TransportStats::default();
        for (times, step) in HandshakeStep::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| stats.count_handshake_failure(step));
        }
        for (times, refused) in Refused::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| stats.count_refusal(refused));
        }
        assert_eq!(HandshakeStep::ALL.map(|step| stats.handshake_failures(step)), [1, 2, 3, 4]);
        assert_eq!(Refused::ALL.map(|refused| stats.refusals(refused)), [1, 2, 3, 4, 5]);
    }
}
