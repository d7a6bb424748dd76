//! Topics of sengu's own below `<prefix>/ic/v1`. Keys and queues are names as people gave them: whatever is in them, they
//! make exactly as many levels as written here and never a wildcard.

use crate::error::MqttError;
use crate::limits::{KEY_BYTES_MAX, SHARDS};
use sengu_interconnect::{Queue, events::Topic};

#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
}

fn level(text: &str) -> String {
    match text {
        "" => String::new(),
        text => Topic::new(&[text]).encoded("", '/').split_off(1),
    }
}

fn plain(level: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(level.len());
    let mut rest = level.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// The part of the directory that a key is in: the same in every process and version (FNV-1a).
fn shard(key: &str) -> u8 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    ((hash ^ (hash >> 16)) % u32::from(SHARDS)) as u8
}

impl Names {
    pub fn new(prefix: &str) -> Names {
        let prefix = format!("{prefix}/ic/v1");
        Names { prefix }
    }

    /// # Errors
    /// When the key is too long.
    pub fn key(&self, key: &str) -> Result<String, MqttError> {
        if key.len() > KEY_BYTES_MAX {
            return Err(MqttError::Key { bytes: key.len() });
        }
        let at = format!("{}/dir/{:x}", self.prefix, shard(key));
        Ok(match key.split_once('/') {
            Some((first, rest)) => format!("{at}/{}/{}", level(first), level(rest)),
            None => format!("{at}/{}", level(key)),
        })
    }

    pub fn key_of(&self, topic: &str) -> Option<String> {
        let rest = topic.strip_prefix(&self.prefix)?.strip_prefix("/dir/")?;
        let (part, rest) = rest.split_once('/')?;
        let key = match rest.split_once('/') {
            Some((first, rest)) => format!("{}/{}", plain(first)?, plain(rest)?),
            None => plain(rest)?,
        };
        // Nobody but a stranger writes a key into another's part.
        (part == format!("{:x}", shard(&key))).then_some(key)
    }

    /// Filters that together match every key below `prefix`, one part of the directory each.
    pub fn keys_below(&self, prefix: &str) -> Vec<String> {
        let below = match prefix.split_once('/') {
            Some((first, _)) => format!("{}/+", level(first)),
            None => "#".to_owned(),
        };
        let filter = |shard| format!("{}/dir/{shard:x}/{below}", self.prefix);
        (0..SHARDS).map(filter).collect()
    }

    pub fn all_keys(&self) -> String {
        format!("{}/dir/#", self.prefix)
    }

    /// Where one client talks to itself, to learn that all it asked for before has arrived.
    pub fn mark(&self, client: &str) -> String {
        format!("{}/mark/{}", self.prefix, level(client))
    }

    pub fn queue(&self, queue: &Queue) -> String {
        format!("{}/q/{}", self.prefix, level(queue.as_str()))
    }

    pub fn share(&self, queue: &Queue) -> String {
        format!("$share/sengu/{}", self.queue(queue))
    }

    /// Where one subscriber gets what it asked for.
    pub fn inbox(&self, client: &str) -> String {
        format!("{}/in/{}", self.prefix, level(client))
    }

    /// What others say they are: nothing is ever sent elsewhere because of them.
    pub fn is_inbox(&self, topic: &str) -> bool {
        let client = topic.strip_prefix(&self.prefix);
        let client = client.and_then(|rest| rest.strip_prefix("/in/"));
        client.is_some_and(|c| {
            c.bytes()
                .all(|b| b.is_ascii_graphic() && !b"/+#$".contains(&b))
        })
    }

    /// Where subscribers of a queue say that they have room, for how many, and where.
    pub fn wanted(&self, queue: &Queue) -> String {
        format!("{}/want/{}", self.prefix, level(queue.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_comes_back_as_it_was_and_makes_few_levels() {
        let names = Names::new("sengu");
        let deep = "a/".repeat(200);
        for key in [
            "wee/a",
            "wee/",
            "",
            "/",
            "//",
            "a",
            "a/b/c",
            "x/+#*> %é\n\0",
            "$SYS/+",
            "#",
            "%41",
            &deep,
        ] {
            let topic = names.key(key).unwrap();
            assert_eq!(names.key_of(&topic).as_deref(), Some(key));
            assert!(topic.split('/').count() <= 7, "{topic}");
            assert!(!topic.contains(['+', '#', '\0', '\n']), "{topic}");
        }
        assert!(names.key(&"x".repeat(KEY_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn what_others_write_there_is_no_key() {
        let names = Names::new("sengu");
        for topic in [
            "sengu/ic/v1/dir",
            "sengu/ic/v1/dir/0",
            "sengu/ic/v1/dir/zz/wee/a",
            "sengu/ic/v1/q/x",
            "other/ic/v1/dir/0/wee/a",
            "sengu/ic/v1/dir/0/%G0",
            "sengu/ic/v1/dir/0/%4",
        ] {
            assert_eq!(names.key_of(topic), None, "{topic}");
        }
    }

    #[test]
    fn filters_match_all_keys_below_a_prefix() {
        let names = Names::new("sengu");
        let filters = names.keys_below("wee/a");
        for key in ["wee/a", "wee/ab", "wee/a/b", "wee/a+"] {
            let topic = names.key(key).unwrap();
            let matching = filters
                .iter()
                .filter(|f| rumqttc::matches(&topic, f))
                .count();
            assert_eq!(matching, 1, "{key}");
        }
    }
}
