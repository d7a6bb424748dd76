//! HTTP/1.1 to many origins: few connections each, kept warm, and for every request the knowledge whether it had left.
//!
//! It must never repeat a request that may have been sent unless that changes nothing, and never send anything before the
//! other end has proven who it is.

use super::tls::{self, Checker};
use crate::address::Origin;
use crate::config::Trust;
use crate::driver::Request;
use crate::limits;
use crate::outcome::{Failure, FailureCode};
use crate::reply::{Response, Trouble};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

const CONNECTION_IDLE: Duration = Duration::from_millis(limits::CONNECTION_IDLE_MS);
const ORIGIN_IDLE: Duration = Duration::from_millis(limits::ORIGIN_IDLE_MS);
const CLOSE_MAX: Duration = Duration::from_millis(limits::CLOSE_MAX_MS);

/// All origins that this instance has met lately.
pub struct Fleet {
    wires: Mutex<HashMap<(Origin, Trust), Arc<Wire>>>,
    idle_connections: Arc<AtomicUsize>,
    connections_per_origin: usize,
    reaping: Once,
}

type Sender = SendRequest<Full<Bytes>>;

/// The connections to one origin.
struct Wire {
    origin: Origin,
    tls: Option<Tls>,
    unstated: bool,
    idle: Mutex<Vec<(Sender, Instant)>>,
    idle_everywhere: Arc<AtomicUsize>,
    /// A place for each request under way.
    places: Semaphore,
    /// And one for each connection until the server has closed it too. Whoever has a place and finds no idle connection
    /// waits for one that is closing at most, since the others in use are fewer than the places.
    open: Arc<Semaphore>,
    used_at: Mutex<Instant>,
}

struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    checker: Arc<Checker>,
}

impl Fleet {
    /// `connections_per_origin`: the kind's session limit.
    pub fn new(connections_per_origin: usize) -> Arc<Fleet> {
        Arc::new(Fleet {
            wires: Mutex::default(),
            idle_connections: Arc::default(),
            connections_per_origin,
            reaping: Once::new(),
        })
    }

    /// Makes one request, on whatever connection is best.
    pub async fn fetch(self: &Arc<Self>, request: Request) -> Result<Response, Trouble> {
        let (origin, path) = Origin::split(&request.url).map_err(Failure::refused)?;
        if request.trust == Trust::Plain && origin.https
            || request.trust != Trust::Plain && !origin.https
        {
            return Err(Failure::refused("what is said about TLS does not fit the address").into());
        }
        let wire = self.wire(origin, &request.trust)?;
        let reply = wire.send(&request, &path).await;
        *wire.used_at.lock() = Instant::now();
        reply
    }

    /// Closes what is idle. Called when no task is in hand any more.
    pub fn close(&self) {
        self.wires.lock().clear();
    }

    fn wire(self: &Arc<Self>, origin: Origin, trust: &Trust) -> Result<Arc<Wire>, Failure> {
        self.reaping.call_once(|| {
            tokio::spawn(reap(Arc::downgrade(self)));
        });
        let mut wires = self.wires.lock();
        let key = (origin, trust.clone());
        if let Some(wire) = wires.get(&key) {
            return Ok(wire.clone());
        }
        if wires.len() >= limits::ORIGINS_MAX {
            wires.retain(|_, wire| Arc::strong_count(wire) > 1);
        }
        let wire = Wire::new(
            key.0.clone(),
            trust,
            self.connections_per_origin,
            self.idle_connections.clone(),
        )?;
        let wire = Arc::new(wire);
        wires.insert(key, wire.clone());
        Ok(wire)
    }

    fn tidy(&self) {
        self.wires.lock().retain(|_, wire| {
            wire.close_idle();
            Arc::strong_count(wire) > 1 || wire.used_at.lock().elapsed() < ORIGIN_IDLE
        });
    }
}

async fn reap(fleet: Weak<Fleet>) {
    let mut every = tokio::time::interval(Duration::from_millis(limits::REAP_EVERY_MS));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match fleet.upgrade() {
            Some(fleet) => fleet.tidy(),
            None => return,
        }
    }
}

enum Exchange {
    NotSent(String),
    Trouble(Trouble),
}

impl Wire {
    fn new(
        origin: Origin,
        trust: &Trust,
        connections_max: usize,
        idle_everywhere: Arc<AtomicUsize>,
    ) -> Result<Wire, Failure> {
        let tls = match trust {
            Trust::Plain => None,
            trust => {
                let (config, checker) = tls::client(trust).map_err(Failure::refused)?;
                let name = ServerName::try_from(origin.host.clone());
                Some(Tls {
                    connector: TlsConnector::from(config),
                    name: name.map_err(|e| Failure::refused(format!("address: {e}")))?,
                    checker,
                })
            }
        };
        Ok(Wire {
            origin,
            tls,
            unstated: *trust == Trust::Unstated,
            idle: Mutex::default(),
            idle_everywhere,
            places: Semaphore::new(connections_max.max(1)),
            open: Arc::new(Semaphore::new(connections_max.max(1))),
            used_at: Mutex::new(Instant::now()),
        })
    }

    async fn send(&self, request: &Request, path: &str) -> Result<Response, Trouble> {
        let deadline = Instant::now() + Duration::from_millis(request.timeout_ms);
        let what = || format!("{} {path}", request.method);
        let _place = match timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) | Err(_) => {
                let message = format!("{}: all connections to this server stayed in use", what());
                return Err(Failure::new(FailureCode::Timeout, message).into());
            }
        };
        if request.repeatable {
            // A kept connection may have been closed by the server meanwhile. Nothing is lost by that: a read that was
            // cut off is sent again on another one.
            while let Some(sender) = self.take_idle() {
                match self.exchange(sender, request, path, deadline).await {
                    Err(Exchange::NotSent(_) | Exchange::Trouble(Trouble::Cut(_))) => {}
                    Err(Exchange::Trouble(trouble)) => return Err(trouble),
                    Ok(response) => return Ok(response),
                }
            }
        } else {
            // A change that meets a closing connection is one that nobody knows about. It gets a new one, in the place
            // of a kept one, since servers count them.
            drop(self.take_idle());
        }
        let sender = self.connect(deadline).await?;
        match self.exchange(sender, request, path, deadline).await {
            Ok(response) => Ok(response),
            Err(Exchange::Trouble(trouble)) => Err(trouble),
            Err(Exchange::NotSent(why)) => Err(Trouble::unreachable(format!("{}: {why}", what()))),
        }
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        asked: &Request,
        path: &str,
        deadline: Instant,
    ) -> Result<Response, Exchange> {
        let what = |end: &str| format!("{} {path}: {end}", asked.method);
        let request = self.request(asked, path).map_err(Exchange::Trouble)?;
        // A kept connection takes the next request only once it has asked for one; closed ones say so here.
        match timeout_at(deadline, sender.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(Exchange::NotSent(chain(&e))),
            Err(_) => return Err(Exchange::NotSent("the connection is stuck".to_owned())),
        }
        let Ok(sent) = timeout_at(deadline, sender.try_send_request(request)).await else {
            let text = what("no answer in time");
            return Err(Exchange::Trouble(Trouble::Silent(text)));
        };
        let response = match sent {
            Ok(response) => response,
            Err(mut e) => {
                let not_sent = e.take_message().is_some();
                let e = e.into_error();
                return Err(match not_sent {
                    true => Exchange::NotSent(chain(&e)),
                    false => Exchange::Trouble(after_sending(&what, &e)),
                });
            }
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, asked.body_bytes_max).collect();
        let body = match timeout_at(deadline, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
                let text = what(&format!(
                    "the answer is over {} bytes",
                    asked.body_bytes_max
                ));
                return Err(Exchange::Trouble(Trouble::Garbled(text)));
            }
            Ok(Err(_)) => {
                let text = what("the connection ended in the middle of the answer");
                return Err(Exchange::Trouble(Trouble::Cut(text)));
            }
            Err(_) => {
                let text = what("the answer stopped in the middle");
                return Err(Exchange::Trouble(Trouble::Silent(text)));
            }
        };
        self.keep(sender);
        let headers = head.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        Ok(Response {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body: body.to_vec(),
        })
    }

    fn request(&self, asked: &Request, path: &str) -> Result<hyper::Request<Full<Bytes>>, Trouble> {
        let mut request = hyper::Request::builder()
            .method(asked.method.as_str())
            .uri(path)
            .header(HOST, self.origin.authority());
        let named = asked.headers.iter();
        if !named
            .clone()
            .any(|(name, _)| name.eq_ignore_ascii_case(USER_AGENT.as_str()))
        {
            request = request.header(USER_AGENT, "sengu");
        }
        for (name, value) in named {
            let name: Result<HeaderName, _> = name.parse();
            let value: Result<HeaderValue, _> = value.parse();
            let (Ok(name), Ok(mut value)) = (name, value) else {
                return Err(Failure::refused("a header cannot be sent as it is").into());
            };
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(asked.body.clone().unwrap_or_default()));
        request
            .body(body)
            .map_err(|_| Failure::refused(format!("{path:?} cannot be sent as a path")).into())
    }

    async fn connect(&self, deadline: Instant) -> Result<Sender, Trouble> {
        let at = self.origin.authority();
        let unreachable = |why: String| Trouble::unreachable(format!("{at}: {why}"));
        let Ok(Ok(place)) = timeout_at(deadline, self.open.clone().acquire_owned()).await else {
            return Err(unreachable("earlier connections stayed open".to_owned()));
        };
        let deadline = deadline.min(Instant::now() + Duration::from_millis(limits::CONNECT_MAX_MS));
        let address = (self.origin.host.as_str(), self.origin.port);
        let stream = match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(unreachable(e.to_string())),
            Err(_) => return Err(unreachable("no connection in time".to_owned())),
        };
        // Requests are one small write each; waiting for more to send only adds latency.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return handshake(stream, place).await.map_err(unreachable);
        };
        let secured = tls.connector.connect(tls.name.clone(), stream);
        match timeout_at(deadline, secured).await {
            // The checker lets nobody through; whoever got here resumed nothing that was ever checked.
            Ok(Ok(_)) if self.unstated => {
                Err(unreachable("the certificate was not checked".to_owned()))
            }
            Ok(Ok(stream)) => handshake(stream, place).await.map_err(unreachable),
            Ok(Err(e)) => Err(self.tls_refused(tls, &e)),
            Err(_) => Err(unreachable("no TLS handshake in time".to_owned())),
        }
    }

    fn tls_refused(&self, tls: &Tls, error: &std::io::Error) -> Trouble {
        let at = self.origin.authority();
        let inner = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(seen) = tls.checker.take_refused() {
            let seen = tls::hex(&seen);
            if self.unstated {
                let message = format!(
                    "{at}: nothing says which certificate is right. Seen now: {seen}. Compare it with another source, \
                     then set identity.certSha256 to it; or set config.tls.ca or config.tls.system"
                );
                return Failure::refused(message).into();
            }
            let message = match inner {
                Some(e) => format!("{at}: certificate {seen} is not the one we know: {e}"),
                None => format!("{at}: certificate {seen} is not the one we know"),
            };
            let mut failure = Failure::new(FailureCode::IdentityMismatch, message);
            failure.detail = Some(serde_json::json!({"seen": seen}));
            return failure.into();
        }
        let code = match inner {
            // These do not pass by waiting.
            Some(
                rustls::Error::PeerIncompatible(_)
                | rustls::Error::AlertReceived(_)
                | rustls::Error::InvalidCertificate(_)
                | rustls::Error::PeerMisbehaved(_),
            ) => FailureCode::Refused,
            Some(_) => FailureCode::BadReply,
            None => FailureCode::Unreachable,
        };
        Failure::new(code, format!("{at}: TLS: {error}")).into()
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock();
        while let Some((sender, since)) = idle.pop() {
            self.idle_everywhere.fetch_sub(1, Ordering::Relaxed);
            if !sender.is_closed() && since.elapsed() < CONNECTION_IDLE {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        if self.idle_everywhere.fetch_add(1, Ordering::Relaxed) >= limits::CONNECTIONS_IDLE_MAX {
            self.idle_everywhere.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.idle.lock().push((sender, Instant::now()));
    }

    /// Closes connections that nobody used for a while.
    fn close_idle(&self) {
        let mut idle = self.idle.lock();
        let before = idle.len();
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < CONNECTION_IDLE);
        let closed = before - idle.len();
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
        self.idle_everywhere.fetch_sub(closed, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let left = self.idle.get_mut().len();
        self.idle_everywhere.fetch_sub(left, Ordering::Relaxed);
    }
}

fn after_sending(what: &impl Fn(&str) -> String, error: &hyper::Error) -> Trouble {
    if error.is_parse() || error.is_parse_too_large() {
        return Trouble::Garbled(what(&format!("the answer is no HTTP: {}", chain(error))));
    }
    Trouble::Cut(what(&format!(
        "the connection ended before the answer: {}",
        chain(error)
    )))
}

/// hyper's errors keep the interesting part in their source.
fn chain(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

async fn handshake<S>(stream: S, place: OwnedSemaphorePermit) -> Result<Sender, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| chain(&e))?;
    // Ends by itself when the sender is dropped or the server closes; its errors reach the sender.
    tokio::spawn(async move {
        if let Ok(parts) = connection.without_shutdown().await {
            let _ = tokio::time::timeout(CLOSE_MAX, close(parts.io.into_inner())).await;
        }
        drop(place);
    });
    Ok(sender)
}

/// Says that we are done and waits until the server is: a new connection that overtakes the end of the old one is one
/// more than the server allows.
async fn close<S>(mut stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = [0; 4 << 10];
    while matches!(stream.read(&mut rest).await, Ok(1..)) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicI32;
    use tokio::net::TcpListener;

    /// Answers every request, and closes each connection 200 ms after its client did. Counts those that it has open.
    async fn slow_to_close(listener: TcpListener, open: Arc<AtomicI32>, most: Arc<AtomicI32>) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (open, most) = (open.clone(), most.clone());
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4 << 10];
                while matches!(stream.read(&mut request).await, Ok(1..)) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    #[tokio::test]
    async fn a_new_connection_waits_for_the_end_of_the_one_that_it_replaces() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let most = Arc::new(AtomicI32::new(0));
        tokio::spawn(slow_to_close(listener, Arc::default(), most.clone()));
        let fleet = Fleet::new(1);
        for method in ["GET", "PUT", "GET", "PUT"] {
            let request = Request {
                method: method.to_owned(),
                url: url.clone(),
                headers: Vec::new(),
                body: None,
                timeout_ms: 20_000,
                body_bytes_max: 1 << 10,
                trust: Trust::Plain,
                repeatable: method == "GET",
            };
            let response = fleet
                .fetch(request)
                .await
                .unwrap_or_else(|_| panic!("{method}"));
            assert_eq!(response.status, 200);
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
