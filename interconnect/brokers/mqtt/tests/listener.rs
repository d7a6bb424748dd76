#![allow(clippy::unwrap_used)]
//! sengu's own listener, against clients that nobody here wrote and against strangers.

mod common;

use bytes::Bytes;
use common::{LIMIT, until, within};
use sengu_broker_mqtt::{FOLLOWERS_MAX, MqttListener};
use sengu_interconnect::events::{Followers, Keep, Told, Topic};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

const TOKEN: &str = "a token";

fn told(levels: &[&str], keep: Keep, body: &str) -> Told {
    Told {
        topic: Topic::new(levels),
        keep,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn start() -> (Arc<MqttListener>, u16) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let prefix = "sengu".to_owned();
    (
        MqttListener::start(socket, None, TOKEN.to_owned(), prefix).unwrap(),
        port,
    )
}

/// Tells something until a follower is heard of, and gives what it hears.
struct Sub {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn sub(port: u16, token: &str, more: &[&str]) -> Sub {
    let mut child = Command::new("mosquitto_sub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-u",
            "me",
            "-P",
            token,
            "-F",
            "%t %r %p",
        ])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("mosquitto_sub is installed (see test-needs.toml)");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Sub { child, lines }
}

impl Sub {
    async fn line(&mut self) -> Option<String> {
        within("a line", self.lines.next_line()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_both_versions_get_the_latest_and_then_each_event_in_order() {
    let (listener, port) = start();
    let batch = ["a", "b", "c"].map(|at| told(&["v1", "state", at], Keep::Latest, "1"));
    listener.tell(batch.to_vec()).await.unwrap();
    listener
        .tell(vec![told(&["v1", "state", "b"], Keep::Latest, "")])
        .await
        .unwrap();
    listener
        .tell(vec![told(&["v1", "state", "c"], Keep::Latest, "2")])
        .await
        .unwrap();
    let mut subs = Vec::new();
    for version in ["mqttv311", "mqttv5"] {
        for (filters, topic) in [
            (&["-t", "sengu/v1/#"][..], "state/+#"),
            (
                &["-t", "sengu/+/state/+", "-t", "sengu/v1/state/#"],
                "state/é",
            ),
            (
                &[
                    "-t",
                    "sengu/v1/state/a",
                    "-t",
                    "sengu/v1/state/c",
                    "-t",
                    "sengu/v1/more/%20",
                ],
                "more/ ",
            ),
        ] {
            let mut more = vec!["-V", version, "-q", "1"];
            more.extend(filters);
            let mut sub = sub(port, TOKEN, &more);
            let mut latest = [sub.line().await.unwrap(), sub.line().await.unwrap()];
            latest.sort();
            assert_eq!(latest, ["sengu/v1/state/a 1 1", "sengu/v1/state/c 1 2"]);
            subs.push((sub, topic));
        }
    }
    for n in 0..500 {
        let body = n.to_string();
        let batch = [["state", "+#"], ["state", "é"], ["more", " "]];
        let batch = batch.map(|[a, b]| told(&["v1", a, b], Keep::No, &body));
        listener.tell(batch.to_vec()).await.unwrap();
    }
    for (sub, topic) in &mut subs {
        let topic = topic
            .replace('+', "%2B")
            .replace('#', "%23")
            .replace('é', "%C3%A9")
            .replace(' ', "%20");
        let mut next = 0;
        while next < 500 {
            let line = sub.line().await.unwrap();
            if line.starts_with(&format!("sengu/v1/{topic} ")) {
                // Two filters that both match may bring the latest values twice, but no event.
                assert_eq!(line, format!("sengu/v1/{topic} 0 {next}"));
                next += 1;
            }
        }
    }
    drop(subs);
    listener.stop();
    until("it listens no longer", async || {
        TcpStream::connect(("127.0.0.1", port)).await.is_err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_token_nobody_follows_and_with_it_nobody_publishes() {
    let (listener, port) = start();
    listener
        .tell(vec![told(&["v1", "x"], Keep::Latest, "1")])
        .await
        .unwrap();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for token in ["", "a tokem", "a token ", "a"] {
            let mut sub = sub(
                port,
                token,
                &["-V", version, "-t", "#", "-C", "1", "-W", "5"],
            );
            assert_eq!(sub.line().await, None);
            assert!(!within("its end", sub.child.wait()).await.unwrap().success());
        }
    }
    let mut follower = sub(port, TOKEN, &["-V", "mqttv5", "-t", "sengu/v1/#"]);
    assert_eq!(follower.line().await.unwrap(), "sengu/v1/x 1 1");
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1"] {
            let mut publish = Command::new("mosquitto_pub")
                .args([
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &port.to_string(),
                    "-P",
                    TOKEN,
                    "-u",
                    "me",
                ])
                .args([
                    "-V",
                    version,
                    "-q",
                    qos,
                    "-t",
                    "sengu/v1/x",
                    "-m",
                    "forged",
                    "-r",
                ])
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            // One that would try for ever is ended by the test.
            let _ = tokio::time::timeout(Duration::from_millis(500), publish.wait()).await;
        }
    }
    listener
        .tell(vec![told(&["v1", "x"], Keep::Latest, "2")])
        .await
        .unwrap();
    assert_eq!(follower.line().await.unwrap(), "sengu/v1/x 0 2");
    let mut shared = sub(
        port,
        TOKEN,
        &["-V", "mqttv5", "-t", "$share/a/#", "-W", "5"],
    );
    assert_eq!(shared.line().await, None);
    let off_loopback = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    assert!(MqttListener::start(off_loopback, None, TOKEN.to_owned(), "sengu".to_owned()).is_err());
}

fn connect(keep_alive: u16) -> Vec<u8> {
    let mut packet = vec![0x10, 0, 0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2];
    packet.extend(keep_alive.to_be_bytes());
    packet.extend([0, 1, b'c', 0, 1, b'u', 0, TOKEN.len() as u8]);
    packet.extend(TOKEN.as_bytes());
    packet[1] = (packet.len() - 2) as u8;
    packet
}

async fn raw(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn ends(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = within("its end", stream.read_to_end(&mut rest)).await;
}

const SUBSCRIBE_ALL: [u8; 8] = [0x82, 6, 0, 1, 0, 1, b'#', 0];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_let_go_and_the_slow_lose_events_while_others_get_all() {
    let (listener, port) = start();
    let mut good = Vec::new();
    for version in ["mqttv311", "mqttv5"].iter().cycle().take(20) {
        good.push(sub(port, TOKEN, &["-V", version, "-t", "sengu/v1/#"]));
    }
    let mut bad = vec![
        raw(port, b"GET / HTTP/1.1\r\n\r\n").await,
        raw(port, &[0x10, 0xff, 0xff, 0xff, 0x7f]).await,
        raw(port, &[0xff; 64]).await,
        raw(port, &[0x10, 4, 0, 9, b'M', b'Q']).await,
        raw(port, &SUBSCRIBE_ALL).await,
        raw(port, &[connect(0), connect(0)].concat()).await,
        raw(port, &[&connect(0)[..], &[0x82, 2, 0, 1]].concat()).await,
        raw(port, &[&connect(0)[..], &[0x82, 0xff, 0xff, 0x7f]].concat()).await,
        // Says that it speaks every second, and does not.
        raw(port, &connect(1)).await,
        // Never says who it is.
        raw(port, &[0x10]).await,
        raw(port, &[]).await,
    ];
    let mut slow = raw(port, &[&connect(0)[..], &SUBSCRIBE_ALL].concat()).await;
    let mut hello = [0; 9];
    within("it follows", slow.read_exact(&mut hello))
        .await
        .unwrap();
    for sub in &mut good {
        loop {
            listener
                .tell(vec![told(&["v1", "begin"], Keep::No, "")])
                .await
                .unwrap();
            let line = tokio::time::timeout(Duration::from_millis(50), sub.lines.next_line());
            if line.await.is_ok() {
                break;
            }
        }
    }
    let body = "x".repeat(4 << 10);
    let mut slowest = Duration::ZERO;
    for part in 0..100 {
        let batch = (0..100).map(|n| {
            told(
                &["v1", "n"],
                Keep::No,
                &format!("{} {body}", part * 100 + n),
            )
        });
        let began = Instant::now();
        listener.tell(batch.collect()).await.unwrap();
        slowest = slowest.max(began.elapsed());
        // As quick as those who read can follow, so that they lose nothing.
        for sub in &mut good {
            let last = format!("sengu/v1/n 0 {} ", part * 100 + 99);
            while !sub.line().await.unwrap().starts_with(&last) {}
        }
    }
    assert!(
        slowest < LIMIT / 4,
        "telling never waits for the slow: {slowest:?}"
    );
    while let Some(stream) = bad.pop() {
        ends(stream).await;
    }
    // The slow one was served what fitted; it still gets something, and not all.
    let (mut bytes, mut chunk) = (0, vec![0; 1 << 20]);
    loop {
        let quiet = Duration::from_millis(500);
        let wait = if bytes > 1 << 20 { quiet } else { LIMIT };
        match tokio::time::timeout(wait, slow.read(&mut chunk)).await {
            Ok(Ok(n)) if n > 0 => bytes += n,
            _ => break,
        }
    }
    assert!(bytes > 1 << 20 && bytes < 10_000 * (4 << 10), "{bytes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_followers_is_bounded_and_seats_come_free() {
    let (_listener, port) = start();
    let mut all = Vec::new();
    for _ in 0..FOLLOWERS_MAX {
        let mut stream = raw(port, &connect(0)).await;
        let mut hello = [0; 4];
        within("a seat", stream.read_exact(&mut hello))
            .await
            .unwrap();
        assert_eq!(hello, [0x20, 2, 0, 0]);
        all.push(stream);
    }
    let mut one_more = raw(port, &connect(0)).await;
    let mut hello = [0; 4];
    within("an answer", one_more.read_exact(&mut hello))
        .await
        .unwrap();
    assert_eq!(hello, [0x20, 2, 0, 3]);
    ends(one_more).await;
    all.truncate(FOLLOWERS_MAX / 2);
    until("a seat is free", async || {
        let mut stream = raw(port, &connect(0)).await;
        stream.read_exact(&mut hello).await.is_ok() && hello[3] == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_standard_client_follows() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca = folder.path().join("ca");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let (tls, prefix) = (Some(Arc::new(config)), "sengu".to_owned());
    let listener = MqttListener::start(socket, tls, TOKEN.to_owned(), prefix).unwrap();
    listener
        .tell(vec![told(&["v1", "x"], Keep::Latest, &"x".repeat(300_000))])
        .await
        .unwrap();
    let ca = ca.to_str().unwrap();
    let mut sub = sub(
        port,
        TOKEN,
        &[
            "-h",
            "localhost",
            "--cafile",
            ca,
            "-t",
            "sengu/v1/#",
            "-F",
            "%l",
        ],
    );
    assert_eq!(sub.line().await.unwrap(), "300000");
    let plain = raw(port, &connect(0)).await;
    ends(plain).await;
}
