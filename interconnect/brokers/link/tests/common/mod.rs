#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part, and a broken set-up ends the test
//! A served broker and ends that join it, on loopback. Every wait has a limit.

use bytes::Bytes;
use sengu_broker_link::{JoinToken, LinkBroker, LinkUrl, Listener, Pace, serve_at};
use sengu_interconnect::{Broker, MemoryBroker, Message, Queue};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const LIMIT: Duration = Duration::from_secs(40);
pub const TOKEN: &str = "a-token-that-is-long-enough";

/// Quick, and yet far from what a busy machine delays.
pub const QUICK: Pace = Pace {
    alive_every: Duration::from_millis(500),
    silence_max: Duration::from_secs(3),
    retained_grace: Duration::from_secs(2),
    away_wait: Duration::from_secs(3),
};

pub fn token() -> JoinToken {
    TOKEN.parse().unwrap()
}

pub struct Served {
    pub broker: Arc<MemoryBroker>,
    pub url: LinkUrl,
    pub path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
    _folder: Option<tempfile::TempDir>,
}

impl Served {
    pub async fn unix() -> Served {
        Served::unix_at(Arc::new(MemoryBroker::new()), QUICK).await
    }

    pub async fn unix_at(broker: Arc<MemoryBroker>, pace: Pace) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link.sock");
        let listener = Listener::Unix(UnixListener::bind(&path).unwrap());
        let url = format!("unix://{}", path.display()).parse().unwrap();
        let mut served = Served::start(broker, listener, url, None, pace);
        served.path = path;
        served._folder = Some(folder);
        served
    }

    pub async fn tcp() -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let (broker, listener) = (Arc::new(MemoryBroker::new()), Listener::Tcp(listener));
        Served::start(broker, listener, url.parse().unwrap(), None, QUICK)
    }

    /// With a certificate for `name`.
    pub async fn tls(name: &str) -> (Served, rustls::RootCertStore) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let mut authorities = rustls::RootCertStore::empty();
        authorities.add(made.cert.der().clone()).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("tls://localhost:{port}").parse().unwrap();
        let (broker, listener) = (Arc::new(MemoryBroker::new()), Listener::Tcp(listener));
        let tls = Some(Arc::new(config));
        let served = Served::start(broker, listener, url, tls, QUICK);
        (served, authorities)
    }

    fn start(
        broker: Arc<MemoryBroker>,
        listener: Listener,
        url: LinkUrl,
        tls: Option<Arc<rustls::ServerConfig>>,
        pace: Pace,
    ) -> Served {
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        let serving = serve_at(broker.clone(), listener, token(), tls, pace, stopped);
        Served {
            broker,
            url,
            path: PathBuf::new(),
            stop: Some(stop),
            task: tokio::spawn(serving),
            _folder: None,
        }
    }

    pub fn join(&self, name: &str) -> Arc<LinkBroker> {
        join(&self.url, name)
    }

    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        let ended = tokio::time::timeout(LIMIT, &mut self.task).await;
        ended.expect("it stops in time").unwrap().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn join(url: &LinkUrl, name: &str) -> Arc<LinkBroker> {
    LinkBroker::connect_at(url.clone(), name.to_owned(), token(), None, QUICK)
}

pub fn queue(name: &str) -> Queue {
    Queue::wee(name)
}

pub fn numbers(name: &str, range: std::ops::Range<u32>) -> Vec<Message> {
    range
        .map(|n| Message {
            queue: queue(name),
            body: Bytes::from(n.to_string()),
        })
        .collect()
}

pub fn number(body: &Bytes) -> u32 {
    std::str::from_utf8(body).unwrap().parse().unwrap()
}

pub async fn depth_until(broker: &dyn Broker, name: &str, depth: u64) {
    until("the depth", async || {
        broker.depth(queue(name)).await.is_ok_and(|d| d == depth)
    })
    .await;
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < LIMIT, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A line between an end and a served socket that can be cut, or can swallow all that is said.
pub struct Line {
    pub url: LinkUrl,
    task: JoinHandle<()>,
    state: tokio::sync::watch::Sender<LineState>,
    _folder: tempfile::TempDir,
}

#[derive(Clone, Copy, PartialEq)]
pub enum LineState {
    Open,
    /// Connections are closed, and new ones too.
    Cut,
    /// Connections stay, and nothing goes through; new ones are the same.
    Silent,
}

impl Line {
    pub fn to(path: PathBuf) -> Line {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("line.sock");
        let listener = UnixListener::bind(&own).unwrap();
        let state = tokio::sync::watch::Sender::new(LineState::Open);
        let watched = state.clone();
        let task = tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = UnixStream::connect(&path).await else {
                    continue;
                };
                let watched = watched.clone();
                lines.spawn(async move {
                    let ((near_read, near_write), (far_read, far_write)) =
                        (tokio::io::split(near), tokio::io::split(far));
                    let mut cut = watched.subscribe();
                    tokio::select! {
                        () = copy(near_read, far_write, watched.subscribe()) => {}
                        () = copy(far_read, near_write, watched.subscribe()) => {}
                        _ = cut.wait_for(|s| *s == LineState::Cut) => {}
                    }
                });
            }
        });
        Line {
            url: format!("unix://{}", own.display()).parse().unwrap(),
            task,
            state,
            _folder: folder,
        }
    }

    pub fn set(&self, state: LineState) {
        self.state.send_replace(state);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: tokio::sync::watch::Receiver<LineState>,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(_) = state.wait_for(|s| *s != LineState::Silent).await else {
            return;
        };
        match from.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(n) => {
                // What was read just before it fell silent is swallowed too, until it speaks again.
                let Ok(_) = state.wait_for(|s| *s != LineState::Silent).await else {
                    return;
                };
                if to.write_all(&bytes[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}
