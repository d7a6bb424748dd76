//! How queues, keys and this installation are called in NATS. Every name of sengu becomes one token, so that no queue's
//! subject ever matches another's.

use sengu_interconnect::Queue;

/// Bytes of a consumer's name that the server takes (it is the name of a directory there).
const CONSUMER_BYTES_MAX: usize = 255;

#[derive(Debug, Clone)]
pub struct Names {
    prefix: String,
}

impl Names {
    pub fn new(prefix: &str) -> Names {
        let prefix = prefix.to_owned();
        Names { prefix }
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The stream that holds all queues.
    pub fn work_stream(&self) -> String {
        format!("{}-work", self.prefix)
    }

    /// The subjects of all queues.
    pub fn work_subjects(&self) -> String {
        format!("{}.q.*", self.prefix)
    }

    pub fn subject(&self, queue: &Queue) -> String {
        format!("{}.q.{}", self.prefix, token(queue.as_str()))
    }

    /// The durable consumer of a queue.
    pub fn consumer(&self, queue: &Queue) -> String {
        let mut name = token(queue.as_str());
        if name.len() > CONSUMER_BYTES_MAX {
            // A name that is cut needs something that tells it from others that are cut alike.
            let hash = fnv1a(name.as_bytes());
            name.truncate(CONSUMER_BYTES_MAX - 17);
            name.push_str(&format!("_{hash:016x}"));
        }
        name
    }

    /// The key-value bucket of the directory, as `nats kv ls` shows it.
    pub fn bucket(&self) -> String {
        format!("{}-directory", self.prefix)
    }

    pub fn bucket_stream(&self) -> String {
        format!("KV_{}", self.bucket())
    }

    pub fn bucket_subjects(&self) -> String {
        format!("$KV.{}.>", self.bucket())
    }

    pub fn key_subject(&self, key: &str) -> String {
        format!("$KV.{}.k.{}", self.bucket(), key_tokens(key))
    }

    /// Written to find out whether the server has room again; no key.
    pub fn probe_subject(&self) -> String {
        format!("$KV.{}.probe", self.bucket())
    }

    /// All keys that may start with `prefix`: whole levels only, so some may not.
    pub fn keys_filter(&self, prefix: &str) -> String {
        let bucket = self.bucket();
        match prefix.rsplit_once('/') {
            Some((levels, _)) => format!("$KV.{bucket}.k.{}.>", key_tokens(levels)),
            None => format!("$KV.{bucket}.k.>"),
        }
    }

    /// The key whose subject this is; None for what is no key of ours.
    pub fn key(&self, subject: &str) -> Option<String> {
        let tokens = subject.strip_prefix("$KV.")?;
        let tokens = tokens.strip_prefix(self.bucket().as_str())?;
        let levels: Option<Vec<String>> =
            tokens.strip_prefix(".k.")?.split('.').map(text).collect();
        Some(levels?.join("/"))
    }
}

fn key_tokens(key: &str) -> String {
    key.split('/').map(token).collect::<Vec<_>>().join(".")
}

/// One token for any text: letters, digits, `-` and `_` as they are, `=XX` for every other byte, `=` for none at all.
pub fn token(text: &str) -> String {
    use std::fmt::Write as _;
    if text.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => token.push(char::from(byte)),
            _ => {
                let _ = write!(token, "={byte:02X}");
            }
        }
    }
    token
}

/// What became this token; None for a token that nothing becomes.
fn text(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// FNV-1a, 64 bits: to tell names apart, not to keep anybody out.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_is_one_token_and_no_two_are_alike() {
        let names = Names::new("lab");
        let tasks = |kind: &str, version: &str| {
            Queue::parse(&format!("task.default.{kind}.{version}.control")).unwrap()
        };
        let queues = [
            tasks("ssh", "1.0.0"),
            tasks("ssh", "1.0.0+b.1"),
            tasks("ssh.1", "0.0"),
            tasks("ssh", "1=2E0"),
            tasks("ssh", "1.0 *>é"),
            Queue::wee("a.b"),
            Queue::wee("a"),
            Queue::reports(),
        ];
        let subjects: std::collections::BTreeSet<_> =
            queues.iter().map(|q| names.subject(q)).collect();
        assert_eq!(
            subjects.len(),
            queues.len() - 1,
            "two names are the same text: {subjects:?}"
        );
        for subject in subjects {
            let token = subject.strip_prefix("lab.q.").unwrap();
            assert!(!token.contains(['.', '*', '>', ' ', '/']), "{token}");
        }
    }

    #[test]
    fn long_names_of_consumers_stay_apart() {
        let names = Names::new("lab");
        let long = "é.".repeat(100);
        let one = names.consumer(&Queue::wee(&format!("{long}1")));
        let two = names.consumer(&Queue::wee(&format!("{long}2")));
        assert!(one.len() == CONSUMER_BYTES_MAX && two.len() == CONSUMER_BYTES_MAX);
        assert_ne!(one, two);
    }

    #[test]
    fn keys_come_back_as_they_were() {
        let names = Names::new("lab");
        for key in ["wee/a", "wee/a.b+c", "x", "", "a//b/", "é/=/*/>", "/"] {
            assert_eq!(names.key(&names.key_subject(key)).as_deref(), Some(key));
        }
        assert_eq!(names.key("$KV.lab-directory.probe"), None);
        assert_eq!(names.key("$KV.other.k.x"), None);
        assert_eq!(names.keys_filter("wee/"), "$KV.lab-directory.k.wee.>");
        assert_eq!(names.keys_filter("wee/ab"), "$KV.lab-directory.k.wee.>");
        assert_eq!(names.keys_filter("w"), "$KV.lab-directory.k.>");
    }
}
