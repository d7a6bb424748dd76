//! HTTP for guests: to the origin of the task's target and to nothing else, with the knowledge whether a request had left.
//!
//! It must never follow a redirect, never repeat a request that may have been sent unless it is a GET, and never let a
//! guest write the parts of a request that say where it ends or where it goes.

use crate::address::{self, Place};
use crate::budget::Meter;
use crate::guest::Host;
use crate::guest::http_types::{Code, Failure, Request, Response, Trouble};
use crate::limits;
use crate::tls::{self, Checker, Trust};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde_json::json;
use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

type Sender = SendRequest<Full<Bytes>>;
type HttpRequest = hyper::Request<Full<Bytes>>;

/// Where requests go and whom they trust: what connections may be shared by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
    trust: Trust,
}

/// All connections of an instance.
#[derive(Default)]
pub struct Wires {
    wires: Mutex<HashMap<Origin, Arc<Wire>>>,
    idle: Arc<AtomicUsize>,
}

impl Wires {
    fn get(&self, origin: Origin) -> Result<Arc<Wire>, String> {
        if let Some(wire) = self.wires.lock().get(&origin) {
            return Ok(wire.clone());
        }
        let wire = Arc::new(Wire::new(&origin, self.idle.clone())?);
        let mut wires = self.wires.lock();
        if wires.len() >= limits::ORIGINS_MAX {
            wires.retain(|_, wire| Arc::strong_count(wire) > 1);
        }
        wires.insert(origin, wire.clone());
        Ok(wire)
    }

    /// Closes connections that nobody used for a while.
    pub fn close_idle(&self) {
        if self.idle.load(Ordering::Relaxed) > 0 {
            let wires = self.wires.lock();
            wires.values().for_each(|wire| wire.close_idle());
        }
    }
}

/// The connections to one origin.
pub struct Wire {
    host: String,
    port: u16,
    /// Value of the Host header.
    authority: String,
    tls: Option<Tls>,
    unstated: bool,
    idle: Mutex<Vec<(Sender, Instant)>>,
    idle_everywhere: Arc<AtomicUsize>,
}

struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    checker: Arc<Checker>,
}

/// Does what `http.send` of the guest asks for.
pub async fn send(host: &mut Host, request: Request) -> Result<Response, Trouble> {
    let wire = match &host.wire {
        Some(wire) => wire.clone(),
        None => {
            let wire = wire_of(host).map_err(|e| not_sent(Code::Refused, e))?;
            host.wire = Some(wire.clone());
            wire
        }
    };
    let most = match request.response_bytes_max {
        0 => limits::RESPONSE_BYTES,
        most => most.min(limits::RESPONSE_BYTES_MAX),
    };
    let until = host.until(request.timeout_ms, limits::REQUEST_MAX);
    let call = Call::read(request, &wire.authority).map_err(|e| not_sent(Code::Refused, e))?;
    let exchange = Exchange {
        wire: &wire,
        call: &call,
        bytes_max: most as usize,
        until,
    };
    exchange.run(&mut host.meter, &mut host.sent).await
}

fn wire_of(host: &Host) -> Result<Arc<Wire>, String> {
    let target = &host.target;
    let Place {
        scheme,
        host: name,
        port,
    } = address::parse(&target.address)?;
    let https = match scheme.as_deref() {
        None | Some("https") => true,
        Some("http") => false,
        Some(other) => return Err(format!("the target's address is {other}://, not https://")),
    };
    let pin = target.identity.iter().find(|(key, _)| key == "certSha256");
    let trust = Trust::read(https, &target.config, pin.map(|(_, pin)| pin.as_str()))?;
    let origin = Origin {
        https,
        host: name,
        port: port.unwrap_or(if https { 443 } else { 80 }),
        trust,
    };
    host.wires.get(origin)
}

/// A request that can be sent.
struct Call {
    what: String,
    get: bool,
    request: HttpRequest,
}

impl Call {
    fn read(request: Request, authority: &str) -> Result<Call, String> {
        let method = Method::from_bytes(request.method.as_bytes())
            .ok()
            .filter(|method| *method != Method::CONNECT)
            .ok_or_else(|| format!("{:?} is no method", request.method))?;
        let path = &request.path;
        let uri: Uri = path
            .parse()
            .ok()
            .filter(|uri: &Uri| path.starts_with('/') && uri.authority().is_none())
            .ok_or_else(|| format!("{path:?} is no path with query"))?;
        if request.body.len() > limits::REQUEST_BYTES_MAX {
            let most = limits::REQUEST_BYTES_MAX;
            return Err(format!("the body has more than {most} bytes"));
        }
        let bytes: usize = request.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
        if request.headers.len() > limits::HEADERS_MAX || bytes > limits::HEADER_BYTES_MAX {
            return Err("too many headers".to_owned());
        }
        let what = format!("{method} {}", uri.path());
        let get = method == Method::GET;
        let mut built = hyper::Request::new(Full::new(Bytes::from(request.body)));
        *built.method_mut() = method;
        *built.uri_mut() = uri;
        let headers = built.headers_mut();
        let host = HeaderValue::from_str(authority).map_err(|e| e.to_string())?;
        headers.insert(header::HOST, host);
        for (name, value) in request.headers {
            let wrong = || format!("header {name:?} cannot be sent");
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            if is_the_hosts(&key) {
                return Err(format!("header {name:?} is written by the host"));
            }
            let value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
            headers.append(key, value);
        }
        Ok(Call {
            what,
            get,
            request: built,
        })
    }
}

/// Headers that say where the request goes, where it ends, or what becomes of the connection.
fn is_the_hosts(name: &HeaderName) -> bool {
    let own = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::EXPECT,
    ];
    own.contains(name) || name.as_str() == "keep-alive" || name.as_str().starts_with("proxy-")
}

struct Exchange<'a> {
    wire: &'a Wire,
    call: &'a Call,
    bytes_max: usize,
    until: Instant,
}

/// Why there is no answer on one connection.
enum Lost {
    NotSent(String),
    Trouble(Trouble),
}

impl Exchange<'_> {
    async fn run(&self, meter: &mut Meter, sent: &mut bool) -> Result<Response, Trouble> {
        if self.until <= Instant::now() {
            let text = self.what("the task's time is over");
            return Err(not_sent(Code::Timeout, text));
        }
        // A kept connection may have been closed by the target meanwhile. What surely did not leave is sent again on a
        // fresh one, and so is a GET that was cut off.
        while let Some(sender) = self.wire.take_idle() {
            match self.on(sender, meter, sent).await {
                Err(Lost::NotSent(_)) => {}
                Err(Lost::Trouble(Trouble::Cut(_))) if self.call.get => {}
                Err(Lost::Trouble(trouble)) => return Err(trouble),
                Ok(response) => return Ok(response),
            }
        }
        let sender = self.wire.connect(self.until).await?;
        match self.on(sender, meter, sent).await {
            Ok(response) => Ok(response),
            Err(Lost::Trouble(trouble)) => Err(trouble),
            Err(Lost::NotSent(why)) => Err(not_sent(Code::Unreachable, self.what(&why))),
        }
    }

    fn what(&self, end: &str) -> String {
        format!("{}: {end}", self.call.what)
    }

    async fn on(
        &self,
        mut sender: Sender,
        meter: &mut Meter,
        sent: &mut bool,
    ) -> Result<Response, Lost> {
        // A kept connection takes the next request only once it has asked for one; closed ones say so here.
        match timeout_at(self.until, sender.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(Lost::NotSent(chain(&e))),
            Err(_) => return Err(Lost::NotSent("the connection is stuck".to_owned())),
        }
        // From here on it may have left, also when this future is dropped.
        let before = std::mem::replace(sent, true);
        let answer = sender.try_send_request(self.call.request.clone());
        let answer = match timeout_at(self.until, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(mut e)) => {
                let left = e.take_message().is_none();
                *sent = before || left;
                let e = e.into_error();
                return Err(match left {
                    false => Lost::NotSent(chain(&e)),
                    true => Lost::Trouble(self.after_sending(&e)),
                });
            }
            Err(_) => {
                return Err(Lost::Trouble(Trouble::Silent(
                    self.what("no answer in time"),
                )));
            }
        };
        let (head, body) = answer.into_parts();
        let body = self.body(body, meter).await.map_err(Lost::Trouble)?;
        self.wire.keep(sender);
        let headers = head.headers.iter();
        Ok(Response {
            status: head.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body,
        })
    }

    async fn body(&self, mut body: Incoming, meter: &mut Meter) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let read = async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    let text = self.what("the connection ended in the middle of the answer");
                    return Err(Trouble::Cut(text));
                };
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if bytes.len() + data.len() > self.bytes_max {
                    let text = self.what(&format!("answer over {} bytes", self.bytes_max));
                    return Err(Trouble::Garbled(text));
                }
                if !meter.take(data.len()) {
                    let text = self.what("the answer is over the worker's memory");
                    return Err(Trouble::Garbled(text));
                }
                bytes.extend_from_slice(&data);
            }
            Ok(())
        };
        let read = match timeout_at(self.until, read).await {
            Ok(read) => read,
            Err(_) => Err(Trouble::Silent(
                self.what("the answer stopped in the middle"),
            )),
        };
        // From here on it is the guest's copy that counts.
        meter.give_back(bytes.len());
        read.map(|()| bytes)
    }

    fn after_sending(&self, error: &hyper::Error) -> Trouble {
        if error.is_parse() {
            return Trouble::Garbled(
                self.what(&format!("the answer is no HTTP: {}", chain(error))),
            );
        }
        let text = format!("the connection ended before the answer: {}", chain(error));
        Trouble::Cut(self.what(&text))
    }
}

impl Wire {
    fn new(origin: &Origin, idle_everywhere: Arc<AtomicUsize>) -> Result<Wire, String> {
        let tls = match tls::client(&origin.trust)? {
            None => None,
            Some((config, checker)) => Some(Tls {
                connector: TlsConnector::from(config),
                name: ServerName::try_from(origin.host.clone())
                    .map_err(|e| format!("the target's address: {e}"))?,
                checker,
            }),
        };
        let host = match origin.host.contains(':') {
            true => format!("[{}]", origin.host),
            false => origin.host.clone(),
        };
        let default = origin.port == if origin.https { 443 } else { 80 };
        Ok(Wire {
            host: origin.host.clone(),
            port: origin.port,
            authority: match default {
                true => host,
                false => format!("{host}:{}", origin.port),
            },
            tls,
            unstated: origin.trust == Trust::Unstated,
            idle: Mutex::new(Vec::new()),
            idle_everywhere,
        })
    }

    async fn connect(&self, until: Instant) -> Result<Sender, Trouble> {
        let until = until.min(Instant::now() + limits::CONNECT_MAX);
        let at = &self.authority;
        let unreachable = |why: String| not_sent(Code::Unreachable, format!("{at}: {why}"));
        let address = (self.host.as_str(), self.port);
        let stream = match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(unreachable(e.to_string())),
            Err(_) => return Err(unreachable("no connection in time".to_owned())),
        };
        // Requests are one small write each; waiting for more to send only adds latency.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return handshake(stream).await.map_err(unreachable);
        };
        let secured = tls.connector.connect(tls.name.clone(), stream);
        match timeout_at(until, secured).await {
            Ok(Ok(stream)) => handshake(stream).await.map_err(unreachable),
            Ok(Err(e)) => Err(self.tls_refused(tls, &e)),
            Err(_) => Err(unreachable("no TLS handshake in time".to_owned())),
        }
    }

    fn tls_refused(&self, tls: &Tls, error: &std::io::Error) -> Trouble {
        let at = &self.authority;
        let inner = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(seen) = tls.checker.take_refused() {
            let seen = tls::hex(&seen);
            let (code, message) = match (self.unstated, inner) {
                (true, _) => (
                    Code::Refused,
                    format!(
                        "{at}: nothing says which certificate is right. Seen now: {seen}. Compare it with the \
                         device's own display, then set identity.certSha256 to it; or set config.tls.ca"
                    ),
                ),
                (false, Some(e)) => (
                    Code::IdentityMismatch,
                    format!("{at}: certificate {seen} is not the one we know: {e}"),
                ),
                (false, None) => (
                    Code::IdentityMismatch,
                    format!("{at}: certificate {seen} is not the one we know"),
                ),
            };
            return Trouble::NotSent(Failure {
                code,
                message,
                detail: Some(json!({"seen": seen}).to_string()),
            });
        }
        match inner {
            // These do not pass by waiting.
            Some(e) => not_sent(Code::Refused, format!("{at}: TLS: {e}")),
            None => not_sent(Code::Unreachable, format!("{at}: TLS: {error}")),
        }
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock();
        while let Some((sender, since)) = idle.pop() {
            self.idle_everywhere.fetch_sub(1, Ordering::Relaxed);
            if !sender.is_closed() && since.elapsed() < limits::CONNECTION_IDLE {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock();
        if sender.is_closed() || idle.len() >= limits::CONNECTIONS_IDLE_PER_TARGET_MAX {
            return;
        }
        if self.idle_everywhere.fetch_add(1, Ordering::Relaxed) >= limits::CONNECTIONS_IDLE_MAX {
            self.idle_everywhere.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        idle.push((sender, Instant::now()));
    }

    fn close_idle(&self) {
        let mut idle = self.idle.lock();
        let before = idle.len();
        idle.retain(|(sender, since)| {
            !sender.is_closed() && since.elapsed() < limits::CONNECTION_IDLE
        });
        let closed = before - idle.len();
        self.idle_everywhere.fetch_sub(closed, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let left = self.idle.get_mut().len();
        self.idle_everywhere.fetch_sub(left, Ordering::Relaxed);
    }
}

fn not_sent(code: Code, message: String) -> Trouble {
    Trouble::NotSent(Failure {
        code,
        message,
        detail: None,
    })
}

/// hyper's errors keep the interesting part in their source.
fn chain(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

async fn handshake<S>(stream: S) -> Result<Sender, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| chain(&e))?;
    // Ends by itself when the sender is dropped or the target closes; its errors reach the sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
