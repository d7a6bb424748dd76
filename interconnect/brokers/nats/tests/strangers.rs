//! Servers that cannot be used, and those that can: what people are told, and that nothing is changed by looking.

#![allow(clippy::unwrap_used)]

mod common;

use common::{LIMIT, Server, address};
use sengu_broker_nats::{NatsBroker, NatsError, check};
use sengu_interconnect::Broker as _;
use sengu_interconnect::address::{Address, Password};
use sengu_interconnect::contact::{Finding, Verdict};
use sengu_interconnect::events::{Followers as _, Keep, Told, Topic};
use std::time::{Duration, Instant};

async fn why(address: &Address) -> NatsError {
    let broker = NatsBroker::open(address.clone(), "test".to_owned());
    let began = Instant::now();
    let why = broker.until_there(LIMIT).await.unwrap_err();
    assert!(
        why.may_pass() || began.elapsed() < LIMIT / 2,
        "told at once: {why:?}"
    );
    why
}

fn bad(findings: &[Finding]) -> Vec<&'static str> {
    findings
        .iter()
        .filter(|f| f.is_bad())
        .map(|f| f.what)
        .collect()
}

fn found(findings: &[Finding], what: &str) -> String {
    let texts = findings
        .iter()
        .filter(|f| f.what == what)
        .map(|f| match &f.verdict {
            Verdict::Good(text) | Verdict::Poor(text) => text.clone(),
            Verdict::Bad { found, hint } => format!("{found} / {hint}"),
        });
    texts.collect::<Vec<_>>().join("\n")
}

fn with_user(address: Address, user: &str, password: &str) -> Address {
    Address {
        user: Some(user.to_owned()),
        password: Some(Password::new(password.to_owned())),
        ..address
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there() {
    let address = address(sengu_testing::free_port(), "a");
    let broker = NatsBroker::open(address.clone(), "test".to_owned());
    let until = tokio::time::Instant::now() + LIMIT;
    let why = loop {
        let soon = Duration::from_millis(100);
        match broker.until_there(soon).await.unwrap_err() {
            why @ NatsError::Reach { .. } => break why,
            other => assert!(tokio::time::Instant::now() < until, "{other:?}"),
        }
    };
    assert!(why.may_pass(), "{why:?}");
    assert_eq!(bad(&check(&address).await), ["reach"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_is_in_no_text() {
    let server = Server::with(|dir| {
        format!(
            "jetstream {{ store_dir: {dir:?} }}\nauthorization {{ user: sengu, password: right }}\n"
        )
    })
    .await;
    let wrong = with_user(server.address("a"), "sengu", "wr0ng");
    let why = why(&wrong).await;
    assert!(matches!(why, NatsError::Credentials { .. }), "{why:?}");
    assert!(!format!("{why:?} {}", why.text()).contains("wr0ng"));
    let findings = check(&wrong).await;
    assert_eq!(bad(&findings), ["sign in"]);
    assert!(!format!("{findings:?}").contains("wr0ng"));
    assert_eq!(bad(&check(&server.address("a")).await), ["sign in"]);
    let right = with_user(server.address("a"), "sengu", "right");
    assert_eq!(bad(&check(&right).await), [""; 0]);
    let broker = NatsBroker::open(right, "test".to_owned());
    broker.until_there(LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_jetstream() {
    let server = Server::with(|_| String::new()).await;
    let why = why(&server.address("a")).await;
    assert!(matches!(why, NatsError::NoJetStream { .. }), "{why:?}");
    let findings = check(&server.address("a")).await;
    assert_eq!(bad(&findings), ["jetstream"]);
    assert!(found(&findings, "jetstream").contains("-js"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told_what() {
    let server = Server::with(|dir| {
        format!(
            r#"jetstream {{ store_dir: {dir:?} }}
            authorization {{ users: [
              {{ user: reader, password: p, permissions: {{ publish: {{ deny: "$JS.API.STREAM.CREATE.>" }} }} }}
              {{ user: mute, password: p, permissions: {{ publish: {{ deny: "a.q.>" }} }} }}
              {{ user: deaf, password: p, permissions: {{ subscribe: {{ deny: "_INBOX.>" }} }} }}
            ] }}"#
        )
    })
    .await;
    for (user, part) in [
        ("reader", "$JS.API.STREAM.CREATE.a-work"),
        ("mute", "a.q.parked"),
        ("deaf", "_INBOX."),
    ] {
        let address = with_user(server.address("a"), user, "p");
        let findings = check(&address).await;
        let text = format!("{findings:?}");
        assert_eq!(bad(&findings).len(), 1, "{text}");
        assert!(
            text.contains(part) && text.contains("allow the user"),
            "{text}"
        );
        if user != "mute" {
            let why = why(&address).await;
            assert!(matches!(why, NatsError::NotPermitted(_)), "{why:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_changes_nothing_and_a_stream_of_somebody_else_is_refused() {
    let server = Server::start().await;
    let client = async_nats::connect(format!("127.0.0.1:{}", server.port))
        .await
        .unwrap();
    let findings = check(&server.address("a")).await;
    assert_eq!(bad(&findings), [""; 0], "{findings:?}");
    assert!(found(&findings, "stream").contains("a-work will be made"));
    let streams = client
        .request("$JS.API.STREAM.NAMES", "".into())
        .await
        .unwrap();
    let streams: serde_json::Value = serde_json::from_slice(&streams.payload).unwrap();
    assert_eq!(streams["total"], 0);
    let theirs =
        r#"{"name":"a-work","subjects":["a.q.*"],"retention":"limits","storage":"memory"}"#;
    client
        .request("$JS.API.STREAM.CREATE.a-work", theirs.into())
        .await
        .unwrap();
    let findings = check(&server.address("a")).await;
    assert_eq!(bad(&findings), ["stream"]);
    assert!(
        found(&findings, "stream").contains("retention limits"),
        "{findings:?}"
    );
    let why = why(&server.address("a")).await;
    assert!(matches!(why, NatsError::Stream { .. }), "{why:?}");
    // Another prefix is another installation.
    server.broker("b").await;
    let findings = check(&server.address("b")).await;
    assert_eq!(bad(&findings), [""; 0]);
    assert!(found(&findings, "stream").contains("b-work with 0 messages"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_trusted_by_the_given_authority_only() {
    let ca = Authority::new();
    let (cert, key) = ca.certificate();
    let server = Server::with(|data| {
        let dir = data.parent().unwrap();
        std::fs::write(dir.join("cert.pem"), cert).unwrap();
        std::fs::write(dir.join("key.pem"), key).unwrap();
        format!(
            "jetstream {{ store_dir: {data:?} }}\ntls {{ cert_file: {:?}, key_file: {:?} }}\n",
            dir.join("cert.pem"),
            dir.join("key.pem")
        )
    })
    .await;
    let mut address =
        Address::parse(&format!("natss://localhost:{}?prefix=a", server.port)).unwrap();
    address.ca_pem = Some(ca.pem());
    assert_eq!(bad(&check(&address).await), [""; 0]);
    let broker = NatsBroker::open(address.clone(), "test".to_owned());
    broker.until_there(LIMIT).await.unwrap();
    broker
        .publish(common::messages(&common::queue("ssh"), 0..1))
        .await
        .unwrap();
    for ca_pem in [Some(Authority::new().pem()), Some(b"nothing".to_vec())] {
        let other = Address {
            ca_pem,
            ..address.clone()
        };
        let why = why(&other).await;
        assert!(matches!(why, NatsError::Tls { .. }), "{why:?}");
        assert_eq!(bad(&check(&other).await), ["tls"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_heard_by_any_client_in_their_order() {
    use futures::StreamExt as _;
    let server = Server::start().await;
    let client = async_nats::connect(format!("127.0.0.1:{}", server.port))
        .await
        .unwrap();
    let mut heard = client.subscribe("lab.v1.>").await.unwrap();
    client.flush().await.unwrap();
    let broker = server.broker("lab").await;
    let told = (0..100)
        .map(|n| Told {
            topic: Topic::new(&["v1", "result", "rack.4", "a b"]),
            keep: Keep::No,
            body: n.to_string().into(),
        })
        .collect();
    broker.tell(told).await.unwrap();
    for n in 0..100 {
        let message = tokio::time::timeout(LIMIT, heard.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(message.subject.as_str(), "lab.v1.result.rack%2E4.a%20b");
        assert_eq!(message.payload, n.to_string());
    }
}

struct Authority {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap();
        let pem = pem.pem();
        Authority {
            pem,
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    fn pem(&self) -> Vec<u8> {
        self.pem.clone().into_bytes()
    }

    /// For localhost, with its key.
    fn certificate(&self) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}
