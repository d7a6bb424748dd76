//! A real nats-server of a test's own, and a proxy that cuts what goes through it.

#![allow(dead_code)]

use bytes::Bytes;
use sengu_broker_nats::NatsBroker;
use sengu_interconnect::address::Address;
use sengu_interconnect::{Delivery, Message, Queue, Subscription, Tag};
use sengu_testing::free_port;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const LIMIT: Duration = Duration::from_secs(20);

pub struct Server {
    pub port: u16,
    pub dir: TempDir,
    child: Option<Child>,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(|dir| format!("jetstream {{ store_dir: {dir:?} }}\nmax_payload: 8MB\n")).await
    }

    /// `config` is told the directory that data may be in.
    pub async fn with(config: impl FnOnce(&PathBuf) -> String) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let text = config(&dir.path().join("data"));
        std::fs::write(dir.path().join("nats.conf"), text).unwrap();
        let mut server = Server {
            port: free_port(),
            dir,
            child: None,
        };
        server.up().await;
        server
    }

    pub async fn up(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let child = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "nats-server",
                "-a",
                "127.0.0.1",
                "-p",
            ])
            .arg(self.port.to_string())
            .arg("-c")
            .arg(self.dir.path().join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("setpriv and nats-server are installed");
        self.child = Some(child);
        let by = Instant::now() + LIMIT;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_err()
        {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(Instant::now() < by, "nats-server does not listen: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As by a power cut.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn address(&self, prefix: &str) -> Address {
        address(self.port, prefix)
    }

    pub async fn broker(&self, prefix: &str) -> Arc<NatsBroker> {
        let broker = NatsBroker::open(self.address(prefix), "test".to_owned());
        broker.until_there(LIMIT).await.unwrap();
        broker
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn address(port: u16, prefix: &str) -> Address {
    Address::parse(&format!("nats://127.0.0.1:{port}?prefix={prefix}")).unwrap()
}

pub fn queue(name: &str) -> Queue {
    Queue::parse(&format!("task.default.{name}.1.0.0+b.control")).unwrap()
}

pub fn messages(queue: &Queue, range: std::ops::Range<u32>) -> Vec<Message> {
    range
        .map(|n| Message {
            queue: queue.clone(),
            body: Bytes::from(n.to_string()),
        })
        .collect()
}

pub fn number(delivery: &Delivery) -> u32 {
    std::str::from_utf8(&delivery.body)
        .unwrap()
        .parse()
        .unwrap()
}

pub async fn receive(subscription: &mut dyn Subscription, max: usize) -> Vec<Delivery> {
    let received = tokio::time::timeout(LIMIT, subscription.receive(max)).await;
    received
        .expect("a delivery in time")
        .expect("a subscription that is not over")
}

/// Receives and acks until `count` messages have come.
pub async fn collect(subscription: &mut dyn Subscription, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let some = receive(subscription, 64).await;
        let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
        subscription.ack(&tags).unwrap();
        numbers.extend(some.iter().map(number));
    }
    numbers
}

/// Carries bytes to a server until it is cut.
pub struct Proxy {
    pub port: u16,
    open: tokio::sync::watch::Sender<u64>,
    _accepting: tokio::task::JoinSet<()>,
}

impl Proxy {
    pub async fn start(to: u16) -> Proxy {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = tokio::sync::watch::Sender::new(0);
        let cut = open.clone();
        let mut accepting = tokio::task::JoinSet::new();
        accepting.spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
                    let Ok(mut to) = tokio::net::TcpStream::connect(("127.0.0.1", to)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Proxy {
            port,
            open,
            _accepting: accepting,
        }
    }

    /// All connections end in the middle of whatever they carry.
    pub fn cut(&self) {
        self.open.send_modify(|cuts| *cuts += 1);
    }
}
