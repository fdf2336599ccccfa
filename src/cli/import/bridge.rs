//! A `connection` of mosquitto: a bridge to another broker.

use std::fmt::Write;

use toml::{Table, Value};

use super::document::commented;
use super::report::Verdict;
use super::source::Line;

#[derive(Debug)]
pub(super) struct Bridge {
    comment: String,
    keys: Table,
    addresses: Vec<String>,
    tls: Table,
    topics: Vec<Table>,
    /// Lines that have no key, for whoever switches it on.
    rest: Vec<String>,
}

/// The options of this room.
pub(super) fn is_of_bridge(key: &str) -> bool {
    const KEYS: &[&str] = &[
        "address",
        "addresses",
        "cleansession",
        "clientid",
        "idle_timeout",
        "keepalive_interval",
        "local_cleansession",
        "local_clientid",
        "local_password",
        "local_username",
        "notification_topic",
        "notifications",
        "notifications_local_only",
        "password",
        "remote_clientid",
        "remote_password",
        "remote_username",
        "restart_timeout",
        "round_robin",
        "start_type",
        "threshold",
        "topic",
        "try_private",
        "username",
    ];
    KEYS.contains(&key) || key.starts_with("bridge_")
}

/// Why a bridge is not switched on: its other end would get messages before anybody has looked.
pub(super) const NOTED: &str = "bridges are not switched on by themselves; it stands in the config as a comment";

impl Bridge {
    pub(super) fn new(line: &Line) -> Result<Self, String> {
        let mut keys = Table::new();
        keys.insert("name".into(), line.text()?.into());
        Ok(Self {
            comment: format!("{}: {line}", line.place()),
            keys,
            addresses: Vec::new(),
            tls: Table::new(),
            topics: Vec::new(),
            rest: Vec::new(),
        })
    }

    /// Takes a line for which [`is_of_bridge`] holds.
    pub(super) fn take(&mut self, line: &Line) -> Result<Verdict, String> {
        let (key, value): (&str, Value) = match line.key.as_str() {
            "topic" => {
                self.topics.push(topic(line.text()?)?);
                return Ok(Verdict::dropped(NOTED));
            }
            "address" | "addresses" => {
                self.addresses.extend(line.text()?.split_whitespace().map(with_port));
                return Ok(Verdict::dropped(NOTED));
            }
            "bridge_cafile" | "bridge_certfile" | "bridge_keyfile" => {
                let key = match line.key.as_str() {
                    "bridge_cafile" => "ca",
                    "bridge_certfile" => "certificate",
                    _ => "key",
                };
                self.tls.insert(key.into(), line.text()?.into());
                return Ok(Verdict::dropped(NOTED));
            }
            "username" | "remote_username" => ("username", line.text()?.into()),
            "password" | "remote_password" => ("password", line.text()?.into()),
            "clientid" | "remote_clientid" => ("client_id", line.text()?.into()),
            "keepalive_interval" => ("keep_alive", format!("{}s", line.number()?.max(5)).into()),
            _ => {
                self.rest.push(line.to_string());
                return Ok(Verdict::dropped(NOTED));
            }
        };
        self.keys.insert(key.into(), value);
        Ok(Verdict::dropped(NOTED))
    }

    /// Whether its text has a password in it.
    pub(super) fn is_secret(&self) -> bool {
        self.keys.contains_key("password")
    }

    /// The text for the config, as a comment: what has no key here may matter, and paths are still mosquitto's.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\n{}", commented(&self.comment));
        text.push_str(&commented(&self.table()));
        for line in &self.rest {
            text.push_str(&commented(&format!("No key for it: {line}")));
        }
        text
    }

    fn table(&self) -> String {
        let mut text = String::from("[[bridges]]\n");
        for key in ["name", "urls", "username", "password", "client_id", "keep_alive"] {
            if key == "urls" {
                let _ = writeln!(text, "{key} = {}", self.urls());
            } else if let Some(value) = self.keys.get(key) {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        if !self.topics.is_empty() {
            text.push_str("topics = [\n");
            for topic in &self.topics {
                let _ = writeln!(text, "  {},", Value::Table(topic.clone()));
            }
            text.push_str("]\n");
        }
        if !self.tls.is_empty() {
            let _ = write!(text, "[bridges.tls]\n{}", self.tls);
        }
        text
    }

    fn urls(&self) -> Value {
        let scheme = if self.tls.is_empty() { "tcp" } else { "tls" };
        self.addresses.iter().map(|address| format!("{scheme}://{address}")).collect::<Vec<_>>().into()
    }
}

/// `PATTERN [[[out|in|both] QOS] LOCAL-PREFIX REMOTE-PREFIX]`; `""` is nothing, and quotes hold a pattern with blanks together.
fn topic(text: &str) -> Result<Table, String> {
    let (filter, rest) = match text.strip_prefix('"').filter(|rest| !rest.starts_with('"')) {
        Some(quoted) => quoted.split_once('"').ok_or("the closing quote is missing")?,
        None => text.split_once(' ').unwrap_or((text, "")),
    };
    let mut words = rest.split_whitespace();
    let direction = words.next().unwrap_or("out").to_ascii_lowercase();
    if !["out", "in", "both"].contains(&direction.as_str()) {
        return Err(format!("{direction:?} is none of out, in, both"));
    }
    let qos: i64 =
        words.next().unwrap_or("0").parse().ok().filter(|qos| (0..=2).contains(qos)).ok_or("the QoS is none of 0, 1, 2")?;
    let mut table = Table::new();
    table.insert("filter".into(), (if filter == "\"\"" { "" } else { filter }).into());
    table.insert("direction".into(), direction.into());
    table.insert("qos".into(), qos.into());
    for key in ["local_prefix", "remote_prefix"] {
        let prefix = words.next().unwrap_or("\"\"");
        table.insert(key.into(), (if prefix == "\"\"" { "" } else { prefix }).into());
    }
    Ok(table)
}

fn with_port(address: &str) -> String {
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { address.into() } else { format!("{address}:1883") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::bridge::BridgeConfig;
    use crate::units::Span;

    fn line(text: &str) -> Line {
        let (key, value) = text.split_once(' ').unwrap();
        Line { file: "m".into(), number: 1, key: key.into(), value: value.into() }
    }

    #[test]
    fn topics_are_read_in_all_their_forms() {
        for (text, expected) in [
            ("#", ("#", "out", 0, "", "")),
            ("a/# both 2 local/ remote/", ("a/#", "both", 2, "local/", "remote/")),
            ("\"a b/#\" IN 1 \"\" r/", ("a b/#", "in", 1, "", "r/")),
            ("\"\" out 0 l r", ("", "out", 0, "l", "r")),
        ] {
            let table = topic(text).unwrap();
            let text_of = |key: &str| table[key].as_str().unwrap();
            let read = (
                text_of("filter"),
                text_of("direction"),
                table["qos"].as_integer().unwrap(),
                text_of("local_prefix"),
                text_of("remote_prefix"),
            );
            assert_eq!(read, expected, "{text}");
        }
        for text in ["a up", "a in 3", "\"a b"] {
            assert!(topic(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bridge_is_written_as_the_comment_that_would_be_its_table() {
        let mut bridge = Bridge::new(&line("connection cloud")).unwrap();
        for option in [
            "address broker.example.org:8883 other.example.org",
            "topic a/# both 1 l/ r/",
            "remote_username ada",
            "remote_password geheim",
            "remote_clientid site-1",
            "keepalive_interval 30",
            "try_private false",
            "bridge_cafile ca.pem",
        ] {
            bridge.take(&line(option)).unwrap();
        }
        let text = bridge.text();
        let toml: String = text
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| !line.starts_with(['m', 'N']))
            .map(|line| format!("{line}\n"))
            .collect();
        let read: Table = toml.parse().unwrap();
        let read: BridgeConfig = read["bridges"][0].clone().try_into().unwrap();
        assert_eq!(read.name, "cloud");
        assert_eq!(read.urls, ["tls://broker.example.org:8883", "tls://other.example.org:1883"]);
        assert_eq!(read.keep_alive, Span::seconds(30));
        assert_eq!(read.topics[0].remote_prefix, "r/");
        assert_eq!(read.tls.unwrap().ca, Some("ca.pem".into()));
        assert!(text.contains("try_private false"), "{text}");
        assert!(bridge.is_secret());
    }
}
