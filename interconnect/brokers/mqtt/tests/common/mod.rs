#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part, and a broken set-up ends the test
//! A Mosquitto of a test's own on a free port of loopback, and a line to it that can be cut. Every wait has a limit.

use bytes::Bytes;
use sengu_broker_mqtt::{MqttBroker, Pace};
use sengu_interconnect::address::Address;
use sengu_interconnect::contact::Contact;
use sengu_interconnect::{Broker, BrokerError};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const LIMIT: Duration = Duration::from_secs(20);

/// Quick, and yet far from what a busy machine delays.
pub const QUICK: Pace = Pace {
    alive_every: Duration::from_millis(500),
    silence_max: Duration::from_secs(3),
    call_max: Duration::from_secs(5),
    retry_every: Duration::from_millis(500),
};

pub struct Mosquitto {
    pub port: u16,
    pub folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Mosquitto {
    /// With these lines of configuration more.
    pub async fn start(more: &str) -> Mosquitto {
        Mosquitto::start_in(tempfile::tempdir().unwrap(), "allow_anonymous true", more).await
    }

    pub async fn start_in(folder: tempfile::TempDir, who: &str, more: &str) -> Mosquitto {
        let port = sengu_testing::free_port();
        let (at, config) = (
            folder.path().display(),
            folder.path().join("mosquitto.conf"),
        );
        let text = format!(
            "user root\nper_listener_settings false\n{who}\npersistence_location {at}/\n\
             listener {port} 127.0.0.1\n{more}\n"
        );
        std::fs::write(config, text).unwrap();
        let mut mosquitto = Mosquitto {
            port,
            folder,
            child: None,
        };
        mosquitto.again().await;
        mosquitto
    }

    pub async fn again(&mut self) {
        let config = self.folder.path().join("mosquitto.conf");
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        // It ends with the test, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "mosquitto", "-v", "-c"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("setpriv and mosquitto are installed (see test-needs.toml)");
        self.child = Some(child);
        let to = ("127.0.0.1", self.port);
        until("mosquitto listens", async || {
            TcpStream::connect(to).await.is_ok()
        })
        .await;
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// As `kill -HUP`, `-USR1` and so on.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    pub fn address(&self) -> Address {
        address(self.port)
    }

    pub async fn open(&self, name: &str) -> Arc<MqttBroker> {
        open(self.address(), name).await
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn address(port: u16) -> Address {
    Address::parse(&format!("mqtt://127.0.0.1:{port}")).unwrap()
}

pub async fn open(address: Address, name: &str) -> Arc<MqttBroker> {
    let broker = MqttBroker::open_at(address, name.to_owned(), QUICK);
    broker.until_there(LIMIT).await.unwrap();
    broker
}

pub fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < LIMIT, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(done) => done,
        Err(_) => panic!("in vain: {what}"),
    }
}

pub async fn there(broker: &MqttBroker, wanted: bool) {
    let mut contact = broker.contact();
    let is = contact.wait_for(|c| (*c == Contact::There) == wanted);
    within("the contact", is).await.unwrap();
}

pub fn is_away(error: &BrokerError) -> bool {
    matches!(error, BrokerError::Away(_))
}

/// A line to a port that can be cut, or can swallow all that is said.
pub struct Line {
    pub port: u16,
    task: JoinHandle<()>,
    state: watch::Sender<LineState>,
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
    pub async fn to(far: u16) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = watch::Sender::new(LineState::Open);
        let watched = state.clone();
        let task = tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                if *watched.borrow() == LineState::Cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", far)).await else {
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
        Line { port, task, state }
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
    mut state: watch::Receiver<LineState>,
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
