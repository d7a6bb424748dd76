//! Which images are here, which are on their way, and which may go. The files are the business of `cache`, the way over
//! the interconnect that of `fetch`.

use crate::cache::{self, Stored};
use crate::fetch::{self, FetchError, Job, PartHead};
use crate::pool::restart_wait_ms;
use crate::pools::Pool;
use crate::shell::{Event, Shell};
use bytes::Bytes;
use sengu_interconnect::Queue;
use sengu_model::{image, limits};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Images fetched at once; each asks for its share of the parts that may be out.
const FETCHES_MAX: usize = 2;
pub const PARTS_OUT_MAX: usize = limits::BLOB_PARTS_OUT_MAX / FETCHES_MAX;
/// Parts handed to a fetch that it has not taken yet; what is beyond is asked for again.
const PARTS_QUEUED_MAX: usize = 2 * PARTS_OUT_MAX;
/// Images kept that nothing needs now, because a Release may be moved back to them: this many, and this many bytes.
pub const SPARE_IMAGES_MAX: usize = 8;
pub const SPARE_BYTES_MAX: u64 = 4 << 30;
/// What nothing needs any more is looked for this long after a pool went or an image came, in milliseconds.
const CLEAN_AFTER_MS: u64 = 1_000;

#[derive(Default)]
pub struct Images {
    known: HashMap<String, State>,
    /// Wanted, and not begun because enough are being fetched.
    queued: VecDeque<String>,
    fetching: usize,
    /// What an earlier life left in the cache is known.
    scanned: bool,
    clean_at_ms: Option<u64>,
}

enum State {
    Here(Stored),
    Queued {
        bytes: u64,
        tries: u32,
    },
    Fetching {
        parts: mpsc::Sender<Bytes>,
        tries: u32,
    },
    Failed {
        why: String,
        again_ms: u64,
        tries: u32,
    },
    /// Its files are being removed; None: nobody wants it again.
    Leaving {
        wanted_bytes: Option<u64>,
    },
}

/// Where an image is.
pub enum Found {
    Here(PathBuf),
    /// The pools that wait for it will be told.
    Coming,
    Not {
        why: String,
        wait_ms: u64,
    },
}

impl Shell {
    /// Finds out what is in the cache. Until then nothing is fetched.
    pub fn scan_cache(&mut self) {
        let cache = self.config.cache.clone();
        self.source(async move {
            let scanned = crate::clock::blocking(move || cache::scan(&cache)).await;
            let scanned = scanned.map_err(std::io::Error::other).flatten();
            Event::Scanned(scanned)
        });
    }

    pub fn on_scanned(&mut self, scanned: std::io::Result<Vec<Stored>>) {
        self.images.scanned = true;
        match scanned {
            Ok(stored) => {
                for image in stored {
                    let digest = image.digest.clone();
                    // Whoever wanted it meanwhile is told below.
                    self.images.known.insert(digest, State::Here(image));
                }
            }
            Err(e) => {
                let cache = self.config.cache.display();
                tracing::error!(%cache, error = %e, "look into the cache of images");
            }
        }
        for digest in std::mem::take(&mut self.images.queued) {
            match self.images.known.get(&digest) {
                Some(State::Here(_)) => self.on_image_settled(&digest),
                _ => self.images.queued.push_back(digest),
            }
        }
        self.fetch_next();
        self.clean_soon();
    }

    /// Where the image is; when it is not here, it is fetched.
    pub fn want_image(&mut self, digest: &str, bytes: u64) -> Found {
        let now_ms = self.now_ms;
        let cache = &self.config.cache;
        let mut tries = 0;
        match self.images.known.get_mut(digest) {
            Some(State::Here(stored)) => {
                let folder = cache::folder(cache, digest);
                if folder.is_dir() {
                    stored.used = self.now;
                    return Found::Here(folder);
                }
                tracing::error!(digest, "the image has vanished from the cache");
            }
            Some(State::Queued { .. } | State::Fetching { .. }) => return Found::Coming,
            Some(State::Leaving { wanted_bytes }) => {
                *wanted_bytes = Some(bytes);
                return Found::Coming;
            }
            Some(State::Failed {
                why,
                again_ms,
                tries: before,
            }) => {
                if now_ms < *again_ms {
                    return Found::Not {
                        why: why.clone(),
                        wait_ms: *again_ms - now_ms,
                    };
                }
                tries = *before;
            }
            None => {}
        }
        let why = if !image::valid_digest(digest) {
            format!(
                "{digest:?} is not the digest of an image, and none of that name came with this program"
            )
        } else if bytes == 0 || bytes > limits::IMAGE_BYTES_MAX {
            format!(
                "an image of {bytes} bytes is not fetched (1 to {})",
                limits::IMAGE_BYTES_MAX
            )
        } else {
            let state = State::Queued { bytes, tries };
            self.images.known.insert(digest.to_owned(), state);
            self.images.queued.push_back(digest.to_owned());
            self.fetch_next();
            return Found::Coming;
        };
        Found::Not {
            why,
            wait_ms: limits::RETRY_MAX_MS,
        }
    }

    fn fetch_next(&mut self) {
        while self.images.scanned
            && self.images.fetching < FETCHES_MAX
            && let Some(digest) = self.images.queued.pop_front()
        {
            let Some(State::Queued { bytes, tries }) = self.images.known.get(&digest) else {
                continue;
            };
            let (bytes, tries) = (*bytes, *tries);
            let wanted = |pool: &Pool| pool.closed.is_none() && pool.image.digest == digest;
            if !self.pools.iter().any(|(_, pool)| wanted(pool)) {
                self.images.known.remove(&digest);
                continue;
            }
            let (parts, receiver) = mpsc::channel(PARTS_QUEUED_MAX);
            let state = State::Fetching { parts, tries };
            self.images.known.insert(digest.clone(), state);
            self.images.fetching += 1;
            tracing::info!(digest, bytes, "fetching an image");
            let job = Job {
                broker: self.broker.clone(),
                wee: self.config.name.clone(),
                digest: digest.clone(),
                bytes,
                cache: self.config.cache.clone(),
                parts: receiver,
            };
            self.source(async move { Event::Fetched(digest, fetch::fetch(job).await) });
        }
    }

    /// Hands a part to the fetch that has asked for it.
    pub fn on_blob_part(&mut self, body: &Bytes) {
        let head: PartHead = match serde_json::from_slice(body) {
            Ok(head) => head,
            Err(e) => {
                let queue = Queue::wee(&self.config.name);
                self.put_aside(&queue, &format!("a part of an image: {e}"), body);
                return;
            }
        };
        match self.images.known.get(head.digest.as_ref()) {
            // One too many is dropped: the fetch asks for it again.
            Some(State::Fetching { parts, .. }) => drop(parts.try_send(body.clone())),
            _ => tracing::debug!(digest = %head.digest, "a part of an image that nobody waits for"),
        }
    }

    pub fn on_fetched(&mut self, digest: &str, result: Result<Stored, FetchError>) {
        self.images.fetching = self.images.fetching.saturating_sub(1);
        let state = match result {
            Ok(stored) => {
                tracing::info!(digest, files = stored.files, "the image is here");
                State::Here(stored)
            }
            Err(e) => {
                let tries = match self.images.known.get(digest) {
                    Some(State::Fetching { tries, .. }) => tries.saturating_add(1),
                    _ => 1,
                };
                // Bytes that are wrong will hardly be right a moment later.
                let wait_ms = match e.is_of_the_image() {
                    true => limits::RETRY_MAX_MS,
                    false => restart_wait_ms(tries.saturating_add(1)),
                };
                let why = format!("fetch the image: {}", e.text());
                tracing::error!(digest, why, wait_ms, "an image did not come");
                State::Failed {
                    why,
                    again_ms: self.now_ms + wait_ms,
                    tries,
                }
            }
        };
        self.images.known.insert(digest.to_owned(), state);
        self.on_image_settled(digest);
        self.fetch_next();
        self.clean_soon();
    }

    pub fn clean_soon(&mut self) {
        let at_ms = self.now_ms + CLEAN_AFTER_MS;
        self.images.clean_at_ms.get_or_insert(at_ms);
    }

    /// Removes images that nothing needs, but for the newest few.
    pub fn clean_images(&mut self) {
        let due = self
            .images
            .clean_at_ms
            .is_some_and(|at_ms| self.now_ms >= at_ms);
        if !due || !self.images.scanned {
            return;
        }
        self.images.clean_at_ms = None;
        let mut needed: HashSet<&str> = HashSet::new();
        for (_, pool) in self.pools.iter() {
            needed.insert(&pool.image.digest);
        }
        for instance in self.instances.values() {
            needed.insert(&instance.image.digest);
        }
        let unneeded = |(digest, state): (&String, &State)| match state {
            State::Here(stored) if !needed.contains(digest.as_str()) => Some(stored.clone()),
            _ => None,
        };
        let spare: Vec<Stored> = self.images.known.iter().filter_map(unneeded).collect();
        let forgotten = |digest: &str, state: &State| {
            matches!(state, State::Failed { .. }) && !needed.contains(digest)
        };
        let forgotten: Vec<String> = self
            .images
            .known
            .iter()
            .filter(|(digest, state)| forgotten(digest, state))
            .map(|(digest, _)| digest.clone())
            .collect();
        for digest in forgotten {
            self.images.known.remove(&digest);
        }
        for digest in superfluous(spare) {
            tracing::info!(digest, "an image that nothing needs is removed");
            let state = State::Leaving { wanted_bytes: None };
            self.images.known.insert(digest.clone(), state);
            let cache = self.config.cache.clone();
            self.source(async move {
                let own = digest.clone();
                let removed = crate::clock::blocking(move || cache::remove(&cache, &own));
                let removed = removed.await.map_err(std::io::Error::other).flatten();
                Event::Removed(digest, removed)
            });
        }
    }

    pub fn on_removed(&mut self, digest: &str, removed: std::io::Result<()>) {
        if let Err(e) = removed {
            // The next start tries again: without its mark it counts as half-written.
            tracing::error!(digest, error = %e, "remove an image");
        }
        let state = self.images.known.remove(digest);
        if let Some(State::Leaving {
            wanted_bytes: Some(bytes),
        }) = state
        {
            let state = State::Queued { bytes, tries: 0 };
            self.images.known.insert(digest.to_owned(), state);
            self.images.queued.push_back(digest.to_owned());
            self.fetch_next();
        }
    }
}

/// Which of the images that nothing needs go: all but those used last, within limits.
fn superfluous(mut spare: Vec<Stored>) -> Vec<String> {
    spare.sort_by_key(|stored| std::cmp::Reverse(stored.used));
    let (mut count, mut bytes) = (0, 0_u64);
    let goes = |stored: &Stored| {
        count += 1;
        bytes = bytes.saturating_add(stored.bytes);
        count > SPARE_IMAGES_MAX || bytes > SPARE_BYTES_MAX
    };
    let mut goes = goes;
    spare.retain(|stored| goes(stored));
    spare.into_iter().map(|stored| stored.digest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sengu_model::Time;

    #[test]
    fn the_newest_few_are_kept() {
        let stored = |n: i64, bytes| Stored {
            digest: n.to_string(),
            files: 1,
            bytes,
            used: Time(n),
        };
        let many: Vec<Stored> = (0..11).map(|n| stored(n, 1)).collect();
        let large: Vec<Stored> = (0..4).map(|n| stored(n, SPARE_BYTES_MAX / 2)).collect();
        let table: [(Vec<Stored>, &[&str]); 4] = [
            (Vec::new(), &[]),
            (many, &["2", "1", "0"]),
            (large, &["1", "0"]),
            (vec![stored(1, u64::MAX), stored(2, 1)], &["1"]),
        ];
        for (spare, want) in table {
            assert_eq!(superfluous(spare), want);
        }
    }
}
