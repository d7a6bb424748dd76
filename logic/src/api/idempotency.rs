//! `Idempotency-Key`: the same request again gives the same answer and does nothing twice.
//!
//! Remembered for the life of the process, the newest 10,000 within 64 MiB. A request whose connection broke can so be
//! sent again.

use super::Refusal;
use crate::core::Logic;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use sengu_model::limits;
use sengu_model::problem::{Code, Problem};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

const KEY_BYTES_MAX: usize = 200;
/// Bytes of answers remembered, over all keys: an answer for 100,000 targets is 20 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Default)]
pub struct Remembered(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    answers: HashMap<String, Entry>,
    /// Keys with the number of their entry, oldest first; an entry that was forgotten leaves its place behind.
    order: VecDeque<(u64, String)>,
    number: u64,
    bytes: usize,
}

struct Entry {
    number: u64,
    hash: [u8; 32],
    saved: Saved,
}

#[derive(Clone)]
enum Saved {
    InProgress,
    Done(StatusCode, Option<header::HeaderValue>, Bytes),
}

pub async fn remember(State(logic): State<Arc<Logic>>, request: Request, next: Next) -> Response {
    let key = request
        .headers()
        .get("idempotency-key")
        .and_then(|v| v.to_str().ok());
    let Some(key) = key
        .map(str::to_owned)
        .filter(|_| request.method() == Method::POST)
    else {
        return next.run(request).await;
    };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let what = "Idempotency-Key is 1 to 200 characters";
        return Refusal(Problem::new(Code::InvalidField, what)).into_response();
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, limits::REQUEST_BYTES_MAX).await else {
        let what = format!("body over {} bytes", limits::REQUEST_BYTES_MAX);
        return Refusal(Problem::new(Code::BodyTooLarge, what)).into_response();
    };
    let mut hash = Sha256::new();
    hash.update(parts.uri.to_string());
    hash.update([0]);
    hash.update(&body);
    let hash: [u8; 32] = hash.finalize().into();
    if let Some(answer) = begin(&logic.shared.idempotency, &key, hash) {
        return answer;
    }
    // Whatever ends this early, the key must not stay in progress.
    let mut pending = Pending {
        remembered: &logic.shared.idempotency,
        key: Some(key),
    };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, limits::REQUEST_BYTES_MAX).await else {
        return Refusal(Problem::new(Code::Internal, "answer too large")).into_response();
    };
    if parts.status.is_success() {
        let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
        pending.done(Saved::Done(parts.status, kind, body.clone()));
    }
    // Otherwise nothing was done, so the key may be used again.
    drop(pending);
    Response::from_parts(parts, Body::from(body))
}

/// A request in progress: forgotten unless it is done.
struct Pending<'a> {
    remembered: &'a Remembered,
    key: Option<String>,
}

impl Pending<'_> {
    fn done(&mut self, saved: Saved) {
        let Some(key) = self.key.take() else { return };
        let mut inner = self.remembered.0.lock();
        if let Some(entry) = inner.answers.get_mut(&key) {
            let bytes = saved.bytes();
            entry.saved = saved;
            inner.bytes += bytes;
            inner.shrink();
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.remembered.0.lock().answers.remove(&key);
        }
    }
}

impl Saved {
    fn bytes(&self) -> usize {
        match self {
            Saved::InProgress => 0,
            Saved::Done(_, _, body) => body.len(),
        }
    }
}

impl Inner {
    /// Forgets the oldest until the rest is within its limits.
    fn shrink(&mut self) {
        while self.order.len() > limits::IDEMPOTENCY_KEYS_MAX || self.bytes > ANSWER_BYTES_MAX {
            let Some((number, key)) = self.order.pop_front() else {
                return;
            };
            if self.answers.get(&key).is_some_and(|e| e.number == number)
                && let Some(entry) = self.answers.remove(&key)
            {
                self.bytes = self.bytes.saturating_sub(entry.saved.bytes());
            }
        }
    }
}

/// The answer to give at once, or none when the request is to be done.
fn begin(remembered: &Remembered, key: &str, hash: [u8; 32]) -> Option<Response> {
    let mut inner = remembered.0.lock();
    if let Some(Entry {
        hash: before,
        saved,
        ..
    }) = inner.answers.get(key)
    {
        if *before != hash {
            let what = "this Idempotency-Key came with another request before";
            return Some(Refusal(Problem::new(Code::IdempotencyMismatch, what)).into_response());
        }
        return Some(match saved.clone() {
            Saved::InProgress => {
                let what = "the first request with this Idempotency-Key is still being done";
                Refusal(Problem::new(Code::Conflict, what).hint("ask again in a moment"))
                    .into_response()
            }
            Saved::Done(status, kind, body) => {
                let mut response = (status, body).into_response();
                if let Some(kind) = kind {
                    response.headers_mut().insert(header::CONTENT_TYPE, kind);
                }
                response
            }
        });
    }
    inner.number += 1;
    let entry = Entry {
        number: inner.number,
        hash,
        saved: Saved::InProgress,
    };
    inner.order.push_back((entry.number, key.to_owned()));
    inner.answers.insert(key.to_owned(), entry);
    inner.shrink();
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin_and(remembered: &Remembered, key: &str, bytes: Option<usize>) -> bool {
        let fresh = begin(remembered, key, [0; 32]).is_none();
        if fresh {
            let mut pending = Pending {
                remembered,
                key: Some(key.to_owned()),
            };
            if let Some(bytes) = bytes {
                pending.done(Saved::Done(StatusCode::OK, None, vec![0; bytes].into()));
            }
        }
        fresh
    }

    #[test]
    fn a_request_that_ended_early_leaves_its_key_free() {
        let remembered = Remembered::default();
        assert!(begin_and(&remembered, "a", None));
        assert!(begin_and(&remembered, "a", Some(1)));
        assert!(!begin_and(&remembered, "a", Some(1)));
    }

    #[test]
    fn a_key_that_was_used_again_is_not_forgotten_with_its_first_use() {
        let remembered = Remembered::default();
        assert!(begin_and(&remembered, "a", None));
        for n in 1..limits::IDEMPOTENCY_KEYS_MAX {
            begin_and(&remembered, &n.to_string(), Some(0));
        }
        assert!(begin_and(&remembered, "a", Some(1)));
        assert!(!begin_and(&remembered, "a", Some(1)));
    }

    #[test]
    fn large_answers_are_bounded_together() {
        let remembered = Remembered::default();
        for n in 0..10 {
            begin_and(&remembered, &n.to_string(), Some(ANSWER_BYTES_MAX / 4));
        }
        assert!(remembered.0.lock().bytes <= ANSWER_BYTES_MAX);
        assert!(!begin_and(&remembered, "9", None), "the newest is kept");
        assert!(begin_and(&remembered, "0", None), "the oldest is not");
    }
}
