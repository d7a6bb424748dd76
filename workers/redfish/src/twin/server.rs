//! The HTTPS server of one stand-in: connections, faults, who may, and what is asked for.

use super::Bmc;
use super::faults::Kind;
use super::machine::Family;
use super::resources;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, LOCATION, RETRY_AFTER,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sengu_sdk::Time;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// A request body, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a hanging BMC holds a request at most.
const HANG_MAX: Duration = Duration::from_secs(3_600);
/// Before the next try when the system has no more sockets.
const ACCEPT_REST: Duration = Duration::from_millis(50);

pub type Answer = Response<Full<Bytes>>;

pub async fn listen(listener: TcpListener, bmc: Arc<Bmc>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if bmc.faults.strikes(Kind::Refuse).is_some() => reset(&stream),
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, bmc.clone()));
            }
            Err(_) => sleep(ACCEPT_REST).await,
        }
    }
}

/// Closes with a reset, as a port without a listener would answer.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn serve(stream: TcpStream, bmc: Arc<Bmc>) {
    let _ = stream.set_nodelay(true);
    let mut hang_up = bmc.hang_up.subscribe();
    let acceptor = match bmc.faults.strikes(Kind::WrongCert) {
        Some(_) => &bmc.impostor,
        None => &bmc.acceptor,
    };
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(|request| answer(request, &bmc));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        _ = hang_up.changed() => {}
    }
}

/// An error closes the connection without an answer.
async fn answer(request: Request<Incoming>, bmc: &Bmc) -> io::Result<Answer> {
    bmc.machine.lock().count_request();
    let cut = || io::Error::from(io::ErrorKind::ConnectionAborted);
    let slow = bmc.faults.strikes(Kind::Slow).flatten().unwrap_or(0);
    let delay = bmc.latency + Duration::from_millis(slow);
    if !delay.is_zero() {
        sleep(delay).await;
    }
    let (head, body) = request.into_parts();
    let logout = head.method == Method::DELETE;
    if bmc.faults.strikes(Kind::Hang).is_some() {
        let mut hang_up = bmc.hang_up.subscribe();
        let _ = tokio::time::timeout(HANG_MAX, hang_up.changed()).await;
        return Err(cut());
    }
    if bmc.faults.strikes(Kind::Cut).is_some() {
        return Err(cut());
    }
    if bmc.faults.strikes(Kind::Garbage).is_some() {
        let mut answer = Response::new(Full::from("{\"PowerState\": \"O<html>\u{0}"));
        answer.headers_mut().insert(CONTENT_TYPE, json_type());
        return Ok(answer);
    }
    if !logout && let Some(ms) = bmc.faults.strikes(Kind::Busy) {
        return Ok(busy(bmc.machine.lock().family, ms.unwrap_or(1_000)));
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map(|b| b.to_bytes()).unwrap_or_default();
    let asked = Asked {
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        path: head.uri.path().trim_end_matches('/').to_owned(),
        expand: head.uri.query().is_some_and(|q| q.contains("$expand")),
        method: head.method,
        if_match: header(&head.headers, IF_MATCH.as_str()),
        now: now(),
    };
    if let Some(refusal) = authorize(bmc, &asked, &head.headers) {
        return Ok(refusal);
    }
    let changes = matches!(asked.method, Method::POST | Method::PATCH);
    if changes && !asked.is_login() {
        if bmc.faults.strikes(Kind::CutChange).is_some() {
            return Err(cut());
        }
        if asked.method == Method::PATCH && bmc.faults.strikes(Kind::Outdated).is_some() {
            bmc.machine.lock().version += 1;
        }
        let deaf = bmc.faults.strikes(Kind::DeafReset).is_some();
        let answer = resources::change(&mut bmc.machine.lock(), &asked, deaf);
        return match answer.status().is_success() && bmc.faults.strikes(Kind::LostReply).is_some() {
            true => Err(cut()),
            false => Ok(answer),
        };
    }
    if asked.is_login() {
        return Ok(login(bmc, &asked));
    }
    Ok(resources::read(&mut bmc.machine.lock(), &asked))
}

/// A request, taken apart.
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub expand: bool,
    pub body: Value,
    pub if_match: Option<String>,
    pub now: Time,
}

impl Asked {
    fn is_login(&self) -> bool {
        self.method == Method::POST && self.path == resources::SESSIONS
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn authorize(bmc: &Bmc, asked: &Asked, headers: &HeaderMap) -> Option<Answer> {
    let mut machine = bmc.machine.lock();
    let root = asked.method == Method::GET && asked.path == resources::ROOT;
    if root || (asked.is_login() && !machine.whims.no_sessions) {
        return None;
    }
    let token = header(headers, "x-auth-token");
    let by_token = token.is_some_and(|token| machine.sessions.values().any(|t| *t == token));
    let basic = header(headers, AUTHORIZATION.as_str());
    let by_password = basic
        .and_then(|text| BASE64.decode(text.strip_prefix("Basic ")?).ok())
        .and_then(|pair| String::from_utf8(pair).ok())
        .is_some_and(|pair| {
            pair.split_once(':')
                .is_some_and(|(u, p)| machine.knows(u, p))
        });
    if (by_token || by_password) && bmc.faults.strikes(Kind::Auth).is_none() {
        return None;
    }
    machine.count_auth_failure();
    Some(error(
        401,
        "Base.1.8.InsufficientPrivilege",
        "Who are you?",
        &[],
    ))
}

fn login(bmc: &Bmc, asked: &Asked) -> Answer {
    let full = || {
        let text = "The maximum number of user sessions has been reached.";
        error(503, "IDRAC.2.8.RAC0218", text, &[])
    };
    if bmc.faults.strikes(Kind::SessionsFull).is_some() {
        return full();
    }
    let mut machine = bmc.machine.lock();
    let text = |name: &str| {
        asked
            .body
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let known = machine.knows(text("UserName"), text("Password"));
    if !known || bmc.faults.strikes(Kind::Auth).is_some() {
        machine.count_auth_failure();
        return error(
            401,
            "Base.1.8.NoValidSession",
            "Wrong name or password.",
            &[],
        );
    }
    let Some((id, token)) = machine.login() else {
        return full();
    };
    let path = format!("{}/{id}", resources::SESSIONS);
    let mut answer = reply(
        201,
        &json!({"@odata.id": path, "Id": id, "UserName": "operator"}),
    );
    let headers = answer.headers_mut();
    for (name, value) in [("x-auth-token", token), (LOCATION.as_str(), path)] {
        if let (Ok(name), Ok(value)) = (name.parse::<hyper::header::HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
    answer
}

fn busy(family: Family, ms: u64) -> Answer {
    let seconds = ms.div_ceil(1_000).to_string();
    let text = format!("The service is temporarily unavailable. Retry in {seconds} seconds.");
    let id = "Base.1.8.ServiceTemporarilyUnavailable";
    let mut answer = error(503, id, &text, &[&seconds]);
    // Some tell the time only in the message.
    if family != Family::Northwind
        && let Ok(value) = seconds.parse()
    {
        answer.headers_mut().insert(RETRY_AFTER, value);
    }
    answer
}

pub fn error(status: u16, id: &str, message: &str, arguments: &[&str]) -> Answer {
    let info = json!({"MessageId": id, "Message": message, "MessageArgs": arguments});
    let body = json!({
        "error": {"code": id, "message": message, "@Message.ExtendedInfo": [info]},
    });
    reply(status, &body)
}

pub fn reply(status: u16, body: &Value) -> Answer {
    let bytes = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, json_type());
    headers.insert(
        "odata-version",
        hyper::header::HeaderValue::from_static("4.0"),
    );
    answer
}

pub fn with_etag(mut answer: Answer, etag: &str) -> Answer {
    if let Ok(value) = etag.parse() {
        answer.headers_mut().insert(ETAG, value);
    }
    answer
}

fn json_type() -> hyper::header::HeaderValue {
    hyper::header::HeaderValue::from_static("application/json; charset=utf-8")
}

fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
