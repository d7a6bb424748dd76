//! What a warm instance remembers between tasks: OAuth tokens, and credentials that were just refused.
//!
//! Everything here may be forgotten at any moment without harm; it is bounded, and no secret is kept in the clear but the
//! tokens themselves.

use crate::limits;
use crate::outcome::Failure;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A panic of one task must not take the others along: what is behind these locks is whole after every line.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
pub struct Memory {
    tokens: Mutex<HashMap<u64, Slot>>,
    rests: Mutex<HashMap<u64, (u64, Failure)>>,
    hasher: RandomState,
}

enum Slot {
    /// A task asks for it; it must not take longer than this.
    Asking {
        until_ms: u64,
    },
    Kept {
        token: String,
        until_ms: u64,
    },
}

/// What is known of a token.
pub enum Known {
    Token(String),
    /// Another task asks for it: look again soon.
    Asked,
    /// Ask for it, and hand it to the guard.
    Ask(Asking),
}

/// The duty to ask for a token; dropped without one, the next task may.
pub struct Asking {
    memory: Arc<Memory>,
    key: u64,
}

impl Memory {
    pub fn key(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// The token of `key`, or who asks for it.
    pub fn token(self: &Arc<Memory>, key: u64, now_ms: u64) -> Known {
        let mut tokens = lock(&self.tokens);
        match tokens.get(&key) {
            Some(Slot::Kept { token, until_ms }) if now_ms < *until_ms => {
                return Known::Token(token.clone());
            }
            Some(Slot::Asking { until_ms }) if now_ms < *until_ms => return Known::Asked,
            _ => {}
        }
        if tokens.len() >= limits::REMEMBERED_MAX {
            tokens.retain(|_, slot| match slot {
                Slot::Asking { until_ms } | Slot::Kept { until_ms, .. } => now_ms < *until_ms,
            });
        }
        // Still full: every one is of use, and this one just goes unremembered for the others.
        if tokens.len() < limits::REMEMBERED_MAX || tokens.contains_key(&key) {
            let until_ms = now_ms + limits::REQUEST_MAX_MS;
            tokens.insert(key, Slot::Asking { until_ms });
        }
        Known::Ask(Asking {
            memory: self.clone(),
            key,
        })
    }

    /// Forgets a token that was refused, unless another one has come meanwhile.
    pub fn refused(&self, key: u64, refused: &str) {
        let mut tokens = lock(&self.tokens);
        if matches!(tokens.get(&key), Some(Slot::Kept { token, .. }) if token == refused) {
            tokens.remove(&key);
        }
    }

    /// Nobody tries these credentials for a moment.
    pub fn rest(&self, key: u64, failure: &Failure, now_ms: u64) {
        let mut rests = lock(&self.rests);
        if rests.len() >= limits::REMEMBERED_MAX {
            rests.retain(|_, (until_ms, _)| now_ms < *until_ms);
        }
        if rests.len() < limits::REMEMBERED_MAX {
            let until_ms = now_ms + limits::AUTH_REFUSED_REST_MS;
            rests.insert(key, (until_ms, failure.clone()));
        }
    }

    /// The failure of a moment ago, while its rest lasts.
    pub fn resting(&self, key: u64, now_ms: u64) -> Option<Failure> {
        let rests = lock(&self.rests);
        let (until_ms, failure) = rests.get(&key)?;
        (now_ms < *until_ms).then(|| failure.clone())
    }
}

impl Asking {
    pub fn keep(self, token: &str, until_ms: u64) {
        let mut tokens = lock(&self.memory.tokens);
        if let Some(slot) = tokens.get_mut(&self.key) {
            let token = token.to_owned();
            *slot = Slot::Kept { token, until_ms };
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut tokens = lock(&self.memory.tokens);
        if matches!(tokens.get(&self.key), Some(Slot::Asking { .. })) {
            tokens.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_asks_and_all_use_it() {
        let memory = Arc::new(Memory::default());
        let Known::Ask(first) = memory.token(1, 0) else {
            panic!("ask")
        };
        assert!(matches!(memory.token(1, 1), Known::Asked));
        drop(first);
        let Known::Ask(second) = memory.token(1, 2) else {
            panic!("ask again")
        };
        second.keep("t", 100);
        assert!(matches!(memory.token(1, 99), Known::Token(t) if t == "t"));
        memory.refused(1, "older");
        assert!(matches!(memory.token(1, 99), Known::Token(_)));
        memory.refused(1, "t");
        assert!(matches!(memory.token(1, 99), Known::Ask(_)));
        let Known::Ask(third) = memory.token(1, 100) else {
            panic!("ask")
        };
        third.keep("u", 200);
        assert!(
            matches!(memory.token(1, 200), Known::Ask(_)),
            "it has expired"
        );
    }

    #[test]
    fn it_forgets_rather_than_grow() {
        let memory = Arc::new(Memory::default());
        let failure = Failure::refused("no");
        for key in 0..limits::REMEMBERED_MAX as u64 + 10 {
            if let Known::Ask(asking) = memory.token(key, 0) {
                asking.keep("t", 1_000);
            }
            memory.rest(key, &failure, 0);
        }
        assert_eq!(lock(&memory.tokens).len(), limits::REMEMBERED_MAX);
        assert_eq!(lock(&memory.rests).len(), limits::REMEMBERED_MAX);
        assert!(memory.resting(1, 10).is_some());
        assert!(memory.resting(1, limits::AUTH_REFUSED_REST_MS).is_none());
    }
}
