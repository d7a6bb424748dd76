#![allow(dead_code, clippy::unwrap_used)]
//! A RabbitMQ of our own: free ports, a directory of its own, and an epmd of its own, so that one that the system runs
//! is never touched. It dies with the test.

pub mod proxy;

use bytes::Bytes;
use sengu_broker_amqp::{AmqpBroker, Timing};
use sengu_interconnect::address::Address;
use sengu_interconnect::contact::Contact;
use sengu_interconnect::{Broker, Message, Queue, Subscription, Tag};
use sengu_testing::free_port;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const LIMIT: Duration = Duration::from_secs(20);
/// From the start of the server to its first answer: 6 s alone, more beside others.
const START_MAX: Duration = Duration::from_secs(120);

pub struct Rabbit {
    folder: tempfile::TempDir,
    pub port: u16,
    pub tls_port: u16,
    dist_port: u16,
    epmd_port: u16,
    pub ca_pem: String,
    children: Vec<Child>,
}

impl Rabbit {
    /// Must be called on a thread that lives as long as the server shall: it dies with that thread.
    pub fn start() -> Rabbit {
        let folder = tempfile::tempdir().unwrap();
        let ca_pem = certificates(folder.path());
        let mut rabbit = Rabbit {
            folder,
            port: free_port(),
            tls_port: free_port(),
            dist_port: free_port(),
            epmd_port: free_port(),
            ca_pem,
            children: Vec::new(),
        };
        let at = |name: &str| rabbit.folder.path().join(name).display().to_string();
        std::fs::create_dir(at("log")).unwrap();
        std::fs::write(at("definitions.json"), DEFINITIONS).unwrap();
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nlisteners.ssl.1 = 127.0.0.1:{}\nload_definitions = {}\n\
             ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_none\nloopback_users = none\nlog.file.level = warning\n",
            rabbit.port,
            rabbit.tls_port,
            at("definitions.json"),
            at("ca.pem"),
            at("server.pem"),
            at("server.key"),
        );
        std::fs::write(at("rabbitmq.conf"), config).unwrap();
        let epmd = [
            "epmd",
            "-port",
            &rabbit.epmd_port.to_string(),
            "-address",
            "127.0.0.1",
        ]
        .map(str::to_owned);
        rabbit.spawn(&epmd);
        rabbit.boot();
        rabbit
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.folder.path().join(name);
        command
            .env("HOME", self.folder.path())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("RABBITMQ_NODENAME", format!("t{}@localhost", self.port))
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_PID_FILE", at("pid"))
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 +sbwt none")
            // It takes the place of the script, so that a signal to it is one to the server.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .stdin(Stdio::null());
        command
    }

    fn spawn(&mut self, words: &[String]) {
        let log = |name: &str| std::fs::File::create(self.folder.path().join(name)).unwrap();
        let mut command = self.command("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(words)
            .stdout(log("out.log"))
            .stderr(log("err.log"));
        let child = command.spawn().unwrap();
        self.children.push(child);
    }

    /// Starts the server, on whatever it has kept.
    pub fn boot(&mut self) {
        self.spawn(&["/usr/lib/rabbitmq/bin/rabbitmq-server".to_owned()]);
        let began = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.tls_port)).is_err() {
            let ended = self.children.last_mut().unwrap().try_wait().unwrap();
            let out = || std::fs::read_to_string(self.folder.path().join("out.log"));
            assert!(ended.is_none(), "it ended: {:?}", out());
            assert!(began.elapsed() < START_MAX, "it starts: {:?}", out());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// As a power cut.
    pub fn kill(&mut self) {
        let mut server = self.children.pop().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    pub fn ctl(&self, words: &[&str]) {
        let mut command = self.command("/usr/lib/rabbitmq/bin/rabbitmqctl");
        let output = command
            .env_remove("RABBITMQ_DIST_PORT")
            .args(words)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// An address with a prefix that nobody else uses.
    pub fn address(&self) -> Address {
        self.address_at(self.port)
    }

    pub fn address_at(&self, port: u16) -> Address {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = NEXT.fetch_add(1, Ordering::Relaxed);
        address(&format!(
            "amqp://sengu:right@127.0.0.1:{port}?prefix=t{prefix}"
        ))
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        while let Some(mut child) = self.children.pop() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn address(url: &str) -> Address {
    Address::parse(url).unwrap()
}

const DEFINITIONS: &str = r#"{
  "users": [
    {"name": "sengu", "password": "right", "tags": "administrator"},
    {"name": "reader", "password": "right", "tags": ""},
    {"name": "stranger", "password": "right", "tags": ""}
  ],
  "vhosts": [{"name": "/"}],
  "permissions": [
    {"user": "sengu", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
    {"user": "reader", "vhost": "/", "configure": "^$", "write": "^$", "read": ".*"}
  ]
}"#;

/// An authority and a certificate of it for `localhost`; gives the authority's.
fn certificates(folder: &Path) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(authority, key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &issuer).unwrap();
    let write = |name: &str, text: String| {
        let path: PathBuf = folder.join(name);
        std::fs::write(path, text).unwrap();
    };
    write("ca.pem", ca.pem());
    write("server.pem", server.pem());
    write("server.key", server_key.serialize_pem());
    ca.pem()
}

/// New queues are relied on at once, since this server is not killed.
pub async fn open(address: Address) -> Arc<AmqpBroker> {
    let timing = Timing {
        kept_after: Duration::ZERO,
        ..Timing::default()
    };
    let broker = AmqpBroker::open_with(address, "test".to_owned(), timing);
    broker.until_there(LIMIT).await.unwrap();
    broker
}

pub fn queue(name: &str) -> Queue {
    Queue::wee(name)
}

pub fn numbers(name: &str, range: std::ops::Range<u32>) -> Vec<Message> {
    let message = |n: u32| Message {
        queue: queue(name),
        body: Bytes::from(n.to_string()),
    };
    range.map(message).collect()
}

/// Receives and acks `count` of them, in the order they come.
pub async fn collect(subscription: &mut dyn Subscription, count: usize) -> Vec<u32> {
    collect_within(subscription, count, LIMIT).await
}

pub async fn collect_within(
    subscription: &mut dyn Subscription,
    count: usize,
    limit: Duration,
) -> Vec<u32> {
    let mut got = Vec::new();
    while got.len() < count {
        let some = tokio::time::timeout(limit, subscription.receive(64)).await;
        let some = some.expect("a delivery in time").unwrap();
        let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
        subscription.ack(&tags).unwrap();
        let number = |body: &Bytes| std::str::from_utf8(body).unwrap().parse().unwrap();
        got.extend(some.iter().map(|d| -> u32 { number(&d.body) }));
    }
    got
}

pub async fn contact_until(broker: &dyn Broker, limit: Duration, is: impl Fn(&Contact) -> bool) {
    let mut contact = broker.contact();
    let reached = tokio::time::timeout(limit, contact.wait_for(|now| is(now))).await;
    let last = broker.contact().borrow().clone();
    assert!(reached.is_ok_and(|r| r.is_ok()), "it is {last:?}");
}

pub async fn until(what: &str, is: impl AsyncFnMut() -> bool) {
    until_within(what, LIMIT, is).await;
}

pub async fn until_within(what: &str, limit: Duration, mut is: impl AsyncFnMut() -> bool) {
    let settled = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let settled = tokio::time::timeout(limit, settled).await;
    assert!(settled.is_ok(), "in time: {what}");
}
