//! `Idempotency-Key`: the same request again gives the same answer and does nothing twice.
//!
//! Remembered for the life of the process, the newest 10,000. A request whose connection broke can so be sent again.

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

#[derive(Default)]
pub struct Remembered(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    answers: HashMap<String, ([u8; 32], Saved)>,
    order: VecDeque<String>,
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
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, limits::REQUEST_BYTES_MAX).await else {
        forget(&logic.shared.idempotency, &key);
        return Refusal(Problem::new(Code::Internal, "answer too large")).into_response();
    };
    if parts.status.is_success() {
        let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
        let saved = Saved::Done(parts.status, kind, body.clone());
        logic
            .shared
            .idempotency
            .0
            .lock()
            .answers
            .insert(key, (hash, saved));
    } else {
        // Nothing was done, so the key may be used again.
        forget(&logic.shared.idempotency, &key);
    }
    Response::from_parts(parts, Body::from(body))
}

/// The answer to give at once, or none when the request is to be done.
fn begin(remembered: &Remembered, key: &str, hash: [u8; 32]) -> Option<Response> {
    let mut inner = remembered.0.lock();
    if let Some((before, saved)) = inner.answers.get(key) {
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
    inner
        .answers
        .insert(key.to_owned(), (hash, Saved::InProgress));
    inner.order.push_back(key.to_owned());
    while inner.order.len() > limits::IDEMPOTENCY_KEYS_MAX {
        if let Some(oldest) = inner.order.pop_front() {
            inner.answers.remove(&oldest);
        }
    }
    None
}

fn forget(remembered: &Remembered, key: &str) {
    remembered.0.lock().answers.remove(key);
}
