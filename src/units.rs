//! Durations (`"30s"`) and sizes (`"1MiB"`) as people write them in a config.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes: `1024`, `"64KiB"`, `"1MiB"`, `"2GiB"`, and `kB`, `MB`, `GB` for powers of ten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A length of time up to a thousand years: `"500ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`, several together (`"1m30s"`), or a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    fn bounded(time: Duration) -> Result<Self, String> {
        if time > LONGEST { Err("must be at most 365000d, a thousand years".into()) } else { Ok(Self(time)) }
    }
}

/// Every clock can tell when that will be over, so that nothing that waits so long needs to ask whether it can.
const LONGEST: Duration = Duration::from_secs(365_000 * 86_400);

const SIZES: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl TryFrom<u64> for Span {
    type Error = String;

    fn try_from(seconds: u64) -> Result<Self, String> {
        Self::bounded(Duration::from_secs(seconds))
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (digits, factor) = SIZES
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits.trim_end(), *factor)))
            .unwrap_or((text, 1));
        let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no size; write it like \"64KiB\" or \"1MiB\""))?;
        number.checked_mul(factor).map(Self).ok_or_else(|| format!("{text:?} is too large a size"))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration; write it like \"30s\", \"5m\" or \"1h30m\"");
        let mut rest = text.trim();
        if let Ok(seconds) = rest.parse::<u64>() {
            return seconds.try_into();
        }
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut millis: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            let end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |length| digits + length);
            let unit = rest[digits..end].trim();
            let (_, factor) = SPANS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            millis = number.checked_mul(*factor).and_then(|part| millis.checked_add(part)).ok_or_else(wrong)?;
            rest = &rest[end..];
        }
        Self::bounded(Duration::from_millis(millis))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) =
            SIZES[..3].iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor)).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in SPANS.iter().rev() {
            if millis >= *factor {
                write!(f, "{}{unit}", millis / factor)?;
                millis %= factor;
            }
        }
        Ok(())
    }
}

macro_rules! serde_by_text {
    ($type:ident, $what:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        $type::try_from(number).map_err(E::custom)
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$type, E> {
                        let number = u64::try_from(number).map_err(|_| E::custom(concat!("must not be negative: ", $what)))?;
                        self.visit_u64(number)
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

serde_by_text!(ByteSize, "a size like \"64KiB\" or \"1MiB\", or a number of bytes");
serde_by_text!(Span, "a duration like \"30s\" or \"5m\", or a number of seconds");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_back_as_written() {
        for (text, bytes) in [("1MiB", 1 << 20), ("64KiB", 65536), ("100", 100), ("2GiB", 2 << 30), ("1500B", 1500), ("0", 0)] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
        assert_eq!("3MB".parse::<ByteSize>().unwrap().0, 3_000_000);
        for (text, millis) in
            [("30s", 30_000), ("500ms", 500), ("1m30s", 90_000), ("7d", 604_800_000), ("15", 15_000), ("0s", 0)]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0.as_millis(), millis, "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        let longest: Span = "365000d".parse().unwrap();
        assert!(std::time::Instant::now().checked_add(longest.0 * 2).is_some());
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in
            ["", "s", "10 parsecs", "-1s", "1.5h", "99999999999999999999s", "365001d", "99999999999999", "9999999999999999s"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["", "MiB", "-1", "1TiBB", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
