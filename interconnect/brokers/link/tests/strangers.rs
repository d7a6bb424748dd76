//! Who is not let in, and what strangers and broken ends can do: nothing to others.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;
#[path = "common/raw.rs"]
mod raw;

use common::{LIMIT, QUICK, Served, depth_until, join, number, numbers, queue, token, until};
use raw::Raw;
use sengu_broker_link::{JoinToken, LinkBroker, LinkError, LinkUrl, Listener, serve};
use sengu_interconnect::{Broker, BrokerError, MemoryBroker};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

async fn works(served: &Served) {
    let broker = served.join("honest");
    broker.publish(numbers("w", 0..3)).await.unwrap();
    let mut subscription = broker.subscribe(queue("w"), 10).await.unwrap();
    let mut got = 0;
    while got < 3 {
        let some = tokio::time::timeout(LIMIT, subscription.receive(10)).await;
        let some = some.unwrap().unwrap();
        got += some.len();
        let tags: Vec<_> = some.iter().map(|d| d.tag).collect();
        subscription.ack(&tags).unwrap();
    }
    depth_until(broker.as_ref(), "w", 0).await;
}

#[tokio::test]
async fn a_wrong_token_is_said_to_be_wrong() {
    let served = Served::unix().await;
    let wrong: JoinToken = "another-token-as-long".parse().unwrap();
    let (url, name) = (served.url.clone(), "w".to_owned());
    let broker = LinkBroker::connect_at(url, name, wrong, None, QUICK);
    let why = broker.until_joined(LIMIT).await.unwrap_err();
    assert_eq!(why.to_string(), "the join token is not right");
    let began = Instant::now();
    let error = broker.depth(queue("w")).await.unwrap_err();
    assert!(began.elapsed() < LIMIT, "a bounded wait");
    assert_eq!(
        error.source().unwrap().to_string(),
        "the join token is not right"
    );
    works(&served).await;
}

#[tokio::test]
async fn an_end_that_does_not_know_the_token_is_no_interconnect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let url: LinkUrl = format!("unix://{}", path.display()).parse().unwrap();
    let broker = join(&url, "w");
    let (stream, _) = listener.accept().await.unwrap();
    let mut raw = Raw { stream };
    raw.frame().await.unwrap();
    raw.send(&[b"sengu-link\x02\x01\x00".as_slice(), &[6; 32]].concat())
        .await;
    // It gets a proof, and can only send it back.
    let mut proof = raw.frame().await.unwrap();
    proof[10] = 4;
    raw.send(&proof).await;
    let why = broker.until_joined(LIMIT).await.unwrap_err();
    assert!(matches!(*why, LinkError::Impostor), "{why:?}");
}

#[tokio::test]
async fn ends_of_other_versions_are_told_which_are_spoken() {
    let served = Served::unix().await;
    let mut newer = Raw::open(&served.path).await;
    newer.send(&Raw::hello(7, 9, "newer")).await;
    let refused = newer.frame().await.unwrap();
    assert_eq!(refused, b"sengu-link\x05\x02\x01\x00\x01\x00");
    assert!(newer.closes().await);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let url: LinkUrl = format!("unix://{}", path.display()).parse().unwrap();
    let broker = join(&url, "w");
    let (stream, _) = listener.accept().await.unwrap();
    let mut raw = Raw { stream };
    assert_eq!(&raw.frame().await.unwrap()[11..15], [1, 0, 1, 0]);
    raw.send(b"sengu-link\x05\x02\x03\x00\x04\x00").await;
    let why = broker.until_joined(LIMIT).await.unwrap_err();
    let text = "the other end speaks versions 3 to 4 of the link, this one 1 to 1";
    assert_eq!(why.to_string(), text);
}

/// Random, and the same each time.
struct Dice(u64);
impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, max: u64) -> Vec<u8> {
        let count = self.throw() % max;
        (0..count).map(|_| self.throw() as u8).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_before_the_hello_ends_its_connection_alone() {
    let served = Served::unix().await;
    let mut dice = Dice(1);
    let mut said: Vec<Vec<u8>> = (0..100).map(|_| dice.bytes(3_000)).collect();
    said.push(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec());
    said.push(vec![0; 4_096]);
    said.push(vec![0xff; 4_096]);
    for bytes in said {
        let mut stream = UnixStream::connect(&served.path).await.unwrap();
        // It may be closed before all is said.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
        let _ = read.expect("it is closed");
    }
    works(&served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_after_the_hello_ends_its_connection_alone() {
    let served = Served::unix().await;
    let token = token();
    let mut dice = Dice(2);
    for n in 0..200_u8 {
        let mut raw = Raw::join(&served.path, "fuzz", token.reveal())
            .await
            .unwrap();
        for _ in 0..20 {
            let mut frame = dice.bytes(200);
            if n % 2 == 0 {
                // The kinds that there are, with fields that make no sense.
                frame.insert(0, 1 + n % 12);
            }
            let mut bytes = (frame.len() as u32).to_le_bytes().to_vec();
            bytes.extend(frame);
            if raw.stream.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = raw.stream.shutdown().await;
        assert!(raw.closes().await);
    }
    works(&served).await;
}

#[tokio::test]
async fn a_silent_stranger_is_not_waited_for() {
    let served = Served::unix().await;
    let mut silent = Raw::open(&served.path).await;
    let began = Instant::now();
    assert!(silent.closes().await);
    assert!(began.elapsed() >= Duration::from_secs(4), "it had its time");
    works(&served).await;
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_its_connection_alone() {
    let served = Served::unix().await;
    let token = token();
    let mut raw = Raw::join(&served.path, "big", token.reveal())
        .await
        .unwrap();
    let _ = raw.stream.write_all(&u32::MAX.to_le_bytes()).await;
    assert!(raw.closes().await);
    works(&served).await;
    // An honest end is told before it says anything.
    let broker = served.join("honest");
    let mut message = numbers("w", 0..1).remove(0);
    message.body = vec![0; 16 << 20].into();
    let error = broker.publish(vec![message]).await.unwrap_err();
    let why = error.source().unwrap().to_string();
    assert!(why.contains("a body of 16777216 bytes"), "{why}");
    broker.depth(queue("w")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_gives_back_what_it_had() {
    let served = Served::unix().await;
    let token = token();
    let mut raw = Raw::join(&served.path, "deaf", token.reveal())
        .await
        .unwrap();
    let mut messages = numbers("w", 0..2_000);
    let body = bytes::Bytes::from(vec![1; 64 << 10]);
    for message in &mut messages {
        message.body = body.clone();
    }
    served.broker.publish(messages).await.unwrap();
    // Subscribes with a credit for all of them: request 1, subscription 2.
    raw.send(b"\x03\x01\x02\x10\x27\x00\x00\x05wee.w").await;
    let depth = async || served.broker.depth(queue("w")).await.unwrap();
    until("some deliveries", async || depth().await < 2_000).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // As many as are taken at once, whatever the credit: the rest is there for others.
    let left = depth().await;
    assert!(left >= 1_400, "{left}");
    // It goes on to say that it lives, and reads nothing.
    let alive = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(300));
        loop {
            ticks.tick().await;
            if raw.stream.write_all(b"\x01\x00\x00\x00\x01").await.is_err() {
                break;
            }
        }
    };
    let back = async {
        // Meanwhile others are served.
        let broker = served.join("honest");
        broker.publish(numbers("other", 0..1)).await.unwrap();
        until("all of them back", async || depth().await == 2_000).await;
    };
    tokio::join!(alive, back);
    let mut subscription = served.broker.subscribe(queue("w"), 300).await.unwrap();
    let again = subscription.receive(300).await.unwrap();
    assert!(!again.is_empty() && again.iter().all(|d| d.redelivered));
}

#[tokio::test]
async fn a_new_connection_of_the_same_life_ends_the_old_one() {
    let served = Served::unix().await;
    let token = token();
    let mut old = Raw::join(&served.path, "wee-1", token.reveal())
        .await
        .unwrap();
    served.broker.publish(numbers("w", 0..1)).await.unwrap();
    old.send(b"\x03\x01\x02\x05\x00\x00\x00\x05wee.w").await;
    depth_until(served.broker.as_ref(), "w", 0).await;
    // By hand it always says the same incarnation.
    let mut new = Raw::join(&served.path, "wee-1", token.reveal())
        .await
        .unwrap();
    new.send(b"\x03\x01\x02\x05\x00\x00\x00\x05wee.w").await;
    loop {
        let frame = new.frame().await.expect("it stays");
        if frame[0] == 34 {
            assert_eq!(frame, b"\x22\x02\x02\x01\x010", "what the old one had");
            break;
        }
    }
    assert!(old.closes().await);
}

#[tokio::test]
async fn who_settles_more_than_is_out_is_closed() {
    let served = Served::unix().await;
    let token = token();
    let mut raw = Raw::join(&served.path, "liar", token.reveal())
        .await
        .unwrap();
    raw.send(b"\x03\x01\x02\x05\x00\x00\x00\x05wee.w").await;
    raw.send(b"\x04\x02\x00\x01\x02\x00").await;
    assert!(raw.closes().await);
    works(&served).await;
}

#[tokio::test]
async fn plain_tcp_stays_on_this_machine() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let (broker, listener) = (Arc::new(MemoryBroker::new()), Listener::Tcp(listener));
    let refused = serve(broker, listener, token(), None, std::future::pending()).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("is not on loopback"), "{why}");
    assert!("tcp://192.0.2.1:7469".parse::<LinkUrl>().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_checked_by_both_ends() {
    let (served, ca) = Served::tls("localhost").await;
    let connect = |url: &str, ca| {
        let url: LinkUrl = url.parse().unwrap();
        LinkBroker::connect_at(url, "w".to_owned(), token(), ca, QUICK)
    };
    let url = served.url.to_string();
    let good = connect(&url, Some(ca.clone()));
    good.until_joined(LIMIT).await.unwrap();

    let none = connect(&url, None);
    let why = none.until_joined(LIMIT).await.unwrap_err();
    assert!(matches!(*why, LinkError::NoAuthority), "{why:?}");

    let (_other, strange) = Served::tls("localhost").await;
    let broker = connect(&url, Some(strange));
    let why = why_away(&broker).await;
    assert!(why.starts_with("TLS"), "{why}");

    let by_address = url.replace("localhost", "127.0.0.1");
    let why = why_away(&connect(&by_address, Some(ca))).await;
    assert!(
        why.starts_with("TLS"),
        "a name that is not certified: {why}"
    );

    let plain = url.replace("tls://", "tcp://");
    let why = why_away(&connect(&plain, None)).await;
    assert!(!why.is_empty(), "{why}");
    good.depth(queue("w")).await.unwrap();
}

async fn why_away(broker: &LinkBroker) -> String {
    match broker.depth(queue("w")).await {
        Err(BrokerError::Away(Some(why))) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_join_and_share() {
    let served = Served::unix().await;
    let all: Vec<_> = (0..200).map(|n| served.join(&format!("wee-{n}"))).collect();
    let mut subscriptions = Vec::new();
    for broker in &all {
        broker.until_joined(LIMIT).await.unwrap();
        subscriptions.push(broker.subscribe(queue("w"), 4).await.unwrap());
    }
    let publish = all.iter().enumerate().map(|(n, broker)| {
        let n = n as u32;
        broker.publish(numbers("w", n * 10..n * 10 + 10))
    });
    for done in futures::future::join_all(publish).await {
        done.unwrap();
    }
    let (sender, mut got) = tokio::sync::mpsc::channel(16);
    for mut subscription in subscriptions {
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Ok(some) = subscription.receive(4).await {
                let tags: Vec<_> = some.iter().map(|d| d.tag).collect();
                subscription.ack(&tags).unwrap();
                let numbers: Vec<u32> = some.iter().map(|d| number(&d.body)).collect();
                if sender.send(numbers).await.is_err() {
                    break;
                }
            }
        });
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2_000 {
        let some = tokio::time::timeout(LIMIT, got.recv()).await.unwrap();
        for n in some.unwrap() {
            assert!(seen.insert(n), "{n} twice");
        }
    }
}
