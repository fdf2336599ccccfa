//! Who came and who went, under `$SYS/brokers/NODE/clients/CLIENT/connected` and `…/disconnected`, in the shape of EMQX.

use std::fmt::Write;
use std::net::SocketAddr;

use serde::Serialize;

use crate::packet::ProtocolVersion;

/// Bytes of a level at most; a longer one is cut, the payload has it whole. Keeps the topic under its 65,535 bytes `[MQTT-1.5.4-1]`.
const MAX_LEVEL: usize = 16 * 1024;

/// The client that came or went.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub id: &'a str,
    pub user_name: Option<&'a str>,
    /// `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    pub version: ProtocolVersion,
    /// Seconds, as in force.
    pub keep_alive: u16,
    pub clean_start: bool,
    /// Seconds, as in force.
    pub session_expiry: u32,
    /// Milliseconds since 1970.
    pub connected_at: u64,
}

/// The topic and the payload that tell that `client` has connected. Not retained.
pub fn connected(node: &str, client: &Client<'_>) -> (String, String) {
    let payload = Payload { clean_start: Some(client.clean_start), ..Payload::of(client, client.connected_at) };
    (topic(node, client.id, "connected"), payload.to_json())
}

/// The topic and the payload that tell that `client` has gone at `now` (milliseconds since 1970). `reason` is a name of the
/// broker's, not text that a client chose. Not retained.
pub fn disconnected(node: &str, client: &Client<'_>, reason: &str, now: u64) -> (String, String) {
    let payload = Payload { reason: Some(reason), disconnected_at: Some(now), ..Payload::of(client, now) };
    (topic(node, client.id, "disconnected"), payload.to_json())
}

/// One topic level for any text: `/`, `+`, `#`, `%` and control characters as `%` and two hexadecimal digits for each byte, so that
/// no client can choose another's topic or one that is none, and different texts stay different.
pub fn level(text: &str) -> String {
    let mut level = String::with_capacity(text.len());
    for character in text.chars() {
        if level.len() >= MAX_LEVEL {
            break;
        }
        if !matches!(character, '/' | '+' | '#' | '%') && !character.is_control() {
            level.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(level, "%{byte:02X}"); // a String takes everything
        }
    }
    level
}

fn topic(node: &str, client_id: &str, event: &str) -> String {
    format!("$SYS/brokers/{}/clients/{}/{event}", level(node), level(client_id))
}

#[derive(Serialize)]
struct Payload<'a> {
    clientid: &'a str,
    username: Option<&'a str>,
    ipaddress: Option<String>,
    port: Option<u16>,
    proto_name: &'static str,
    proto_ver: u8,
    keepalive: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    clean_start: Option<bool>,
    expiry_interval: u32,
    connected_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnected_at: Option<u64>,
    ts: u64,
}

impl<'a> Payload<'a> {
    fn of(client: &Client<'a>, ts: u64) -> Self {
        Self {
            clientid: client.id,
            username: client.user_name,
            ipaddress: client.address.map(|address| address.ip().to_canonical().to_string()),
            port: client.address.map(|address| address.port()),
            proto_name: if client.version == ProtocolVersion::V31 { "MQIsdp" } else { "MQTT" },
            proto_ver: client.version as u8,
            keepalive: client.keep_alive,
            clean_start: None,
            expiry_interval: client.session_expiry,
            connected_at: client.connected_at,
            reason: None,
            disconnected_at: None,
            ts,
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of strings and numbers is JSON")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn client(id: &str) -> Client<'_> {
        Client {
            id,
            user_name: Some("ann"),
            address: Some("[::ffff:192.0.2.7]:50123".parse().unwrap()),
            version: ProtocolVersion::V311,
            keep_alive: 60,
            clean_start: true,
            session_expiry: 0,
            connected_at: 1_700_000_000_123,
        }
    }

    #[test]
    fn a_connection_is_told_with_its_parameters() {
        let (topic, payload) = connected("dunlin", &client("c1"));
        assert_eq!(topic, "$SYS/brokers/dunlin/clients/c1/connected");
        let expected = json!({
            "clientid": "c1", "username": "ann", "ipaddress": "192.0.2.7", "port": 50123, "proto_name": "MQTT", "proto_ver": 4,
            "keepalive": 60, "clean_start": true, "expiry_interval": 0, "connected_at": 1_700_000_000_123_u64,
            "ts": 1_700_000_000_123_u64,
        });
        assert_eq!(serde_json::from_str::<Value>(&payload).unwrap(), expected);
    }

    #[test]
    fn an_end_is_told_with_its_reason_and_time() {
        let gone = Client { user_name: None, address: None, version: ProtocolVersion::V5, ..client("c1") };
        let (topic, payload) = disconnected("dunlin", &gone, "keep alive timeout", 1_700_000_060_000);
        assert_eq!(topic, "$SYS/brokers/dunlin/clients/c1/disconnected");
        let payload: Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(payload["reason"], "keep alive timeout");
        assert_eq!(payload["disconnected_at"], 1_700_000_060_000_u64);
        assert_eq!(
            (&payload["username"], &payload["ipaddress"], &payload["proto_ver"]),
            (&json!(null), &json!(null), &json!(5))
        );
        assert_eq!(payload.get("clean_start"), None);
    }

    #[test]
    fn a_hostile_identifier_is_one_level_and_whole_in_the_payload() {
        for (id, expected) in [
            ("a/b", "a%2Fb"),
            ("+", "%2B"),
            ("#", "%23"),
            ("a%2Fb", "a%252Fb"),
            ("\0", "%00"),
            ("\u{85}", "%C2%85"),
            ("../\"}{\n", "..%2F\"}{%0A"),
            ("é 漢", "é 漢"),
        ] {
            let (topic, payload) = connected("n", &client(id));
            assert_eq!(topic, format!("$SYS/brokers/n/clients/{expected}/connected"));
            assert_eq!(serde_json::from_str::<Value>(&payload).unwrap()["clientid"], id);
        }
    }

    #[test]
    fn the_longest_identifiers_still_make_a_topic() {
        for character in ["#", "a", "漢", "\u{85}"] {
            let (topic, _) = connected("n", &client(&character.repeat(65_535 / character.len())));
            assert!(topic.len() < MAX_LEVEL + 100, "{}", topic.len());
        }
    }
}
