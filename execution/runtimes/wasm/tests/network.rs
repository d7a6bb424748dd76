//! Where a guest can go: to its target, in the way that the target's record says, and nowhere else.

#![allow(clippy::unwrap_used)] // The servers are part of the tests.

mod guest;

use guest::{Live, Place, SPEAKER, component};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A server on loopback that answers by the path.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// SHA-256 of its certificate and the certificate itself, where it speaks TLS.
    certificate: Option<(String, String)>,
}

impl Server {
    async fn start(tls: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (acceptor, certificate) = match tls {
            true => {
                let (acceptor, pin, pem) = acceptor();
                (Some(acceptor), Some((pin, pem)))
            }
            false => (None, None),
        };
        let server = Server {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            requests: Arc::default(),
            certificate,
        };
        let (connections, requests) = (server.connections.clone(), server.requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, requests) = (acceptor.clone(), requests.clone());
                tokio::spawn(async move {
                    match acceptor {
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, requests).await;
                            }
                        }
                        None => serve(stream, requests).await,
                    }
                });
            }
        });
        server
    }

    fn http(&self) -> Value {
        json!({
            "name": "one", "address": format!("http://127.0.0.1:{}", self.port),
            "config": {"tls": {"plain": true}},
        })
    }

    fn https(&self, config: Value, identity: Value) -> Value {
        json!({
            "name": "one", "address": format!("https://localhost:{}/", self.port),
            "config": config, "identity": identity,
        })
    }

    fn seen(&self) -> (usize, usize) {
        let count = |n: &AtomicUsize| n.load(Ordering::SeqCst);
        (count(&self.connections), count(&self.requests))
    }
}

fn acceptor() -> (tokio_rustls::TlsAcceptor, String, String) {
    use sha2::Digest;
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let der = made.cert.der().clone();
    let digest = sha2::Sha256::digest(&der);
    let pin = digest.iter().map(|b| format!("{b:02x}")).collect();
    let pem = made.cert.pem();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der], key)
        .unwrap();
    (Arc::new(config).into(), pin, pem)
}

async fn serve(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    requests: Arc<AtomicUsize>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line.to_lowercase());
        }
        requests.fetch_add(1, Ordering::SeqCst);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        let path = head
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let (status, extra, body) = match path.as_str() {
            "/head" => (200, "", Value::from(head).to_string()),
            "/body" => (
                201,
                "",
                Value::from(String::from_utf8(body).unwrap()).to_string(),
            ),
            "/away" => (302, "location: http://127.0.0.1:1/\r\n", "0".to_owned()),
            "/large" => (200, "", format!("\"{}\"", "x".repeat(200_000))),
            "/cut" => return,
            "/slow" => return std::future::pending().await,
            _ => (404, "", "0".to_owned()),
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\n{extra}content-length: {length}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn live(place: &Place) -> (sengu_runtime_wasm::WasmRuntime, Live) {
    let runtime = place.runtime();
    let live = Live::start(&runtime, place.image()).await;
    (runtime, live)
}

/// The two digits and the text of a refusal of the guest: which error it was given.
fn error(outcome: &Value) -> (&str, &str) {
    let message = outcome["message"].as_str().unwrap_or_default();
    assert_eq!(outcome["code"], "refused", "{outcome}");
    message.split_once(' ').expect("two digits")
}

const NOT_SENT_REFUSED: &str = "00";
const NOT_SENT_UNREACHABLE: &str = "01";
const NOT_SENT_MISMATCH: &str = "02";
const SILENT: &str = "19";
const CUT: &str = "29";
const GARBLED: &str = "39";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_to_the_target_over_kept_connections() {
    let server = Server::start(false).await;
    let place = Place::new(&component(SPEAKER));
    let (_runtime, mut live) = live(&place).await;
    let got = live.call("get", json!("/head"), server.http()).await;
    let head = got["result"][1].as_str().unwrap();
    assert!(head.starts_with("get /head http/1.1\r\n"), "{head}");
    let host = format!("host: 127.0.0.1:{}\r\n", server.port);
    assert!(
        head.contains(&host) && head.contains("x-guest: on purpose\r\n"),
        "{head}"
    );
    let posted = live.call("post", json!("/body"), server.http()).await;
    assert_eq!(posted["result"], json!([201, "on purpose"]));
    let away = live.call("get", json!("/away"), server.http()).await;
    assert_eq!(
        away["result"],
        json!([302, 0]),
        "redirects are not followed"
    );
    assert_eq!(server.seen(), (1, 3), "one connection served them all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_lead_elsewhere_is_refused_before_anything_is_sent() {
    let server = Server::start(false).await;
    let place = Place::new(&component(SPEAKER));
    let (_runtime, mut live) = live(&place).await;
    // The second letter being f, the guest sends a Host header of its own.
    for path in [
        "/forbidden",
        "http://127.0.0.1:1/",
        "//127.0.0.1:1/x y",
        "*",
        "no-slash",
        "/a b",
    ] {
        let outcome = live.call("get", json!(path), server.http()).await;
        assert_eq!(error(&outcome).0, NOT_SENT_REFUSED, "{path}: {outcome}");
    }
    for (address, config) in [
        ("ssh://127.0.0.1:22", json!({})),
        ("http://127.0.0.1:80", json!({})),
        ("https://127.0.0.1:1", json!({"tls": {"plain": true}})),
        ("any text", json!({})),
    ] {
        let target = json!({"name": "one", "address": address, "config": config});
        let outcome = live.call("get", json!("/"), target).await;
        assert_eq!(error(&outcome).0, NOT_SENT_REFUSED, "{address}");
    }
    assert_eq!(server.seen(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_is_told_apart_by_whether_it_had_left() {
    let server = Server::start(false).await;
    let place = Place::new(&component(SPEAKER));
    let (_runtime, mut live) = live(&place).await;
    let nobody = json!({
        "name": "one", "address": "http://127.0.0.1:1", "config": {"tls": {"plain": true}},
    });
    let outcome = live.call("get", json!("/"), nobody.clone()).await;
    assert_eq!(error(&outcome).0, NOT_SENT_UNREACHABLE);
    let outcome = live.call("post", json!("/cut"), server.http()).await;
    assert_eq!(error(&outcome).0, CUT);
    let outcome = live.call("get", json!("/large"), server.http()).await;
    assert_eq!(error(&outcome).0, GARBLED);
    live.begin_for("post", json!("/slow"), server.http(), 400)
        .await;
    let outcome = live.outcome().await;
    assert_eq!(error(&outcome).0, SILENT, "and there is time to say so");
    // A crash after something was sent leaves open what happened; before, it does not.
    let outcome = live.call("post-trap", json!("/body"), server.http()).await;
    assert_eq!(outcome["status"], "unknown", "{outcome}");
    let outcome = live.call("post-trap", json!("/body"), nobody).await;
    assert_eq!(outcome["code"], "crashed", "{outcome}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_checked_by_the_host() {
    let server = Server::start(true).await;
    let (pin, pem) = server.certificate.clone().unwrap();
    let place = Place::new(&component(SPEAKER));
    let (_runtime, mut live) = live(&place).await;
    for (config, identity) in [
        (json!({}), json!({"certSha256": pin})),
        (json!({"tls": {"ca": pem}}), json!({})),
        (json!({"tls": {"insecure": true}}), json!({})),
    ] {
        let target = server.https(config.clone(), identity);
        let got = live.call("get", json!("/head"), target).await;
        assert_eq!(got["result"][0], 200, "{config}: {got}");
    }
    let requests = server.seen().1;
    let wrong = "ab".repeat(32);
    let target = server.https(
        json!({"tls": {"insecure": true}}),
        json!({"certSha256": wrong}),
    );
    let outcome = live.call("get", json!("/head"), target).await;
    let (which, message) = error(&outcome);
    assert_eq!(which, NOT_SENT_MISMATCH);
    assert!(message.contains(&pin), "{message}");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let config = json!({"tls": {"ca": other.cert.pem()}});
    let outcome = live
        .call("get", json!("/head"), server.https(config, json!({})))
        .await;
    assert_eq!(error(&outcome).0, NOT_SENT_MISMATCH);
    let outcome = live
        .call("get", json!("/head"), server.https(json!({}), json!({})))
        .await;
    let (which, message) = error(&outcome);
    assert_eq!(which, NOT_SENT_REFUSED);
    assert!(
        message.contains(&pin),
        "the fingerprint is shown: {message}"
    );
    assert_eq!(
        server.seen().1,
        requests,
        "no request was sent to a stranger"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_goes_to_the_targets_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let place = Place::new(&component(SPEAKER));
    let (_runtime, mut live) = live(&place).await;
    let target = json!({"name": "one", "address": address});
    let answer = async {
        let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
        let mut read = [0; 7];
        stream.read_exact(&mut read).await.unwrap();
        stream.write_all(b"[1,2]").await.unwrap();
        // The guest has closed it by the end of its task.
        let mut one = [0];
        let closed = stream.read(&mut one);
        let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
        assert_eq!(closed.unwrap().unwrap(), 0);
        read
    };
    let (outcome, read) = tokio::join!(live.call("tcp", json!({"a": 1}), target), answer);
    assert_eq!((&read, &outcome["result"]), (b"{\"a\":1}", &json!([1, 2])));
    drop(listener);
    let target = json!({"name": "one", "address": address});
    let outcome = live.call("tcp", json!({}), target).await;
    assert_eq!(error(&outcome).0, NOT_SENT_UNREACHABLE);
    let target = json!({"name": "one", "address": "127.0.0.1"});
    let outcome = live.call("tcp", json!({}), target).await;
    assert_eq!(
        error(&outcome).0,
        NOT_SENT_REFUSED,
        "without a port it goes nowhere"
    );
}
