//! The options that stand for the whole broker, apart from users and rights.

use std::collections::BTreeMap;

use super::document::{Document, Table};
use super::report::Verdict;
use super::source::Line;

const NOT_HERE: &str = "there is nothing like it here";

/// What MQTT can carry at most.
const LARGEST_PACKET: i64 = 268_435_460;

/// Topic and properties of a PUBLISH, beside its payload.
const BESIDE_PAYLOAD: i64 = 70_000;

const UNBOUNDED: i64 = 1_000_000_000;

#[derive(Debug, Default)]
pub(super) struct Global {
    pub(super) limits: Table,
    pub(super) durability: Table,
    pub(super) sys: Table,
    log_types: Vec<String>,
    log_comment: String,
    logs_nothing: bool,
    topic_aliases: i64,
    /// The limits of a packet with the lines that they come from, by their options: the smallest holds.
    packet_sizes: BTreeMap<String, (i64, String)>,
}

impl Global {
    pub(super) fn new() -> Self {
        let table = |header| Table::new(header);
        Self { limits: table("[limits]"), durability: table("[durability]"), sys: table("[sys]"), ..Self::default() }
    }

    /// Takes a line; none if it is of another room.
    pub(super) fn take(&mut self, line: &Line) -> Result<Option<Verdict>, String> {
        if let Some(verdict) = self.take_limit(line)? {
            return Ok(Some(verdict));
        }
        Ok(Some(match line.key.as_str() {
            "persistence" | "retained_persistence" => return self.take_persistence(line).map(Some),
            "persistence_location" => Verdict::differs(
                "data_dir",
                "a folder of Dunlin's own. mosquitto.db is not read: retained messages and sessions do not come along",
            ),
            "persistence_file" | "autosave_interval" | "autosave_on_changes" => {
                Verdict::needless("what is acknowledged is on disk before, see [durability]")
            }
            "sys_interval" => {
                self.sys.set("interval", format!("{}s", line.number()?.max(0)), comment(line));
                Verdict::taken("sys.interval")
            }
            "log_dest" => return self.take_log_dest(line).map(Some),
            "log_type" => return self.take_log_type(line).map(Some),
            "connection_messages" if line.flag()? => Verdict::needless("connections are logged"),
            "log_timestamp" if line.flag()? => Verdict::needless("every line has its time"),
            "connection_messages" | "log_timestamp" | "log_timestamp_format" | "log_facility" => Verdict::dropped(
                "the log has a line for a connection's start and one for its end, each with its time in RFC 3339",
            ),
            "websockets_log_level" | "websockets_headers_size" => {
                Verdict::needless("the WebSocket server has no log and buffers of its own")
            }
            "user" => Verdict::dropped("who starts it says as whom it runs: User= of the systemd unit, USER of the image"),
            "pid_file" => Verdict::dropped("no file is written; systemd and containers know the process"),
            "set_tcp_nodelay" => Verdict::needless("always on"),
            "check_retain_source" if line.flag()? => Verdict::needless(
                "rights that are read again make retained messages go whose publisher may not publish them any more",
            ),
            "check_retain_source" => {
                Verdict::dropped("retained messages go when their publisher may not publish them any more")
            }
            "allow_duplicate_messages" if !line.flag()? => Verdict::needless("overlapping subscriptions give one copy"),
            "allow_duplicate_messages" => Verdict::dropped("overlapping subscriptions give one copy, with the highest QoS"),
            "clientid_prefixes" => Verdict::dropped(
                "client identifiers are not checked: clients that it kept out are let in if their login is right",
            ),
            "enable_control_api" => Verdict::dropped("there is no $CONTROL; the admin port is for that, see [admin]"),
            "retry_interval" | "store_clean_interval" => Verdict::needless("mosquitto does not use it either"),
            "memory_limit" | "max_inflight_bytes" => {
                Verdict::dropped("there is no bound on the whole; each session's is [limits] max_queued_bytes")
            }
            "upgrade_outgoing_qos" if !line.flag()? => Verdict::needless("a message goes out with the lower of the two QoS"),
            "upgrade_outgoing_qos"
            | "retain_expiry_interval"
            | "packet_buffer_size"
            | "packet_max_auth"
            | "packet_max_connect"
            | "packet_max_simple"
            | "packet_max_sub"
            | "packet_max_un"
            | "max_topic_alias_broker" => Verdict::dropped(NOT_HERE),
            _ => return Ok(None),
        }))
    }

    fn take_limit(&mut self, line: &Line) -> Result<Option<Verdict>, String> {
        let note = comment(line);
        Ok(Some(match line.key.as_str() {
            "max_inflight_messages" => {
                let number = match line.number()? {
                    ..=0 => 65_535,
                    number => number.min(65_535),
                };
                self.limits.set("max_inflight", number, note);
                Verdict::taken("limits.max_inflight")
            }
            "max_queued_messages" => {
                self.limits.set("max_queued_messages", or_unbounded(line.number()?), note);
                Verdict::taken("limits.max_queued_messages")
            }
            "max_queued_bytes" if line.number()? <= 0 => {
                Verdict::dropped("the bytes that wait for a session are bounded: 64MiB")
            }
            "max_queued_bytes" => {
                self.limits.set("max_queued_bytes", line.number()?, note);
                Verdict::differs("limits.max_queued_bytes", "topic and properties count too")
            }
            "queue_qos0_messages" => {
                self.limits.set("queue_qos0", line.flag()?, note);
                Verdict::taken("limits.queue_qos0")
            }
            "max_packet_size" => match self.bound_packets(line, packet_size(line.number()?)) {
                Some(both) => Verdict::differs("limits.max_packet_size", both),
                None => Verdict::taken("limits.max_packet_size"),
            },
            "message_size_limit" => return self.take_message_size(line).map(Some),
            "max_keepalive" => return self.take_keep_alive(line).map(Some),
            "max_topic_alias" => {
                self.topic_aliases = self.topic_aliases.max(line.number()?.clamp(0, 65_535));
                self.limits.set("topic_alias_maximum", self.topic_aliases, note);
                Verdict::differs("limits.topic_alias_maximum", "for all listeners")
            }
            "global_max_connections" if line.number()? > 0 => {
                self.limits.set("max_connections", line.number()?, note);
                Verdict::taken("limits.max_connections")
            }
            "global_max_clients" if line.number()? > 0 => {
                self.limits.set("max_sessions", line.number()?, note);
                Verdict::taken("limits.max_sessions")
            }
            "global_max_connections" => Verdict::dropped("connections are bounded: limits.max_connections, 100000"),
            "global_max_clients" => Verdict::dropped("sessions are bounded: limits.max_sessions, 1000000"),
            "retain_available" if line.flag()? => Verdict::needless("retained messages are kept"),
            "retain_available" => {
                self.limits.set("max_retained_messages", 0, note);
                Verdict::differs(
                    "limits.max_retained_messages",
                    "a retained message is refused with 0x97; 5.0 clients are not told beforehand",
                )
            }
            "persistent_client_expiration" => {
                self.limits.set("max_session_expiry", expiry(line.word())?, note);
                let how = "it shortens every longer expiry that a client asks for, not only endless ones";
                Verdict::differs("limits.max_session_expiry", how)
            }
            _ => return Ok(None),
        }))
    }

    /// The limit of the payload.
    fn take_message_size(&mut self, line: &Line) -> Result<Verdict, String> {
        let size = line.number()?;
        if size <= 0 {
            self.packet_sizes.remove(&line.key);
            return Ok(Verdict::needless("0 is no limit, which is mosquitto's default"));
        }
        let both = self.bound_packets(line, packet_size(size.saturating_add(BESIDE_PAYLOAD)));
        let how = "of the whole packet, so that there is room for topic and properties; a larger one ends the connection with 0x95, \
                   where mosquitto acknowledges and drops it";
        Ok(Verdict::differs(
            "limits.max_packet_size",
            &format!("{how}{}", both.map(|both| format!(". {both}")).unwrap_or_default()),
        ))
    }

    /// Takes a limit of packets; what is to be told if there is another one.
    fn bound_packets(&mut self, line: &Line, size: i64) -> Option<&'static str> {
        self.packet_sizes.insert(line.key.clone(), (size, comment(line)));
        (self.packet_sizes.len() > 1).then_some("both max_packet_size and message_size_limit are set: the smaller one holds")
    }

    fn take_keep_alive(&mut self, line: &Line) -> Result<Verdict, String> {
        match line.number()? {
            0 | 65_535 => Ok(Verdict::needless("the longest that there is")),
            seconds => {
                self.limits.set("max_keep_alive", format!("{}s", seconds.clamp(1, 65_535)), comment(line));
                Ok(Verdict::taken("limits.max_keep_alive"))
            }
        }
    }

    fn take_persistence(&mut self, line: &Line) -> Result<Verdict, String> {
        let level = if line.flag()? { "sync" } else { "memory" };
        self.durability.set("level", level, comment(line));
        Ok(match level {
            "sync" => {
                Verdict::differs("durability.level", "what is acknowledged is on disk before; mosquitto writes now and then")
            }
            _ => Verdict::taken("durability.level"),
        })
    }

    fn take_log_dest(&mut self, line: &Line) -> Result<Verdict, String> {
        Ok(match line.word() {
            "stderr" => Verdict::needless("the log goes to standard error"),
            "none" => {
                self.logs_nothing = true;
                self.log_comment = comment(line);
                Verdict::taken("log.level")
            }
            "stdout" => Verdict::dropped("the log goes to standard error"),
            "syslog" | "file" | "topic" | "dlt" | "android" => {
                Verdict::dropped("the log goes to standard error: to the journal under systemd, to the container's log in one")
            }
            other => return Err(format!("{other:?} is no place that mosquitto logs to")),
        })
    }

    fn take_log_type(&mut self, line: &Line) -> Result<Verdict, String> {
        const TYPES: &[&str] = &[
            "all",
            "debug",
            "error",
            "information",
            "internal",
            "none",
            "notice",
            "subscribe",
            "unsubscribe",
            "warning",
            "websockets",
        ];
        let kind = line.word();
        if !TYPES.contains(&kind) {
            return Err(format!("{kind:?} is no type of log line"));
        }
        self.log_types.push(kind.into());
        self.log_comment = comment(line);
        Ok(match kind {
            "subscribe" | "unsubscribe" | "websockets" | "internal" => {
                Verdict::dropped("no lines of this type; --log-level debug shows more")
            }
            _ => Verdict::taken("log.level"),
        })
    }

    /// The level that shows all types that were asked for.
    fn log_level(&self) -> Option<&'static str> {
        const LEVELS: [(&str, &[&str]); 5] = [
            ("debug", &["all", "debug"]),
            ("info", &["information", "notice"]),
            ("warn", &["warning"]),
            ("error", &["error"]),
            ("off", &["none"]),
        ];
        if self.logs_nothing {
            return Some("off");
        }
        let shows = |types: &[&str]| self.log_types.iter().any(|kind| types.contains(&kind.as_str()));
        let level = LEVELS.iter().find(|(_, types)| shows(types)).map(|(level, _)| *level);
        level.or_else(|| (!self.log_types.is_empty()).then_some("info"))
    }

    /// What mosquitto does where nothing is said and Dunlin would do otherwise.
    fn complete(&mut self) {
        if let Some((size, comment)) = self.packet_sizes.values().min_by_key(|(size, _)| *size) {
            self.limits.set("max_packet_size", *size, comment.clone());
        }
        for (key, value, comment) in [
            ("max_inflight", toml::Value::from(20), "mosquitto's default; Dunlin's is 256."),
            ("max_queued_messages", 1000.into(), "mosquitto's default; Dunlin's is 10000."),
            (
                "max_packet_size",
                LARGEST_PACKET.into(),
                "mosquitto 2.0 has no bound. Dunlin's default is 1MiB: set it as low as the clients allow.",
            ),
            ("max_session_expiry", "0s".into(), "mosquitto keeps sessions for ever. Dunlin's default is 90d."),
            ("topic_alias_maximum", 10.into(), "mosquitto's default; Dunlin's is 32."),
        ] {
            if !self.limits.has(key) {
                self.limits.set(key, value, comment);
            }
        }
    }

    pub(super) fn write_log(&self, document: &mut Document) {
        if let Some(level) = self.log_level() {
            document.table("[log]").set("level", level, self.log_comment.clone());
        }
    }

    pub(super) fn write(mut self, document: &mut Document) {
        self.complete();
        document.push(self.durability);
        document.push(self.limits);
        document.push(self.sys);
    }
}

fn comment(line: &Line) -> String {
    format!("{}: {line}", line.place())
}

const fn or_unbounded(number: i64) -> i64 {
    if number <= 0 { UNBOUNDED } else { number }
}

fn packet_size(size: i64) -> i64 {
    if size <= 0 { LARGEST_PACKET } else { size.min(LARGEST_PACKET) }
}

/// `14d`; months have 30 days, years 365.
fn expiry(text: &str) -> Result<String, String> {
    const LONGEST: u64 = u32::MAX as u64 - 1;
    let wrong = || format!("{text:?} is no number with one of h, d, w, m, y behind it");
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at)).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "m" => 30 * 86_400,
        "y" => 365 * 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number.saturating_mul(seconds).clamp(1, LONGEST);
    Ok(if seconds % 86_400 == 0 { format!("{}d", seconds / 86_400) } else { format!("{seconds}s") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_read_in_all_units() {
        for (text, span) in [
            ("2m", "60d"),
            ("14d", "14d"),
            ("1y", "365d"),
            ("36h", "129600s"),
            ("48h", "2d"),
            ("1w", "7d"),
            ("900y", "4294967294s"),
        ] {
            assert_eq!(expiry(text).as_deref(), Ok(span), "{text}");
            span.parse::<crate::units::Span>().unwrap();
        }
        for text in ["", "d", "1", "1q", "-1d", "1é"] {
            assert!(expiry(text).is_err(), "{text}");
        }
    }
}
