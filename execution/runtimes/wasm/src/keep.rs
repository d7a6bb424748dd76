//! The memory of an instance beyond its tasks: tokens and the like, apart for each target. It must never grow with what
//! guests put into it.

use crate::limits;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Default)]
pub struct Keep {
    entries: Mutex<BTreeMap<(String, String), Entry>>,
}

struct Entry {
    value: Vec<u8>,
    until: Instant,
}

impl Keep {
    pub fn get(&self, target: &str, key: &str) -> Option<Vec<u8>> {
        let entries = self.entries.lock();
        let entry = entries.get(&(target.to_owned(), key.to_owned()))?;
        (entry.until > Instant::now()).then(|| entry.value.clone())
    }

    /// False when it is not kept.
    pub fn put(&self, target: &str, key: &str, value: Vec<u8>, keep: Duration) -> bool {
        if value.len() > limits::KEPT_BYTES_MAX || key.len() > limits::KEPT_KEY_BYTES_MAX {
            return false;
        }
        let until = Instant::now() + keep.min(limits::KEPT_MAX);
        let mut entries = self.entries.lock();
        let own = (target.to_owned(), key.to_owned());
        if !entries.contains_key(&own) {
            let from = (target.to_owned(), String::new());
            let of_target = entries
                .range(from..)
                .take_while(|((of, _), _)| of == target);
            if let Some(oldest) =
                first_to_go(of_target, limits::KEPT_ENTRIES_PER_TARGET_MAX).cloned()
            {
                entries.remove(&oldest);
            }
            if entries.len() >= limits::KEPT_ENTRIES_MAX {
                let now = Instant::now();
                entries.retain(|_, entry| entry.until > now);
            }
            if let Some(oldest) = first_to_go(entries.iter(), limits::KEPT_ENTRIES_MAX).cloned() {
                entries.remove(&oldest);
            }
        }
        entries.insert(own, Entry { value, until });
        true
    }

    pub fn remove(&self, target: &str, key: &str) {
        let mut entries = self.entries.lock();
        entries.remove(&(target.to_owned(), key.to_owned()));
    }
}

/// Where there are `most` already, the one that ends soonest.
fn first_to_go<'a, K>(
    entries: impl Iterator<Item = (&'a K, &'a Entry)>,
    most: usize,
) -> Option<&'a K> {
    let mut count = 0;
    let soonest = entries
        .inspect(|_| count += 1)
        .min_by_key(|(_, entry)| entry.until)
        .map(|(key, _)| key);
    soonest.filter(|_| count >= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_apart_and_the_oldest_entry_makes_room() {
        let keep = Keep::default();
        let long = Duration::from_secs(60);
        assert!(keep.put("a", "token", b"1".to_vec(), Duration::from_secs(1)));
        assert!(keep.put("b", "token", b"2".to_vec(), long));
        assert_eq!(keep.get("a", "token").unwrap(), b"1");
        for n in 0..limits::KEPT_ENTRIES_PER_TARGET_MAX {
            assert!(keep.put("a", &n.to_string(), Vec::new(), long));
        }
        assert_eq!(keep.get("a", "token"), None);
        assert_eq!(keep.get("b", "token").unwrap(), b"2");
        keep.remove("b", "token");
        assert_eq!(keep.get("b", "token"), None);
        assert!(!keep.put("a", "x", vec![0; limits::KEPT_BYTES_MAX + 1], long));
        assert!(keep.put("a", "now", Vec::new(), Duration::ZERO));
        assert_eq!(keep.get("a", "now"), None);
    }
}
