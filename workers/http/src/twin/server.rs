//! The HTTPS server of one stand-in: connections, faults, who may, and what is asked for.

use super::Site;
use super::faults::Kind;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LOCATION,
    RETRY_AFTER,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sengu_sdk::Time;
use serde_json::{Value, json};
use std::io::{self, Write as _};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// A request body, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a hanging server holds a request at most.
const HANG_MAX: Duration = Duration::from_secs(3_600);
/// Before the next try when the system has no more sockets.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// What no client should take, in bytes.
const HUGE_BYTES: usize = 64 << 20;

type Answer = Response<Full<Bytes>>;

pub async fn listen(listener: TcpListener, site: Arc<Site>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if site.faults.strikes(Kind::Refuse).is_some() => reset(&stream),
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, site.clone()));
            }
            Err(_) => sleep(ACCEPT_REST).await,
        }
    }
}

/// Closes with a reset, as a port without a listener would answer.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn serve(stream: TcpStream, site: Arc<Site>) {
    let _ = stream.set_nodelay(true);
    let mut hang_up = site.hang_up.subscribe();
    let acceptor = match site.faults.strikes(Kind::WrongCert) {
        Some(_) => &site.impostor,
        None => &site.acceptor,
    };
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    site.plant.lock().connection_opened();
    let service = service_fn(|request| answer(request, &site));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // The stream outlives the count: whoever sees it closed may open another one at once.
    let _stream = tokio::select! {
        ended = connection.without_shutdown() => ended.ok(),
        _ = hang_up.changed() => None,
    };
    site.plant.lock().connection_closed();
}

/// An error closes the connection without an answer.
async fn answer(request: Request<Incoming>, site: &Site) -> io::Result<Answer> {
    site.plant.lock().count_request();
    let cut = || io::Error::from(io::ErrorKind::ConnectionAborted);
    let slow = site.faults.strikes(Kind::Slow).flatten().unwrap_or(0);
    let delay = site.latency + Duration::from_millis(slow);
    if !delay.is_zero() {
        sleep(delay).await;
    }
    if site.faults.strikes(Kind::Hang).is_some() {
        let mut hang_up = site.hang_up.subscribe();
        let _ = tokio::time::timeout(HANG_MAX, hang_up.changed()).await;
        return Err(cut());
    }
    if site.faults.strikes(Kind::Cut).is_some() {
        return Err(cut());
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map(|b| b.to_bytes()).unwrap_or_default();
    if head.uri.path() == "/oauth/token" {
        return Ok(token(site, &head.headers, &body));
    }
    if let Some(odd) = odd(site, head.uri.path()) {
        return Ok(odd);
    }
    if !authorized(site, &head.headers) {
        site.plant.lock().count_auth_failure();
        return Ok(reply(401, &json!({"error": {"message": "Who are you?"}})));
    }
    if head.method == Method::GET {
        return Ok(read(
            site,
            head.uri.path(),
            head.uri.query().unwrap_or_default(),
        ));
    }
    if site.faults.strikes(Kind::CutChange).is_some() {
        return Err(cut());
    }
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let answer = change(site, &head.method, head.uri.path(), &body);
    if !answer.status().is_success() {
        return Ok(answer);
    }
    if site.faults.strikes(Kind::LostReply).is_some() {
        return Err(cut());
    }
    if site.faults.strikes(Kind::ServerError).is_some() {
        return Ok(reply(500, &json!({"message": "something went wrong"})));
    }
    Ok(answer)
}

/// Answers that no question deserves.
fn odd(site: &Site, path: &str) -> Option<Answer> {
    let strikes = |kind| site.faults.strikes(kind);
    let with = |answer: Answer, name: HeaderName, value: &str| with(answer, name, value);
    if let Some(ms) = strikes(Kind::Busy) {
        let seconds = ms.unwrap_or(1_000).div_ceil(1_000).to_string();
        return Some(with(reply(503, &Value::Null), RETRY_AFTER, &seconds));
    }
    if let Some(ms) = strikes(Kind::BusyDate) {
        let at = SystemTime::now() + Duration::from_millis(ms.unwrap_or(1_000));
        let date = httpdate::fmt_http_date(at);
        return Some(with(reply(429, &Value::Null), RETRY_AFTER, &date));
    }
    if strikes(Kind::Auth).is_some() {
        site.plant.lock().count_auth_failure();
        return Some(reply(401, &Value::Null));
    }
    if strikes(Kind::Forbidden).is_some() {
        site.plant.lock().count_auth_failure();
        return Some(reply(403, &json!({"detail": "not for you"})));
    }
    if strikes(Kind::Redirect).is_some() {
        let elsewhere = format!("https://elsewhere.invalid{path}");
        return Some(with(reply(307, &Value::Null), LOCATION, &elsewhere));
    }
    if strikes(Kind::RedirectLoop).is_some() {
        return Some(with(reply(302, &Value::Null), LOCATION, path));
    }
    if strikes(Kind::Garbage).is_some() {
        return Some(typed(
            "application/json",
            "{\"power\": {\"mW\": <html>\u{0}",
        ));
    }
    if strikes(Kind::Html).is_some() {
        return Some(typed("text/html", "<form>Please log in</form>"));
    }
    if strikes(Kind::Huge).is_some() {
        return Some(typed("application/json", vec![b' '; HUGE_BYTES]));
    }
    if strikes(Kind::Bomb).is_some() {
        let answer = typed("application/json", BOMB.clone());
        return Some(with(answer, CONTENT_ENCODING, "gzip"));
    }
    None
}

static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..HUGE_BYTES >> 20 {
        // Writing to memory does not fail.
        let _ = gzip.write_all(&chunk);
    }
    gzip.finish().unwrap_or_default()
});

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn authorized(site: &Site, headers: &HeaderMap) -> bool {
    let given = header(headers, AUTHORIZATION.as_str()).unwrap_or_default();
    let secret = |key: &str| site.secrets.get(key).cloned().unwrap_or_default();
    match site.number % 5 {
        1 => given == basic(&secret("username"), &secret("password")),
        2 => given == format!("Bearer {}", secret("token")),
        3 => {
            let token = given.strip_prefix("Bearer ").unwrap_or_default();
            site.plant.lock().knows_token(token)
        }
        4 => header(headers, "x-api-key").unwrap_or_default() == secret("token"),
        // Credentials that nobody asked for are a leak.
        _ => given.is_empty(),
    }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{username}:{password}")))
}

fn token(site: &Site, headers: &HeaderMap, body: &[u8]) -> Answer {
    let given = header(headers, AUTHORIZATION.as_str()).unwrap_or_default();
    let secret = |key: &str| site.secrets.get(key).cloned().unwrap_or_default();
    let known = given == basic(&secret("clientId"), &secret("clientSecret"));
    let asked = String::from_utf8_lossy(body).contains("grant_type=client_credentials");
    if !known || !asked || site.faults.strikes(Kind::TokenDenied).is_some() {
        site.plant.lock().count_auth_failure();
        let what = format!("wrong secret {}", secret("clientSecret"));
        return reply(
            401,
            &json!({"error": "invalid_client", "error_description": what}),
        );
    }
    let (token, seconds) = site.plant.lock().token();
    reply(
        200,
        &json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds}),
    )
}

fn read(site: &Site, path: &str, query: &str) -> Answer {
    let mut plant = site.plant.lock();
    let now = now();
    let unit = |path: &str| path.strip_prefix("/api/v1/units/")?.parse::<usize>().ok();
    match path {
        "/api/v1/status" if site.faults.strikes(Kind::WrongData).is_some() => {
            reply(200, &plant.wrong())
        }
        "/api/v1/status" => reply(200, &plant.status(now)),
        "/api/v1/events" => {
            let page = query.strip_prefix("page=").and_then(|p| p.parse().ok());
            reply(200, &plant.events(page.unwrap_or(0)))
        }
        "/metrics" => typed(
            "text/plain; version=0.0.4; charset=utf-8",
            plant.metrics(now),
        ),
        _ => match unit(path).and_then(|number| plant.unit(number, now)) {
            Some(value) => with(reply(200, &value), ETAG, &plant.etag(now)),
            None => reply(404, &json!({"error": {"message": "no such thing"}})),
        },
    }
}

fn change(site: &Site, method: &Method, path: &str, body: &Value) -> Answer {
    let deaf = site.faults.strikes(Kind::Deaf).is_some();
    let mut plant = site.plant.lock();
    let unit = path
        .strip_prefix("/api/v1/units/")
        .and_then(|rest| rest.strip_suffix("/setpoint")?.parse::<usize>().ok());
    match (method.as_str(), path, unit) {
        ("PUT", _, Some(unit)) => match body["celsius"].as_f64() {
            Some(celsius) if plant.set(unit, celsius, now(), deaf) => reply(202, &Value::Null),
            _ => reply(400, &json!({"detail": "no such unit, or out of range"})),
        },
        ("POST", "/api/v1/restart", _) => {
            plant.restart(now(), deaf);
            reply(202, &json!({"accepted": true}))
        }
        ("POST", "/api/v1/alarms/ack", _) => {
            plant.acknowledge(deaf);
            reply(204, &Value::Null)
        }
        _ => reply(405, &json!({"detail": "not here"})),
    }
}

fn reply(status: u16, body: &Value) -> Answer {
    let mut answer = match body {
        Value::Null => Response::new(Full::default()),
        body => typed("application/json", body.to_string()),
    };
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    answer
}

fn typed(media: &str, body: impl Into<Bytes>) -> Answer {
    with(Response::new(Full::new(body.into())), CONTENT_TYPE, media)
}

fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
