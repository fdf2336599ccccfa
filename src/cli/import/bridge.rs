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
    /// Whether it speaks TLS.
    has_tls: bool,
    tls: Table,
    topics: Vec<Table>,
    /// What no key says, for whoever switches it on.
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
        let mut bridge = Self {
            comment: format!("{}: {line}", line.place()),
            keys: Table::new(),
            addresses: Vec::new(),
            has_tls: false,
            tls: Table::new(),
            topics: Vec::new(),
            rest: Vec::new(),
        };
        bridge.set("name", line.text()?);
        // mosquitto's default; ours is 5.0.
        bridge.set("version", "3.1.1");
        Ok(bridge)
    }

    /// Takes a line for which [`is_of_bridge`] holds.
    pub(super) fn take(&mut self, line: &Line) -> Result<Verdict, String> {
        match line.key.as_str() {
            "topic" => self.topics.push(topic(line.text()?)?),
            "address" | "addresses" => self.addresses.extend(line.text()?.split_whitespace().map(with_port)),
            "username" | "remote_username" => self.set("username", line.text()?),
            "password" | "remote_password" => self.set("password", line.text()?),
            "clientid" | "remote_clientid" => self.set("client_id", line.text()?),
            "cleansession" => self.set("clean_session", line.flag()?),
            "keepalive_interval" => self.set("keep_alive", format!("{}s", line.number()?.max(5))),
            "restart_timeout" => self.take_restart(line)?,
            "try_private" => self.set("try_private", line.flag()?),
            "bridge_protocol_version" => self.set("version", version(line)?),
            "bridge_cafile" => self.set_tls("ca", line)?,
            "bridge_certfile" => self.set_tls("certificate", line)?,
            "bridge_keyfile" => self.set_tls("key", line)?,
            "bridge_insecure" => drop(self.tls.insert("verify_name".into(), (!line.flag()?).into())),
            "bridge_tls_use_os_certs" => self.has_tls |= line.flag()?,
            "bridge_capath" => self.note_tls("ca names one file with all the certificates", line),
            "bridge_psk" | "bridge_identity" => {
                self.note_tls("No TLS with pre-shared keys is to be had, it takes certificates", line);
            }
            _ => self.rest.push(format!("No key for it: {line}")),
        }
        Ok(Verdict::dropped(NOTED))
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.keys.insert(key.into(), value.into());
    }

    fn set_tls(&mut self, key: &str, line: &Line) -> Result<(), String> {
        self.tls.insert(key.into(), line.text()?.into());
        self.has_tls = true;
        Ok(())
    }

    /// A line of which only this is known here: that the connection is a TLS one. Without, the password would go over in clear.
    fn note_tls(&mut self, why: &str, line: &Line) {
        self.rest.push(format!("{why}: {line}"));
        self.has_tls = true;
    }

    /// One number is the time between two tries, two are the shortest and the longest.
    fn take_restart(&mut self, line: &Line) -> Result<(), String> {
        let shortest = line.number()?.max(1);
        let second = line.value.split_whitespace().nth(1).and_then(|word| word.parse::<i64>().ok());
        self.set("reconnect_min", format!("{shortest}s"));
        self.set("reconnect_max", format!("{}s", second.unwrap_or(shortest).max(shortest)));
        Ok(())
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
            text.push_str(&commented(line));
        }
        text
    }

    fn table(&self) -> String {
        const KEYS: [&str; 11] = [
            "name",
            "urls",
            "version",
            "username",
            "password",
            "client_id",
            "clean_session",
            "keep_alive",
            "reconnect_min",
            "reconnect_max",
            "try_private",
        ];
        let mut text = String::from("[[bridges]]\n");
        for key in KEYS {
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
        if self.has_tls && !self.tls.is_empty() {
            let _ = write!(text, "[bridges.tls]\n{}", self.tls);
        }
        text
    }

    fn urls(&self) -> Value {
        let scheme = if self.has_tls { "tls" } else { "tcp" };
        self.addresses.iter().map(|address| format!("{scheme}://{address}")).collect::<Vec<_>>().into()
    }
}

fn version(line: &Line) -> Result<&'static str, String> {
    Ok(match line.word() {
        "mqttv31" => "3.1",
        "mqttv311" => "3.1.1",
        "mqttv50" => "5.0",
        other => return Err(format!("{other:?} is none of mqttv31, mqttv311, mqttv50")),
    })
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
        Line { file: "m".into(), source: 0, number: 1, key: key.into(), value: value.into() }
    }

    fn bridge(options: &[&str]) -> Bridge {
        let mut bridge = Bridge::new(&line("connection cloud")).unwrap();
        for option in options {
            bridge.take(&line(option)).unwrap();
        }
        bridge
    }

    /// The bridge as it would be read with the `#` taken away in front of its table.
    fn read(bridge: &Bridge) -> BridgeConfig {
        let read: Table = bridge.table().parse().unwrap();
        read["bridges"][0].clone().try_into().unwrap()
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
        let bridge = bridge(&[
            "address broker.example.org:8883 other.example.org",
            "topic a/# both 1 l/ r/",
            "remote_username ada",
            "remote_password geheim",
            "remote_clientid site-1",
            "keepalive_interval 30",
            "round_robin false",
            "bridge_cafile ca.pem",
        ]);
        let (text, table) = (bridge.text(), bridge.table());
        assert!(table.lines().all(|line| text.contains(&format!("# {line}\n"))), "{text}");
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
        let read = read(&bridge);
        assert_eq!(read.name, "cloud");
        assert_eq!(read.urls, ["tls://broker.example.org:8883", "tls://other.example.org:1883"]);
        assert_eq!(read.keep_alive, Span::seconds(30));
        assert_eq!(read.topics[0].remote_prefix, "r/");
        assert_eq!(read.tls.unwrap().ca, Some("ca.pem".into()));
        assert!(text.contains("# No key for it: round_robin false\n"), "{text}");
        assert!(bridge.is_secret());
    }

    #[test]
    fn whatever_asks_for_tls_gets_it() {
        let options = ["address h:8883", "topic # out", "remote_username u", "remote_password geheim"];
        for option in ["bridge_capath /etc/ssl/certs", "bridge_tls_use_os_certs true", "bridge_psk 1234", "bridge_identity me"]
        {
            let bridge = bridge(&[&options[..], &[option]].concat());
            assert_eq!(read(&bridge).urls, ["tls://h:8883"], "{option}");
            assert!(!bridge.text().contains("tcp://") && !bridge.text().contains("1234"), "{option}");
        }
        assert!(bridge(&["bridge_psk 1234"]).text().contains("No TLS with pre-shared keys"));
        for option in ["bridge_tls_use_os_certs false", "bridge_insecure true"] {
            let bridge = bridge(&[&options[..], &[option]].concat());
            assert_eq!((read(&bridge).urls, read(&bridge).tls), (vec!["tcp://h:8883".to_owned()], None), "{option}");
        }
    }

    #[test]
    fn what_has_a_key_is_written_with_it() {
        let usual = read(&bridge(&["address h", "topic # out"]));
        assert_eq!(usual.version, "3.1.1", "as mosquitto does when nothing is said");
        let options = [
            "address h",
            "topic # out",
            "bridge_protocol_version mqttv50",
            "cleansession true",
            "try_private false",
            "restart_timeout 5 30",
            "bridge_tls_use_os_certs true",
            "bridge_insecure true",
        ];
        let bridge = bridge(&options);
        let set = read(&bridge);
        assert_eq!((set.version.as_str(), set.clean_session, set.try_private), ("5.0", true, false));
        assert_eq!((set.reconnect_min, set.reconnect_max), (Span::seconds(5), Span::seconds(30)));
        assert!(!set.tls.unwrap().verify_name);
        assert!(!bridge.text().contains("No key"), "{}", bridge.text());
        assert!(Bridge::new(&line("connection x")).unwrap().take(&line("bridge_protocol_version 4")).is_err());
    }
}
