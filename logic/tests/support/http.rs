//! Requests into the API without a socket.

use super::LIMIT;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use futures::StreamExt as _;
use sengu_logic::Logic;
use sengu_logic::api::{Scheme, router};
use serde_json::Value;
use std::sync::Arc;
use tower::ServiceExt as _;

/// How a server is asked here.
pub const HOST: &str = "127.0.0.1:7373";

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

/// `headers` are `name: value`.
pub async fn ask(
    logic: &Arc<Logic>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Reply {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = match body {
        Value::Null => Body::empty(),
        body => Body::from(body.to_string()),
    };
    let routes = router(logic.clone(), Scheme::Http);
    let response = routes.oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    }
}

/// As the operator.
pub async fn get(logic: &Arc<Logic>, path: &str) -> Value {
    let token = [("authorization", "Bearer token")];
    let reply = ask(logic, Method::GET, path, &token, &Value::Null).await;
    assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.body);
    reply.body
}

/// A stream of server-sent events.
pub struct Stream {
    body: axum::body::BodyDataStream,
    read: Vec<u8>,
}

pub async fn follow(logic: &Arc<Logic>, path: &str) -> Stream {
    let request = Request::get(path).header("authorization", "Bearer token");
    let routes = router(logic.clone(), Scheme::Http);
    let response = routes.oneshot(request.body(Body::empty()).unwrap());
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    Stream {
        body: response.into_body().into_data_stream(),
        read: Vec::new(),
    }
}

impl Stream {
    /// The next event: its name and data.
    pub async fn next(&mut self) -> (String, Value) {
        let found = tokio::time::timeout(LIMIT, self.read_one()).await;
        found.expect("an event within the limit")
    }

    /// The next event of that name; others are passed over.
    pub async fn next_of(&mut self, name: &str) -> Value {
        loop {
            let (event, data) = self.next().await;
            if event == name {
                return data;
            }
        }
    }

    /// True when nothing comes for so long.
    pub async fn is_quiet(&mut self, for_how_long: std::time::Duration) -> bool {
        let found = tokio::time::timeout(for_how_long, self.read_one()).await;
        found.is_err()
    }

    async fn read_one(&mut self) -> (String, Value) {
        loop {
            let end = self.read.windows(2).position(|w| w == b"\n\n");
            if let Some(end) = end {
                let text: Vec<u8> = self.read.drain(..end + 2).collect();
                let text = String::from_utf8(text).unwrap();
                let field = |name: &str| {
                    let mut lines = text.lines();
                    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                if let (Some(event), Some(data)) = (field("event"), field("data")) {
                    return (event.to_owned(), serde_json::from_str(data).unwrap());
                }
                continue;
            }
            let bytes: Bytes = self.body.next().await.expect("the stream goes on").unwrap();
            self.read.extend_from_slice(&bytes);
        }
    }
}
