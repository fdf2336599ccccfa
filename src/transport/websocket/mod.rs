//! MQTT over WebSocket (5.0 chapter 6): the handshake by tungstenite, the frames by a reader of our own that keeps no buffer.

mod frame;
mod handshake;
mod wire;

pub use frame::FrameError;
pub use handshake::{HandshakeError, HandshakeRules, accept};
pub use wire::WebSocketWire;

#[cfg(test)]
mod tests;
