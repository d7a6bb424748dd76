//! HTTP to one BMC: few connections, kept warm, and for every request the knowledge whether it had left.
//!
//! It must never repeat a request that may have been sent, unless it is a GET, and never go to another origin.

use crate::config::Origin;
use crate::tls::{self, Checker, Trust};
use crate::{limits, reply::Reply};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use sengu_sdk::{Failure, FailureCode};
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// Nothing was sent, or the answer says that nothing happened.
    Failed(Failure),
    /// Sent, and no answer by the deadline.
    Silent(String),
    /// Sent, and the connection ended before the answer did.
    Cut(String),
    /// Sent, and the answer is no HTTP.
    Garbled(String),
}

impl Trouble {
    pub fn failed(code: FailureCode, message: impl Into<String>) -> Trouble {
        Trouble::Failed(Failure::new(code, message))
    }

    /// What it means when nothing but a read was lost.
    pub fn of_read(self) -> Failure {
        match self {
            Trouble::Failed(failure) => failure,
            Trouble::Silent(what) => Failure::new(FailureCode::Timeout, what),
            Trouble::Cut(what) => Failure::new(FailureCode::Unreachable, what),
            Trouble::Garbled(what) => Failure::new(FailureCode::BadReply, what),
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Trouble::Failed(failure) => &failure.message,
            Trouble::Silent(what) | Trouble::Cut(what) | Trouble::Garbled(what) => what,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Failed(failure)
    }
}

/// One request. The path is absolute and on this origin.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Option<Bytes>,
}

impl Call {
    pub fn new(method: Method, path: &str) -> Call {
        Call {
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// The connections to one BMC.
pub struct Wire {
    origin: Origin,
    tls: Option<Tls>,
    unstated: bool,
    idle: parking_lot::Mutex<Vec<(Sender, Instant)>>,
    idle_everywhere: Arc<AtomicUsize>,
    /// A place for each request under way.
    places: Semaphore,
    /// And one for each connection until the BMC has closed it too. Whoever has a place and finds no idle connection waits
    /// for one that is closing at most, since the others in use are fewer than the places.
    open: Arc<Semaphore>,
}

struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    checker: Arc<Checker>,
}

impl Wire {
    /// `connections_max` is what the BMC bears at once, whoever asks; `idle_everywhere` counts over all BMCs.
    ///
    /// # Errors
    /// `refused` when the host is no name.
    pub fn new(
        origin: Origin,
        trust: Trust,
        connections_max: usize,
        idle_everywhere: Arc<AtomicUsize>,
    ) -> Result<Wire, Failure> {
        let refused = |e: String| Failure::new(FailureCode::Refused, e);
        let unstated = matches!(trust, Trust::Unstated);
        let tls = match trust {
            Trust::Plain => None,
            trust => {
                let (config, checker) = tls::client(trust).map_err(|e| refused(e.to_string()))?;
                Some(Tls {
                    connector: TlsConnector::from(config),
                    name: ServerName::try_from(origin.host.clone())
                        .map_err(|e| refused(format!("address: {e}")))?,
                    checker,
                })
            }
        };
        Ok(Wire {
            origin,
            tls,
            unstated,
            idle: parking_lot::Mutex::new(Vec::new()),
            idle_everywhere,
            places: Semaphore::new(connections_max.max(1)),
            open: Arc::new(Semaphore::new(connections_max.max(1))),
        })
    }

    pub fn authority(&self) -> &str {
        &self.origin.authority
    }

    /// Sends one request and reads its answer, by `deadline`.
    ///
    /// # Errors
    /// By whether it was sent; see `Trouble`.
    pub async fn send(&self, call: &Call, deadline: Instant) -> Result<Reply, Trouble> {
        let deadline = deadline.min(Instant::now() + limits::REQUEST_MAX);
        let what = || format!("{} {}", call.method, call.path);
        let _place = match timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) | Err(_) => {
                let message = format!("{}: all connections to this BMC stayed in use", what());
                return Err(Trouble::failed(FailureCode::Timeout, message));
            }
        };
        // A kept connection may have been closed by the BMC meanwhile. What surely did not leave is sent again on a
        // fresh one, and so is a GET that was cut off.
        while let Some(sender) = self.take_idle() {
            match self.exchange(sender, call, deadline).await {
                Err(Exchange::NotSent(_)) => {}
                Err(Exchange::Trouble(Trouble::Cut(_))) if call.method == Method::GET => {}
                Err(Exchange::Trouble(trouble)) => return Err(trouble),
                Ok(reply) => return Ok(reply),
            }
        }
        let sender = self.connect(deadline).await?;
        match self.exchange(sender, call, deadline).await {
            Ok(reply) => Ok(reply),
            Err(Exchange::Trouble(trouble)) => Err(trouble),
            Err(Exchange::NotSent(why)) => Err(Trouble::failed(
                FailureCode::Unreachable,
                format!("{}: {why}", what()),
            )),
        }
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        call: &Call,
        deadline: Instant,
    ) -> Result<Reply, Exchange> {
        let what = |end: &str| format!("{} {}: {end}", call.method, call.path);
        let request = self.request(call).map_err(Exchange::Trouble)?;
        // A kept connection takes the next request only once it has asked for one; closed ones say so here.
        match timeout_at(deadline, sender.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(Exchange::NotSent(chain(&e))),
            Err(_) => return Err(Exchange::NotSent("the connection is stuck".to_owned())),
        }
        let sent = match timeout_at(deadline, sender.try_send_request(request)).await {
            Ok(sent) => sent,
            Err(_) => {
                return Err(Exchange::Trouble(Trouble::Silent(what(
                    "no answer in time",
                ))));
            }
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
        let body = Limited::new(body, limits::RESPONSE_BYTES_MAX).collect();
        let body = match timeout_at(deadline, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
                let text = what(&format!("answer over {} bytes", limits::RESPONSE_BYTES_MAX));
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
        Ok(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(call.path.as_str())
            .header(HOST, self.origin.authority.as_str())
            .header(ACCEPT, "application/json")
            .header("OData-Version", "4.0");
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let body = Full::new(call.body.clone().unwrap_or_default());
        request.body(body).map_err(|_| {
            let message = format!("{:?} is no path", call.path);
            Trouble::failed(FailureCode::BadReply, message)
        })
    }

    async fn connect(&self, deadline: Instant) -> Result<Sender, Trouble> {
        let at = &self.origin.authority;
        let unreachable =
            |why: String| Trouble::failed(FailureCode::Unreachable, format!("{at}: {why}"));
        let Ok(Ok(place)) = timeout_at(deadline, self.open.clone().acquire_owned()).await else {
            return Err(unreachable("earlier connections stayed open".to_owned()));
        };
        let deadline = deadline.min(Instant::now() + limits::CONNECT_MAX);
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
            Ok(Ok(stream)) => handshake(stream, place).await.map_err(unreachable),
            Ok(Err(e)) => Err(self.tls_refused(tls, &e)),
            Err(_) => Err(unreachable("no TLS handshake in time".to_owned())),
        }
    }

    fn tls_refused(&self, tls: &Tls, error: &std::io::Error) -> Trouble {
        let at = &self.origin.authority;
        let inner = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(seen) = tls.checker.take_refused() {
            let seen = tls::hex(&seen);
            return if self.unstated {
                Trouble::failed(
                    FailureCode::Refused,
                    format!(
                        "{at}: nothing says which certificate is right. Seen now: {seen}. Compare it with the BMC's \
                         own display, then set identity.certSha256 to it; or set config.tls.ca"
                    ),
                )
            } else {
                let detail = serde_json::json!({"seen": seen});
                let message = match inner {
                    Some(e) => format!("{at}: certificate {seen} is not the one we know: {e}"),
                    None => format!("{at}: certificate {seen} is not the one we know"),
                };
                let failure = Failure::new(FailureCode::IdentityMismatch, message);
                Trouble::Failed(failure.with_detail(detail))
            };
        }
        match inner {
            // These do not pass by waiting.
            Some(
                e @ (rustls::Error::PeerIncompatible(_)
                | rustls::Error::AlertReceived(_)
                | rustls::Error::InvalidCertificate(_)
                | rustls::Error::PeerMisbehaved(_)),
            ) => Trouble::failed(FailureCode::Refused, format!("{at}: TLS: {e}")),
            Some(e) => Trouble::failed(FailureCode::BadReply, format!("{at}: TLS: {e}")),
            None => Trouble::failed(FailureCode::Unreachable, format!("{at}: TLS: {error}")),
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
    pub fn close_idle(&self) {
        let mut idle = self.idle.lock();
        let before = idle.len();
        idle.retain(|(sender, since)| {
            !sender.is_closed() && since.elapsed() < limits::CONNECTION_IDLE
        });
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

enum Exchange {
    NotSent(String),
    Trouble(Trouble),
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
    // Ends by itself when the sender is dropped or the BMC closes; its errors reach the sender.
    tokio::spawn(async move {
        if let Ok(parts) = connection.without_shutdown().await {
            let _ = tokio::time::timeout(limits::CLOSE_MAX, close(parts.io.into_inner())).await;
        }
        drop(place);
    });
    Ok(sender)
}

/// Says that we are done and waits until the BMC is: a new connection that overtakes the end of the old one is one
/// more than it allows.
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
    use std::time::Duration;
    use tokio::net::TcpListener;

    /// Answers with what is no HTTP, and closes each connection 200 ms after its client did. Counts those that it has open.
    async fn slow_to_close(listener: TcpListener, open: Arc<AtomicI32>, most: Arc<AtomicI32>) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (open, most) = (open.clone(), most.clone());
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4 << 10];
                while matches!(stream.read(&mut request).await, Ok(1..)) {
                    let _ = stream.write_all(b"who is there?\r\n\r\n").await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    #[tokio::test]
    async fn a_new_connection_waits_for_the_end_of_one_that_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let most = Arc::new(AtomicI32::new(0));
        tokio::spawn(slow_to_close(listener, Arc::default(), most.clone()));
        let origin = Origin {
            host: address.ip().to_string(),
            port: address.port(),
            authority: address.to_string(),
        };
        let wire = Wire::new(origin, Trust::Plain, 1, Arc::default()).unwrap();
        for _ in 0..3 {
            let call = Call::new(Method::GET, "/redfish/v1");
            let answer = wire.send(&call, Instant::now() + limits::REQUEST_MAX).await;
            assert!(matches!(answer, Err(Trouble::Garbled(_))));
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
