#![allow(clippy::unwrap_used)]
//! Who follows with a client that nobody here wrote, and whom a broker lets in.

mod common;

use bytes::Bytes;
use common::{
    LIMIT, Line, LineState, Mosquitto, QUICK, address, is_away, open, there, value, within,
};
use sengu_broker_mqtt::{MqttBroker, MqttError, check};
use sengu_interconnect::address::{Address, Password};
use sengu_interconnect::contact::{Contact, Verdict};
use sengu_interconnect::events::{Followers, Keep, Told, Topic};
use sengu_interconnect::{Broker, BrokerError};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

fn told(levels: &[&str], keep: Keep, body: &str) -> Told {
    Told {
        topic: Topic::new(levels),
        keep,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn sub(port: u16, more: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new("mosquitto_sub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-q",
            "1",
            "-F",
            "%t %r %p",
        ])
        .args(more)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("mosquitto_sub is installed (see test-needs.toml)");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_in_order_and_the_latest_waits_for_those_who_come_later() {
    // The broker drops what a slow follower's queue has no room for; by default that is all after 1,000.
    let mosquitto = Mosquitto::start("max_queued_messages 3000").await;
    let broker = mosquitto.open("a").await;
    broker
        .tell(vec![told(&["v1", "state", "a"], Keep::Latest, "before")])
        .await
        .unwrap();
    let (_child, mut lines) = sub(mosquitto.port, &["-t", "sengu/v1/#"]);
    let line = within("the latest", lines.next_line())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(line, "sengu/v1/state/a 1 before");
    let batch = (0..2_000).map(|n| told(&["v1", "result", "+#$/é"], Keep::No, &n.to_string()));
    within("all are taken", broker.tell(batch.collect()))
        .await
        .unwrap();
    for n in 0..2_000 {
        let line = within("an event", lines.next_line())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(line, format!("sengu/v1/result/%2B%23%24%2F%C3%A9 0 {n}"));
    }
    broker
        .tell(vec![told(&["v1", "state", "a"], Keep::Latest, "")])
        .await
        .unwrap();
    let (_child, mut late) = sub(mosquitto.port, &["-t", "sengu/v1/state/#", "-W", "1"]);
    assert_eq!(within("its end", late.next_line()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telling_never_waits_for_ever_and_goes_on_when_the_broker_is_back() {
    let mut mosquitto = Mosquitto::start("").await;
    let line = Line::to(mosquitto.port).await;
    let broker = open(address(line.port), "a").await;
    line.set(LineState::Silent);
    let batch = || {
        (0..500)
            .map(|n| told(&["v1", "x"], Keep::No, &n.to_string()))
            .collect()
    };
    let error = within("its end", broker.tell(batch())).await.unwrap_err();
    assert!(is_away(&error), "{error}");
    there(&broker, false).await;
    let began = std::time::Instant::now();
    assert!(is_away(&broker.tell(batch()).await.unwrap_err()));
    assert!(began.elapsed() < QUICK.call_max, "at once while it is away");
    line.set(LineState::Open);
    there(&broker, true).await;
    broker.tell(batch()).await.unwrap();
    line.set(LineState::Cut);
    there(&broker, false).await;
    line.set(LineState::Open);
    there(&broker, true).await;
    mosquitto.kill();
    there(&broker, false).await;
    assert!(matches!(&*broker.contact().borrow(), Contact::Away { why, .. } if !why.is_empty()));
    mosquitto.again().await;
    there(&broker, true).await;
    broker.tell(batch()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_too_large_takes_no_other_with_it() {
    let mosquitto = Mosquitto::start("max_packet_size 2000").await;
    let broker = mosquitto.open("a").await;
    let large = "x".repeat(3_000);
    let batch = [("a", "1"), ("b", large.as_str()), ("c", "3")];
    let batch = batch
        .map(|(at, body)| told(&["v1", at], Keep::Latest, body))
        .to_vec();
    let error = broker.tell(batch).await.unwrap_err();
    assert!(
        matches!(
            error,
            BrokerError::TooLarge {
                bytes_max: 2_000,
                ..
            }
        ),
        "{error}"
    );
    let (_child, mut lines) = sub(mosquitto.port, &["-t", "sengu/v1/#", "-C", "2"]);
    for at in ["a 1 1", "c 1 3"] {
        let line = within("it is kept", lines.next_line())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(line, format!("sengu/v1/{at}"));
    }
}

fn bad(findings: &[sengu_interconnect::contact::Finding], what: &str) -> bool {
    findings.iter().any(|f| f.what == what && f.is_bad())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_knows_the_password_gets_in_and_only_where_he_may() {
    let folder = tempfile::tempdir().unwrap();
    let (users, rights) = (folder.path().join("users"), folder.path().join("rights"));
    for (user, more) in [("sengu", &["-c"][..]), ("guest", &[])] {
        let made = std::process::Command::new("mosquitto_passwd")
            .args(more)
            .arg("-b")
            .arg(&users)
            .args([user, "p@ss word"])
            .status();
        assert!(made.unwrap().success());
    }
    std::fs::write(
        &rights,
        "user sengu\ntopic readwrite sengu/#\nuser guest\ntopic read sengu/#\n",
    )
    .unwrap();
    let who = format!(
        "password_file {}\nacl_file {}",
        users.display(),
        rights.display()
    );
    let mosquitto = Mosquitto::start_in(folder, &who, "").await;
    let with = |user: Option<&str>, password: Option<&str>| {
        let mut address = mosquitto.address();
        address.user = user.map(str::to_owned);
        address.password = password.map(|p| Password::new(p.to_owned()));
        address
    };
    let right = with(Some("sengu"), Some("p@ss word"));
    let broker = open(right.clone(), "a").await;
    broker.retain("wee/a".to_owned(), value("1")).await.unwrap();
    let mut directory = broker.directory(String::new()).await.unwrap();
    assert_eq!(directory.next().await.unwrap().len(), 1);
    assert!(check(&right).await.iter().all(|finding| !finding.is_bad()));
    // Nothing was left behind by looking.
    let mut again = broker.directory(String::new()).await.unwrap();
    assert_eq!(again.next().await.unwrap().len(), 1);

    let began = std::time::Instant::now();
    for address in [
        with(Some("sengu"), Some("secret1")),
        with(Some("no"), Some("secret1")),
        with(None, None),
    ] {
        assert!(bad(&check(&address).await, "sign in"));
        let broker = MqttBroker::open_at(address, "b".to_owned(), QUICK);
        let why = broker.until_there(LIMIT).await.unwrap_err();
        assert!(
            matches!(*why, MqttError::SignIn | MqttError::NotAuthorised),
            "{}",
            why.text()
        );
        let shown = format!("{why:?} {} {:?}", why.text(), *broker.contact().borrow());
        assert!(!shown.contains("secret1"), "{shown}");
    }
    assert!(began.elapsed() < LIMIT, "waiting does not mend it");

    let guest = with(Some("guest"), Some("p@ss word"));
    assert!(bad(&check(&guest).await, "permissions"));
    let broker = open(guest, "c").await;
    let error = broker
        .retain("wee/a".to_owned(), value("2"))
        .await
        .unwrap_err();
    assert!(is_away(&error), "{error}");
    let told = broker.tell(vec![told(&["v1", "x"], Keep::No, "1")]).await;
    assert!(is_away(&told.unwrap_err()));
    assert_eq!(*broker.contact().borrow(), Contact::There);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_checked_by_authority_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(path("cert"), made.cert.pem()).unwrap();
    std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    let tls = format!(
        "certfile {}\nkeyfile {}",
        path("cert").display(),
        path("key").display()
    );
    let mosquitto = Mosquitto::start_in(folder, "allow_anonymous true", &tls).await;
    let at = |scheme: &str, host: &str, ca: &str| {
        let text = format!("{scheme}://{host}:{}", mosquitto.port);
        let mut address = Address::parse(&text).unwrap();
        address.ca_pem = Some(ca.as_bytes().to_vec());
        address
    };
    let right = at("mqtts", "localhost", &made.cert.pem());
    let broker = open(right.clone(), "a").await;
    broker.retain("wee/a".to_owned(), value("1")).await.unwrap();
    let findings = check(&right).await;
    assert!(
        findings.iter().all(|finding| !finding.is_bad()),
        "{findings:?}"
    );
    for wrong in [
        at("mqtts", "localhost", &stranger.cert.pem()),
        at("mqtts", "127.0.0.1", &made.cert.pem()),
        at("mqtts", "localhost", "no certificate"),
    ] {
        let broker = MqttBroker::open_at(wrong.clone(), "b".to_owned(), QUICK);
        let why = broker.until_there(LIMIT).await.unwrap_err();
        assert!(why.is_hopeless(), "{}", why.text());
        assert!(check(&wrong).await.iter().any(|finding| finding.is_bad()));
    }
    // Plain words to a TLS port.
    assert!(
        check(&at("mqtt", "localhost", ""))
            .await
            .iter()
            .any(|finding| finding.is_bad())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_tells_what_is_poor_and_what_is_not_there() {
    let mosquitto = Mosquitto::start("max_packet_size 65536\nretain_available false").await;
    let findings = check(&mosquitto.address()).await;
    assert!(bad(&findings, "retained"), "{findings:?}");
    let poor = findings
        .iter()
        .filter(|f| matches!(f.verdict, Verdict::Poor(_)));
    let poor: Vec<_> = poor.map(|f| f.what).collect();
    assert_eq!(poor, ["packet size", "receive maximum"]);
    let broker = MqttBroker::open_at(mosquitto.address(), "b".to_owned(), QUICK);
    let why = broker.until_there(LIMIT).await.unwrap_err();
    assert!(matches!(*why, MqttError::NoRetained), "{}", why.text());
    let nobody = sengu_testing::free_port();
    assert!(bad(&check(&address(nobody)).await, "reach"));
}
