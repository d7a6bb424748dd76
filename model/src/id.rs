//! Ids are types, never bare strings or numbers side by side.
//!
//! Every id is 64 bits: 43 bits of milliseconds since 1970 and 20 bits of counter, so ids sort by creation and
//! append to the end of an index. Text is a letter, a dash and 13 characters of Crockford base 32.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, str::FromStr};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const DIGITS: usize = 13;

/// Text that is no id of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no {noun} id: wanted {prefix}- and 13 characters of 0-9 and a-z without i, l, o, u"
)]
pub struct IdError {
    noun: &'static str,
    prefix: char,
    text: String,
}

fn encode(value: u64, out: &mut [u8; DIGITS]) {
    let mut rest = value;
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
}

fn decode(text: &str) -> Option<u64> {
    if text.len() != DIGITS {
        return None;
    }
    let mut value: u64 = 0;
    for (i, c) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|a| *a == c.to_ascii_lowercase())? as u64;
        // 13 digits hold 65 bits: the first may only be 0..=15.
        if i == 0 && digit > 15 {
            return None;
        }
        value = (value << 5) | digit;
    }
    Some(value)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $noun:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [b'0'; DIGITS];
                encode(self.0, &mut digits);
                f.write_str(concat!($prefix, "-"))?;
                f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "-")).and_then(decode).map($name).ok_or_else(|| {
                    IdError { noun: $noun, prefix: $prefix, text: text.chars().take(40).collect() }
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(d)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// One finite piece of work on one target.
    TaskId, 't', "task"
);
id!(
    /// One run: the same action over many targets. Its text is also the name of the Run record.
    RunId, 'r', "run"
);
id!(
    /// One life of a record: a record deleted and made again under the same name has another uid.
    Uid, 'u', "record"
);

/// Gives ids in growing order from the clock that the caller passes in.
#[derive(Debug, Default)]
pub struct IdSource {
    last: u64,
}

impl IdSource {
    /// Starts after `last`, the greatest id ever given (0 for none).
    pub fn after(last: u64) -> Self {
        Self { last }
    }

    /// The next id at `now`; greater than every id before it even when the clock steps back.
    pub fn next(&mut self, now: crate::Time) -> u64 {
        let base = u64::try_from(now.0).unwrap_or(0) << 20;
        self.last = base.max(self.last + 1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_sorts_like_the_number() {
        for n in [0, 1, 31, 32, u64::MAX, 1_790_000_000_123 << 20] {
            assert_eq!(TaskId(n).to_string().parse::<TaskId>().unwrap(), TaskId(n));
        }
        assert!(TaskId(99).to_string() < TaskId(100).to_string());
    }

    #[test]
    fn other_text_is_refused() {
        for bad in [
            "",
            "t-",
            "r-0000000000000",
            "t-000000000000u",
            "t-zzzzzzzzzzzzz",
            "t-0000000000000 ",
        ] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_grow_when_the_clock_steps_back() {
        let mut ids = IdSource::after(0);
        let a = ids.next(crate::Time(2000));
        let b = ids.next(crate::Time(1000));
        assert!(b > a);
    }
}
