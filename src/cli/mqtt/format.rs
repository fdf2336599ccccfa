//! The formats of `-F`.

use std::io::Write;

use jiff::ZonedDateTime;
use jiff::fmt::strtime;
use serde::de::IgnoredAny;

use crate::client::{Message, MessageProperties};
use crate::packet::PacketId;

/// A format in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Field(Field),
    /// `@X`: strftime's `%X`, or `@N` for nanoseconds.
    Time(char),
}

/// `%[-][0][width][.precision]letter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Field {
    is_left: bool,
    has_zeros: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

const LETTERS: &str = "%ACDEFIJPRSUXjlmpqrtx";
/// Wider than any terminal, and few enough bytes.
const WIDTH_MAX: usize = 10_000;

impl Format {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let part = match letter {
                '%' => Part::Field(Field::parse(&mut letters)?),
                '@' => match letters.next().ok_or("it ends after @")? {
                    '@' => {
                        plain.push(b'@');
                        continue;
                    }
                    letter => Part::Time(letter),
                },
                '\\' => {
                    plain.push(escaped(letters.next().ok_or("it ends after \\")?)?);
                    continue;
                }
                letter => {
                    plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(part);
        }
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    /// Appends a message. The error is that a payload which is to be JSON is none; the rest is written all the same.
    pub(super) fn write(&self, message: &Message, out: &mut Vec<u8>) -> Result<(), String> {
        let now = ZonedDateTime::now();
        let mut result = Ok(());
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Time('N') => out.extend_from_slice(format!("{:09}", now.subsec_nanosecond()).as_bytes()),
                Part::Time(letter) => out.extend_from_slice(time(&format!("%{letter}"), &now).as_bytes()),
                Part::Field(field) => match field.letter {
                    'j' => out.extend_from_slice(json(message, &now, &text_json(&message.payload)).as_bytes()),
                    'J' => match raw_json(&message.payload) {
                        Some(payload) => out.extend_from_slice(json(message, &now, &payload).as_bytes()),
                        None => result = Err(format!("Message payload is not valid JSON on topic {}.", message.topic)),
                    },
                    _ => field.write(message, &now, out),
                },
            }
        }
        result
    }
}

fn escaped(letter: char) -> Result<u8, String> {
    Ok(match letter {
        '\\' => b'\\',
        '0' => 0,
        'a' => 7,
        'e' => 0x1B,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0B,
        _ => return Err(format!("\\{letter} stands for nothing")),
    })
}

impl Field {
    fn parse(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Self, String> {
        let is_left = letters.next_if_eq(&'-').is_some();
        let has_zeros = letters.next_if_eq(&'0').is_some();
        let width = number(letters)?.unwrap_or(0);
        let precision = match letters.next_if_eq(&'.') {
            Some(_) => Some(number(letters)?.unwrap_or(0)),
            None => None,
        };
        match letters.next() {
            Some(letter) if LETTERS.contains(letter) => Ok(Self { is_left, has_zeros, width, precision, letter }),
            Some(letter) => Err(format!("%{letter} stands for nothing")),
            None => Err("it ends after %".into()),
        }
    }

    fn write(self, message: &Message, now: &ZonedDateTime, out: &mut Vec<u8>) {
        let MessageProperties { topic_alias, message_expiry_interval, .. } = message.properties;
        let properties = &message.properties;
        match self.letter {
            '%' => out.push(b'%'),
            'A' => self.number(topic_alias, out),
            'C' => self.text(properties.content_type.as_deref().unwrap_or_default(), out),
            'D' => out.extend_from_slice(properties.correlation_data.as_deref().unwrap_or_default()),
            'E' => self.number(message_expiry_interval, out),
            'F' => self.number(properties.payload_format_indicator.map(u8::from), out),
            'I' => self.text(&time("%Y-%m-%dT%H:%M:%S%z", now), out),
            'P' => {
                let pairs: Vec<_> = properties.user_properties.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                out.extend_from_slice(pairs.join(" ").as_bytes());
            }
            'R' => self.text(properties.response_topic.as_deref().unwrap_or_default(), out),
            'S' => self.number(properties.subscription_identifiers.first(), out),
            'U' => {
                let time = now.timestamp();
                let _ = write!(out, "{}.{:09}", time.as_second(), time.subsec_nanosecond());
            }
            'l' => self.number(Some(message.payload.len()), out),
            'm' => self.number(Some(message.packet_id.map_or(0, PacketId::get)), out),
            'p' => self.bytes(&message.payload, out),
            'q' => out.push(b'0' + message.qos as u8),
            'r' => out.push(b'0' + u8::from(message.retain)),
            't' => self.text(&message.topic, out),
            'x' => self.hex(&message.payload, |byte| format!("{byte:02x}"), out),
            _ => self.hex(&message.payload, |byte| format!("{byte:02X}"), out),
        }
    }

    fn number(self, value: Option<impl ToString>, out: &mut Vec<u8>) {
        self.pad(value.map(|value| value.to_string()).unwrap_or_default().as_bytes(), self.has_zeros && !self.is_left, out);
    }

    fn text(self, text: &str, out: &mut Vec<u8>) {
        // printf counts bytes; a character is not cut in two.
        let wanted = self.precision.map_or(text.len(), |precision| precision.min(text.len()));
        let end = (0..=wanted).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.pad(&text.as_bytes()[..end], false, out);
    }

    /// A payload is cut at the width.
    fn bytes(self, payload: &[u8], out: &mut Vec<u8>) {
        let end = if self.width == 0 { payload.len() } else { payload.len().min(self.width) };
        self.pad(&payload[..end], self.has_zeros && !self.is_left, out);
    }

    fn hex(self, payload: &[u8], digits: impl Fn(&u8) -> String, out: &mut Vec<u8>) {
        let end = if self.width == 0 { payload.len() } else { payload.len().min(self.width) / 2 };
        let text: String = payload[..end].iter().map(digits).collect();
        self.pad(text.as_bytes(), self.has_zeros && !self.is_left, out);
    }

    fn pad(self, bytes: &[u8], with_zeros: bool, out: &mut Vec<u8>) {
        let padding = vec![if with_zeros { b'0' } else { b' ' }; self.width.saturating_sub(bytes.len())];
        let (first, second) = if self.is_left { (bytes, &padding[..]) } else { (&padding[..], bytes) };
        out.extend_from_slice(first);
        out.extend_from_slice(second);
    }
}

fn number(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<usize>, String> {
    let mut digits = String::new();
    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    if digits.is_empty() {
        return Ok(None);
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDTH_MAX);
    number.map(Some).ok_or_else(|| format!("a width of {digits} is above {WIDTH_MAX}"))
}

/// What strftime has no meaning for is nothing, as with mosquitto_sub.
fn time(format: &str, now: &ZonedDateTime) -> String {
    strtime::format(format, now).unwrap_or_default()
}

/// The message as one JSON object, in mosquitto_sub's order.
fn json(message: &Message, now: &ZonedDateTime, payload: &str) -> String {
    let time = time("%Y-%m-%dT%H:%M:%S", now);
    let (micros, zone) = (now.subsec_nanosecond() / 1000, self::time("%z", now));
    let (topic, qos, retain, size) =
        (text_json(message.topic.as_bytes()), message.qos, u8::from(message.retain), message.payload.len());
    let mut text =
        format!(r#"{{"tst":"{time}.{micros:06}Z{zone}","topic":{topic},"qos":{qos},"retain":{retain},"payloadlen":{size},"#);
    if let Some(id) = message.packet_id {
        text.push_str(&format!(r#""mid":{id},"#));
    }
    let properties = properties_json(&message.properties);
    if !properties.is_empty() {
        text.push_str(&format!(r#""properties":{{{}}},"#, properties.join(",")));
    }
    format!(r#"{text}"payload":{payload}}}"#)
}

fn properties_json(properties: &MessageProperties) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: Option<String>| all.extend(value.map(|value| format!(r#""{name}":{value}"#)));
    let text = |text: &String| text_json(text.as_bytes());
    for identifier in &properties.subscription_identifiers {
        add("subscription-identifier", Some(identifier.to_string()));
    }
    if !properties.user_properties.is_empty() {
        let pairs = properties.user_properties.iter().map(|(name, value)| format!("{}:{}", text(name), text(value)));
        add("user-properties", Some(format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))));
    }
    add("content-type", properties.content_type.as_ref().map(text));
    add("response-topic", properties.response_topic.as_ref().map(text));
    add("correlation-data", properties.correlation_data.as_deref().map(text_json));
    add("payload-format-indicator", properties.payload_format_indicator.map(|is_text| u8::from(is_text).to_string()));
    add("message-expiry-interval", properties.message_expiry_interval.map(|seconds| seconds.to_string()));
    all
}

/// A JSON string; what is no UTF-8 becomes U+FFFD.
fn text_json(bytes: &[u8]) -> String {
    serde_json::to_string(&String::from_utf8_lossy(bytes)).unwrap_or_default()
}

/// A payload that is JSON, without the spaces between its parts; nothing at all is `null`. Numbers stay as they were written.
fn raw_json(payload: &[u8]) -> Option<String> {
    if payload.is_empty() {
        return Some("null".into());
    }
    let text = std::str::from_utf8(payload).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let (mut is_text, mut is_escaped) = (false, false);
    let is_kept = |letter: &char| {
        let is_kept = is_text || !letter.is_ascii_whitespace();
        match letter {
            '"' if !is_escaped => is_text = !is_text,
            _ => {}
        }
        is_escaped = *letter == '\\' && !is_escaped;
        is_kept
    };
    Some(text.chars().filter(is_kept).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::QoS;

    fn shown(format: &str, payload: &str) -> String {
        let properties = MessageProperties {
            user_properties: vec![("a".into(), "1".into()), ("b".into(), "2".into())],
            message_expiry_interval: Some(9),
            ..MessageProperties::default()
        };
        let (topic, payload) = ("t/x".into(), payload.as_bytes().to_vec());
        let message =
            Message { topic, payload, qos: QoS::AtLeastOnce, packet_id: PacketId::new(7), properties, ..Message::default() };
        let mut out = Vec::new();
        let _ = Format::parse(format).unwrap().write(&message, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_have_widths_as_with_printf() {
        for (format, expected) in [
            ("%t|%p|%q|%r|%l|%m|%P|%E|%%", "t/x|pay|1|0|3|7|a:1 b:2|9|%"),
            ("[%6t][%-6t][%.1t][%4.1t]", "[   t/x][t/x   ][t][   t]"),
            ("[%05l][%5l][%-5l][%4E][%A][%3A]", "[00003][    3][3    ][   9][][   ]"),
            ("[%2p][%5p][%-5p]", "[pa][  pay][pay  ]"),
            ("%x %X", "706179 706179"),
            (r"a\tb\\@@", "a\tb\\@"),
        ] {
            assert_eq!(shown(format, "pay"), expected, "{format}");
        }
    }

    #[test]
    fn a_format_that_means_nothing_is_refused() {
        for format in ["%", "%z", "%5", "@", r"\", r"\q", "%99999t"] {
            assert!(Format::parse(format).is_err(), "{format}");
        }
    }

    #[test]
    fn json_is_json_and_keeps_numbers_as_they_are() {
        let value: serde_json::Value = serde_json::from_str(&shown("%j", "say \"hi\"\n")).unwrap();
        assert_eq!(
            (&value["payload"], &value["mid"], &value["properties"]["user-properties"]["b"]),
            (&"say \"hi\"\n".into(), &7.into(), &"2".into())
        );
        assert!(shown("%J", "{ \"a b\" : 1.50,\n \"c\\\" d\": [ ] }").ends_with(r#""payload":{"a b":1.50,"c\" d":[]}}"#));
        assert!(shown("%J", "").ends_with(r#""payload":null}"#));
        assert_eq!(shown("%J", "{"), "");
    }

    #[test]
    fn the_time_is_told() {
        assert_eq!(shown("@Y", "").len(), 4);
        assert_eq!(shown("%I", "").len(), "2026-01-01T00:00:00+0000".len());
        assert!(shown("%U", "").split_once('.').is_some_and(|(_, nanos)| nanos.len() == 9));
    }
}
