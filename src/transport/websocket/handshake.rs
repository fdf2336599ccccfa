use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{self, HeaderValue};
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as TungsteniteError, error::ProtocolError};

/// The subprotocols that we speak: MQTT 3.1.1 and 5.0 name the first [MQTT-6.0.0-3], clients of 3.1 the second.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// What a request must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeRules {
    /// The path of the listener's URL, with its slash.
    pub path: String,
    /// The origins that may connect; empty lets all. A client that names none is no browser, and is let in.
    pub allowed_origins: Vec<String>,
}

/// Why there is no WebSocket.
#[derive(Debug, Error)]
pub enum HandshakeError {
    #[error("refused with HTTP {status}: {reason}")]
    Refused { status: u16, reason: String },
    #[error("no WebSocket request: {0}")]
    NotWebSocket(Box<TungsteniteError>),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Answers the client's HTTP request; after that the stream carries frames. Every refusal is an HTTP answer that tells why.
/// The caller bounds the time; the request is bounded at 64 KiB.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, rules: &HandshakeRules) -> Result<(), HandshakeError> {
    // tungstenite's own stream is dropped after the handshake, so its buffers need no room.
    let no_buffers = WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0);
    #[expect(clippy::result_large_err, reason = "tungstenite's signature")]
    let judge = |request: &Request, response: Response| judge(request, response, rules);
    let accepted = tokio_tungstenite::accept_hdr_async_with_config(&mut *stream, judge, Some(no_buffers)).await.map(drop);
    let Err(error) = accepted else { return Ok(()) };
    match error {
        TungsteniteError::Io(error) => Err(error.into()),
        TungsteniteError::Http(response) => {
            stream.shutdown().await?;
            let reason = response.body().as_deref().map(|body| String::from_utf8_lossy(body).trim_end().into());
            Err(HandshakeError::Refused { status: response.status().as_u16(), reason: reason.unwrap_or_default() })
        }
        TungsteniteError::Protocol(ProtocolError::HandshakeIncomplete) => {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        }
        error => {
            let answer = answer_to_no_websocket(&error);
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            Err(HandshakeError::NotWebSocket(Box::new(error)))
        }
    }
}

#[expect(clippy::result_large_err, reason = "tungstenite's signature")]
fn judge(request: &Request, mut response: Response, rules: &HandshakeRules) -> Result<Response, ErrorResponse> {
    if request.uri().path() != rules.path {
        return Err(refusal(StatusCode::NOT_FOUND, "There is no MQTT at this path."));
    }
    if !is_origin_allowed(request.headers(), &rules.allowed_origins) {
        return Err(refusal(StatusCode::FORBIDDEN, "This origin is not allowed."));
    }
    let Some(subprotocol) = choose_subprotocol(request.headers()) else {
        return Err(refusal(StatusCode::BAD_REQUEST, "Sec-WebSocket-Protocol must name mqtt or mqttv3.1."));
    };
    // [MQTT-6.0.0-4] The server names the subprotocol that it chose.
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    Ok(response)
}

fn is_origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let is_listed =
        |origin: &HeaderValue| allowed.iter().any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()));
    allowed.is_empty() || headers.get_all(header::ORIGIN).iter().all(is_listed)
}

/// The first subprotocol of the client's list, which is in the order of its liking, that we speak.
fn choose_subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|offers| offers.to_str().ok());
    offers.flat_map(|offers| offers.split(',')).find_map(|offer| SUBPROTOCOLS.into_iter().find(|ours| *ours == offer.trim()))
}

fn refusal(status: StatusCode, reason: &str) -> ErrorResponse {
    let body = format!("{reason}\n");
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    *response.body_mut() = Some(body);
    response
}

/// tungstenite writes nothing when the request is not one for a WebSocket, and leaves who looks in with a browser guessing.
fn answer_to_no_websocket(error: &TungsteniteError) -> String {
    let body = format!("MQTT over WebSocket is spoken here. {error}.\n");
    let status = match error {
        TungsteniteError::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader,
        ) => "426 Upgrade Required\r\nUpgrade: websocket",
        _ => "400 Bad Request",
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_may_be_spread_over_several_headers() {
        let mut headers = HeaderMap::new();
        for offers in ["wamp , soap", "chat,  mqtt"] {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offers));
        }
        assert_eq!(choose_subprotocol(&headers), Some("mqtt"));
    }
}
