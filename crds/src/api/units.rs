//! Sizes and durations as Kubernetes writes them: `64Mi`, `100k`, `10s`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, written as a Kubernetes quantity.
///
/// `1048576`, `1024Ki` and `1Mi` are the same; `k`, `M`, `G`, `T` are powers of 1000. Fractions (`1.5Gi`) are taken as
/// long as they come to whole bytes. Source of the syntax: apimachinery `resource.Quantity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// What a byte size may look like; the CRD carries it too, so that the API server refuses what we would.
pub const BYTE_SIZE_PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$";

const SUFFIXES: [(&str, u64); 10] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
];

impl ByteSize {
    /// `n` mebibytes.
    pub const fn mebi(n: u64) -> Self {
        ByteSize(n << 20)
    }

    /// The number of bytes as a length in memory (saturating on 32-bit machines).
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a size; write bytes as `1048576`, `64Mi`, `100k` or `1.5Gi`");
        let (digits, unit) = SUFFIXES
            .iter()
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|digits| (digits, *unit)))
            .unwrap_or((text, 1));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let numeric = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !numeric(whole) || !numeric(fraction) || fraction.len() > 15 {
            return Err(bad());
        }
        let whole: u128 = whole.parse().map_err(|_| bad())?;
        let scale = 10u128.pow(fraction.len() as u32);
        let fraction: u128 = fraction.parse().map_err(|_| bad())?;
        let scaled = whole.saturating_mul(u128::from(unit));
        let part = fraction * u128::from(unit);
        if !part.is_multiple_of(scale) {
            return Err(format!("`{text}` is not a whole number of bytes; write it without a fraction"));
        }
        let total = scaled.checked_add(part / scale).and_then(|n| u64::try_from(n).ok());
        total.map(ByteSize).ok_or_else(|| format!("`{text}` is more than 16 EiB; no disk has that"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, unit): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*unit);
        match SUFFIXES.iter().filter(exact).max_by_key(|(_, unit)| *unit) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Text(String),
        }
        match Raw::deserialize(d)? {
            Raw::Number(n) => Ok(ByteSize(n)),
            Raw::Text(t) => t.parse().map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "pattern": BYTE_SIZE_PATTERN,
        })
    }
}

/// A length of time, written as Go and Kubernetes do: `500ms`, `10s`, `1h30m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub time::Duration);

/// What a duration may look like; also in the CRD.
pub const DURATION_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

impl Duration {
    /// `n` seconds.
    pub const fn secs(n: u64) -> Self {
        Duration(time::Duration::from_secs(n))
    }

    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Duration(time::Duration::from_millis(n))
    }
}

impl std::ops::Deref for Duration {
    type Target = time::Duration;

    fn deref(&self) -> &time::Duration {
        &self.0
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a duration; write it with its unit: `500ms`, `10s`, `5m`, `1h30m`");
        let mut rest = text;
        let mut total = 0u128; // microseconds
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let unit = match unit {
                "ms" => 1_000u128,
                "s" => 1_000_000,
                "m" => 60_000_000,
                "h" => 3_600_000_000,
                _ => return Err(bad()),
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
            let numeric = |s: &str| !s.is_empty() && s.len() < 16 && s.bytes().all(|b| b.is_ascii_digit());
            if !numeric(whole) || !numeric(fraction) {
                return Err(bad());
            }
            let scale = 10u128.pow(fraction.len() as u32);
            let whole: u128 = whole.parse().map_err(|_| bad())?;
            let fraction: u128 = fraction.parse().map_err(|_| bad())?;
            total += whole * unit + fraction * unit / scale;
            rest = tail;
        }
        u64::try_from(total).map(|us| Duration(time::Duration::from_micros(us))).map_err(|_| bad())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_micros() % 1_000_000;
        let secs = self.0.as_secs();
        let (h, m, s) = (secs / 3600, secs / 60 % 60, secs % 60);
        if h > 0 {
            write!(f, "{h}h")?;
        }
        if m > 0 {
            write!(f, "{m}m")?;
        }
        if s > 0 || (ms == 0 && h == 0 && m == 0) {
            write!(f, "{s}s")?;
        }
        match (ms / 1000, ms % 1000) {
            (0, 0) => Ok(()),
            (whole, 0) => write!(f, "{whole}ms"),
            (whole, part) => write!(f, "{}ms", format!("{whole}.{part:03}").trim_end_matches('0')),
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": DURATION_PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_kubernetes_quantities() {
        for (text, bytes) in
            [("0", 0), ("1024", 1024), ("1Ki", 1024), ("100k", 100_000), ("1.5Gi", 3 << 29), ("0.5k", 500)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "Mi", "-1", "1.Mi", ".5Mi", "64MB", "64mi", "1e3", "1 Mi", "٣"] {
            assert!(text.parse::<ByteSize>().is_err_and(|e| e.contains("write bytes as")), "{text}");
        }
        assert_eq!(
            "0.3".parse::<ByteSize>(),
            Err("`0.3` is not a whole number of bytes; write it without a fraction".into())
        );
        assert_eq!("99999Pi".parse::<ByteSize>(), Err("`99999Pi` is more than 16 EiB; no disk has that".into()));
        assert!("9".repeat(38).parse::<ByteSize>().is_err());
    }

    #[test]
    fn durations_have_units() {
        for (text, ms) in [("0s", 0), ("500ms", 500), ("1h30m", 5_400_000), ("1.5s", 1_500), ("60s", 60_000)] {
            assert_eq!(text.parse(), Ok(Duration::millis(ms)), "{text}");
        }
        for text in ["", "10", "s", "1d", "10sec", "-1s", "1s ", "1.s", "1.2.3s"] {
            assert!(text.parse::<Duration>().is_err_and(|e| e.contains("with its unit")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_size_written_is_the_size_read(bytes: u64) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn a_duration_written_is_the_duration_read(micros in 0..u64::MAX / 2) {
            let duration = Duration(time::Duration::from_micros(micros));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn any_text_is_a_unit_or_is_refused(text in "([0-9.]{0,50}(ms|s|m|h|k|Mi|Pi)?){0,4}") {
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<Duration>();
        }
    }
}
