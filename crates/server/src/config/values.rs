//! Values of the configuration that are more than a number or a text: durations, sizes, counts.
//!
//! Each is read from a number or from a text, because the environment has only texts.

use core::fmt;
use core::time::Duration;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A duration, written with its unit: `500ms`, `25s`, `5m`, `24h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A number of bytes: `65536`, `"64 KiB"`, `"1MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub usize);

const SPAN_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 5] = [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

fn parse_units(raw: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = raw.find(|c: char| !c.is_ascii_digit()).unwrap_or(raw.len());
    let (number, unit) = raw.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show_units(value: u64, units: &[(&str, u64)]) -> String {
    let (unit, factor) =
        units.iter().rev().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor)).copied().unwrap_or(("", 1));
    format!("{}{unit}", value / factor)
}

impl Span {
    /// Reads `25s`.
    ///
    /// # Errors
    /// What it should look like.
    pub fn parse(raw: &str) -> Result<Self, String> {
        let millis = parse_units(raw.trim(), &SPAN_UNITS);
        millis.map(|millis| Self(Duration::from_millis(millis))).ok_or_else(|| {
            format!("{raw:?} is not a duration with its unit, such as \"500ms\", \"25s\", \"5m\", \"24h\" or \"7d\"")
        })
    }
}

impl Size {
    fn parse(raw: &str) -> Result<Self, String> {
        parse_units(raw.trim(), &SIZE_UNITS)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| format!("{raw:?} is not a number of bytes, such as 65536, \"64KiB\" or \"1MiB\""))
    }
}

impl Count {
    fn parse(raw: &str) -> Result<Self, String> {
        raw.trim().parse().map(Self).map_err(|_| format!("{raw:?} is not a whole number"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        f.write_str(&if millis == 0 { "0s".to_owned() } else { show_units(millis, &SPAN_UNITS) })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // "B" says nothing: without it the number stands alone.
        let units: Vec<_> = SIZE_UNITS.iter().filter(|(unit, _)| *unit != "B").copied().collect();
        f.write_str(&show_units(self.0 as u64, &units))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0 as u64)
    }
}

/// Takes a text through `parse`, and a number if `whole` can make something of it.
struct TextOrNumber<T> {
    expecting: &'static str,
    parse: fn(&str) -> Result<T, String>,
    whole: fn(usize) -> Option<T>,
}

impl<T> Visitor<'_> for TextOrNumber<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, raw: &str) -> Result<T, E> {
        (self.parse)(raw).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let value = usize::try_from(number).ok().and_then(self.whole);
        value.ok_or_else(|| E::custom(format!("{number} is not {}", self.expecting)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expecting = "a duration with its unit, such as \"25s\"";
        deserializer.deserialize_any(TextOrNumber { expecting, parse: Self::parse, whole: |_| None })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expecting = "a number of bytes, such as 65536 or \"64KiB\"";
        deserializer.deserialize_any(TextOrNumber { expecting, parse: Self::parse, whole: |bytes| Some(Self(bytes)) })
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expecting = "a whole number";
        deserializer.deserialize_any(TextOrNumber { expecting, parse: Self::parse, whole: |count| Some(Self(count)) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (raw, millis, shown) in [
            ("500ms", 500, "500ms"),
            ("25s", 25_000, "25s"),
            (" 90 s ", 90_000, "90s"),
            ("24h", 86_400_000, "1d"),
            ("0s", 0, "0s"),
        ] {
            let span = Span::parse(raw).unwrap();
            assert_eq!((span.0.as_millis(), span.to_string().as_str()), (millis, shown), "{raw}");
        }
        for bad in ["", "25", "s", "-1s", "1.5s", "1 week", "99999999999999999999s", "9999999999999999d"] {
            assert!(Span::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_may_have_one() {
        for (raw, bytes, shown) in [
            ("1", 1, "1"),
            ("64KiB", 65_536, "64KiB"),
            ("64 KiB", 65_536, "64KiB"),
            ("1025 B", 1_025, "1025"),
            ("0", 0, "0"),
        ] {
            let size = Size::parse(raw).unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown), "{raw}");
        }
        for bad in ["", "KiB", "-1", "1.5MiB", "64kb", "99999999999GiB"] {
            assert!(Size::parse(bad).is_err(), "{bad:?}");
        }
    }
}
