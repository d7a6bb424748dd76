//! Quantities as people write them: durations with a unit, shares as a number or a percentage.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, str::FromStr};

/// A duration such as `500ms`, `30s`, `5m`, `2h`, `1d`. A bare number is refused: its unit would be a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    pub ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("{0:?} is no duration: write a number and ms, s, m, h or d, such as 30s")]
    Duration(String),
    #[error("{0:?} is no share: write a count such as 20 or a percentage such as 10%")]
    Share(String),
}

impl FromStr for Duration {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = || QuantityError::Duration(text.chars().take(40).collect());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        Ok(Duration {
            ms: number.checked_mul(factor).ok_or_else(wrong)?,
        })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
        ];
        for (size, unit) in units {
            if self.ms >= size && self.ms.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.ms / size);
            }
        }
        write!(f, "{}ms", self.ms)
    }
}

/// A part of a whole: a count, or hundredths of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    Count(u32),
    /// 0.0..=100.0
    Percent(f64),
}

impl Share {
    /// The count that this share of `whole` allows, rounded down (a budget of 2% of 40 is 0).
    pub fn floor_of(self, whole: u32) -> u32 {
        match self {
            Share::Count(n) => n.min(whole),
            Share::Percent(p) => (f64::from(whole) * p / 100.0 + 1e-9).floor() as u32,
        }
    }

    /// The count for a batch: at least 1.
    pub fn at_least_one_of(self, whole: u32) -> u32 {
        self.floor_of(whole).max(1)
    }
}

impl FromStr for Share {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = || QuantityError::Share(text.chars().take(40).collect());
        if let Some(number) = text.strip_suffix('%') {
            let p: f64 = number.trim().parse().map_err(|_| wrong())?;
            return if (0.0..=100.0).contains(&p) {
                Ok(Share::Percent(p))
            } else {
                Err(wrong())
            };
        }
        text.parse().map(Share::Count).map_err(|_| wrong())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Count(n) => write!(f, "{n}"),
            Share::Percent(p) => write!(f, "{p}%"),
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
        Cow::<'de, str>::deserialize(d)?
            .parse()
            .map_err(D::Error::custom)
    }
}
impl Serialize for Share {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Share::Count(n) => s.serialize_u32(*n),
            Share::Percent(_) => s.collect_str(self),
        }
    }
}
impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<'a> {
            Count(u32),
            Text(#[serde(borrow)] Cow<'a, str>),
            Owned(String),
        }
        match Form::deserialize(d)? {
            Form::Count(n) => Ok(Share::Count(n)),
            Form::Text(t) => t.parse().map_err(D::Error::custom),
            Form::Owned(t) => t.parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let table = [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("2h", Some(7_200_000)),
            ("30", None),
            ("s", None),
            ("1w", None),
            ("-1s", None),
        ];
        for (text, ms) in table {
            assert_eq!(text.parse::<Duration>().ok().map(|d| d.ms), ms, "{text}");
        }
        assert_eq!(Duration { ms: 90_000 }.to_string(), "90s");
    }

    #[test]
    fn shares_are_counts_or_percentages() {
        let table = [
            ("10%", 100, Some(10)),
            ("2%", 40, Some(0)),
            ("7", 5, Some(5)),
            ("101%", 1, None),
            ("x", 1, None),
            ("33.4%", 3, Some(1)),
        ];
        for (text, whole, count) in table {
            assert_eq!(
                text.parse::<Share>().ok().map(|s| s.floor_of(whole)),
                count,
                "{text}"
            );
        }
        let share: Share = serde_json::from_str("3").unwrap();
        assert_eq!(share, Share::Count(3));
    }
}
