//! The suite that every broker must pass, and what goes wrong with one RabbitMQ that itself keeps running.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;
mod restart;

use base64::Engine as _;
use bytes::Bytes;
use common::proxy::Proxy;
use common::{LIMIT, Rabbit, address, collect, contact_until, numbers, open, queue, until};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use sengu_broker_amqp::{AmqpBroker, AmqpError, Timing, check};
use sengu_interconnect::address::Password;
use sengu_interconnect::contact::{Contact, Finding};
use sengu_interconnect::parked::Parked;
use sengu_interconnect::{
    Broker, BrokerError, MemoryBroker, Message, PairBroker, Queue, Tag, conformance,
};
use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// One for all tests here. It lives with a thread of its own, since it dies with the one that started it.
fn rabbit() -> &'static Rabbit {
    static RABBIT: OnceLock<Rabbit> = OnceLock::new();
    RABBIT.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            tell.send(Rabbit::start()).unwrap();
            loop {
                std::thread::park();
            }
        });
        told.recv().unwrap()
    })
}

/// A queue may wait for the server to notice who is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a call found the broker away.
fn why(error: &BrokerError) -> &AmqpError {
    let source = error.source().unwrap();
    source.downcast_ref::<AmqpError>().unwrap()
}

async fn plain_channel() -> (lapin::Connection, lapin::Channel) {
    let url = format!("amqp://sengu:right@127.0.0.1:{}/%2f", rabbit().port);
    let connection = lapin::Connection::connect(&url, Default::default()).await;
    let connection = connection.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_directory_beside_it_passes_the_suite() {
    let rabbit = rabbit();
    conformance::run(|| async {
        let queues = open(rabbit.address()).await;
        let directory = Arc::new(MemoryBroker::new());
        Arc::new(PairBroker { queues, directory }) as Arc<dyn Broker>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_it_takes_only_a_trusted_server() {
    let rabbit = rabbit();
    let mut address = rabbit.address_at(rabbit.tls_port);
    (address.tls, address.host) = (true, "localhost".to_owned());
    address.ca_pem = Some(rabbit.ca_pem.clone().into_bytes());
    let broker = open(address.clone()).await;
    broker.publish(numbers("w", 0..3)).await.unwrap();
    let mut all = broker.subscribe(queue("w"), 10).await.unwrap();
    assert_eq!(collect(all.as_mut(), 3).await, [0, 1, 2]);

    let strange = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    address.ca_pem = Some(strange.cert.pem().into_bytes());
    let broker = AmqpBroker::open(address.clone(), "test".to_owned());
    let refused = broker.until_there(LIMIT).await.unwrap_err();
    assert!(matches!(refused, AmqpError::Tls { .. }), "{refused:?}");
    assert_bad(&check(&address).await, "tls", "trust");
}

#[tokio::test]
async fn whoever_is_not_let_in_is_told_why() {
    let rabbit = rabbit();
    let at = |user: &str, vhost: &str| {
        address(&format!(
            "amqp://{user}:right@127.0.0.1:{}{vhost}",
            rabbit.port
        ))
    };
    let mut wrong = at("sengu", "");
    wrong.password = Some(Password::new("wr0ng-secret".to_owned()));
    let strange = at("stranger", "");
    let elsewhere = at("sengu", "/nowhere");
    for (address, what, part) in [
        (wrong, "sign in", "name and password"),
        (strange, "vhost", "refused for user 'stranger'"),
        (elsewhere, "vhost", "no vhost nowhere"),
    ] {
        let broker = AmqpBroker::open(address.clone(), "test".to_owned());
        let began = Instant::now();
        let why = broker.until_there(LIMIT).await.unwrap_err();
        assert!(why.is_lasting() && began.elapsed() < LIMIT, "{why:?}");
        assert!(why.text().contains(part), "{why:?}");
        let shown = format!("{why:?} {:?}", broker.contact().borrow());
        assert!(!shown.contains("wr0ng-secret"), "{shown}");
        assert_bad(&check(&address).await, what, part);
    }
    let nobody = address("amqp://sengu:right@127.0.0.1:1");
    assert_bad(&check(&nobody).await, "reach", "reach");
    assert!(
        !AmqpBroker::open(nobody, "test".to_owned())
            .until_there(Duration::from_millis(300))
            .await
            .unwrap_err()
            .is_lasting()
    );
}

fn assert_bad(findings: &[Finding], what: &str, part: &str) {
    let (bad, good) = findings.split_last().unwrap();
    assert!(bad.is_bad() && bad.what == what, "{findings:?}");
    assert!(format!("{bad:?}").contains(part), "{findings:?}");
    assert!(good.iter().all(|finding| !finding.is_bad()), "{findings:?}");
}

#[tokio::test]
async fn missing_permissions_are_told_and_nothing_is_changed() {
    let rabbit = rabbit();
    let mut address = rabbit.address();
    let findings = check(&address).await;
    assert!(
        findings.iter().all(|finding| !finding.is_bad()),
        "{findings:?}"
    );
    assert!(findings.iter().any(|f| f.what == "version"), "{findings:?}");

    address.user = Some("reader".to_owned());
    let findings = check(&address).await;
    let bad: Vec<_> = findings.iter().filter(|f| f.is_bad()).collect();
    let text = format!("{bad:?}");
    assert!(bad.len() == 1 && bad[0].what == "permissions", "{text}");
    assert!(
        text.contains("configure (") && text.contains("write ("),
        "{text}"
    );
    assert!(!text.contains("read ("), "{text}");

    let broker = open(address).await;
    let refused = broker.publish(numbers("w", 0..1)).await.unwrap_err();
    assert!(
        matches!(why(&refused), AmqpError::NotPermitted(_)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_queue_in_another_form_is_told_and_left_alone() {
    let (connection, channel) = plain_channel().await;
    let address = rabbit().address();
    let name = format!("{}.report", address.prefix);
    let declare = channel.queue_declare(
        name.as_str().into(),
        QueueDeclareOptions::durable(),
        FieldTable::default(),
    );
    declare.await.unwrap();
    let broker = open(address.clone()).await;
    let message = Message {
        queue: Queue::reports(),
        body: Bytes::from_static(b"x"),
    };
    let refused = broker.publish(vec![message]).await.unwrap_err();
    let why = why(&refused);
    assert!(matches!(why, AmqpError::QueueDiffers { .. }) && why.is_lasting());
    let text = why.text();
    assert!(
        text.contains(&name) && text.contains("inequivalent arg"),
        "{text}"
    );
    let subscribed = broker.subscribe(Queue::reports(), 1).await;
    assert!(subscribed.is_err());
    let findings = check(&address).await;
    assert_bad(&findings, "queues", "inequivalent arg");
    // Others are not held up.
    broker.publish(numbers("w", 0..1)).await.unwrap();
    drop(connection);
}

#[tokio::test]
async fn a_queue_that_went_is_made_again() {
    let (_connection, channel) = plain_channel().await;
    let address = rabbit().address();
    let broker = open(address.clone()).await;
    broker.publish(numbers("w", 0..2)).await.unwrap();
    let name = format!("{}.wee.w", address.prefix);
    let delete = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
    delete.await.unwrap();
    let mut both = numbers("w", 10..300);
    both.splice(5..5, numbers("other", 0..3));
    broker.publish(both).await.unwrap();
    let mut all = broker.subscribe(queue("w"), 1_000).await.unwrap();
    assert_eq!(
        collect(all.as_mut(), 290).await,
        (10..300).collect::<Vec<_>>()
    );
    assert_eq!(broker.depth(queue("other")).await.unwrap(), 3);

    // With somebody there, too: the subscription is over, and the next one works.
    let delete = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
    delete.await.unwrap();
    let over = tokio::time::timeout(LIMIT, all.receive(1)).await.unwrap();
    assert!(matches!(over, Err(BrokerError::Away(_))));
    let mut all = broker.subscribe(queue("w"), 10).await.unwrap();
    broker.publish(numbers("w", 0..1)).await.unwrap();
    assert_eq!(collect(all.as_mut(), 1).await, [0]);
}

#[tokio::test]
async fn a_queue_that_nobody_uses_goes_and_comes_back() {
    let (_connection, channel) = plain_channel().await;
    let address = rabbit().address();
    // Long enough to publish and to subscribe.
    let unused_max = Duration::from_secs(5);
    let timing = Timing {
        queue_unused_max: unused_max,
        kept_after: Duration::ZERO,
    };
    let broker = AmqpBroker::open_with(address.clone(), "test".to_owned(), timing);
    broker.until_there(LIMIT).await.unwrap();
    broker.publish(numbers("w", 0..1)).await.unwrap();
    let _ = channel;
    until("it is gone", async || {
        broker.depth(queue("w")).await.unwrap() == 0
    })
    .await;
    broker.publish(numbers("w", 7..8)).await.unwrap();
    let mut all = broker.subscribe(queue("w"), 10).await.unwrap();
    assert_eq!(collect(all.as_mut(), 1).await, [7]);
}

#[tokio::test]
async fn what_kills_whoever_takes_it_is_parked() {
    let broker = open(rabbit().address()).await;
    let poison = Message {
        queue: queue("w"),
        body: Bytes::from_static(b"\xffpoison"),
    };
    broker.publish(vec![poison]).await.unwrap();
    let mut parked = broker.subscribe(Queue::parked(), 10).await.unwrap();
    let mut victim = broker.subscribe(queue("w"), 1).await.unwrap();
    let dies = async {
        loop {
            let some = victim.receive(1).await.unwrap();
            victim.redeliver(&[some[0].tag]).unwrap();
        }
    };
    let told = tokio::select! {
        told = tokio::time::timeout(LIMIT, parked.receive(1)) => told.unwrap().unwrap(),
        () = dies => unreachable!(),
    };
    let told: Parked = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!((told.v, &*told.queue, told.bytes), (1, "wee.w", 7));
    assert!(told.reason.contains("times"), "{told:?}");
    let body = base64::prelude::BASE64_STANDARD
        .decode(&*told.body)
        .unwrap();
    assert_eq!(body, b"\xffpoison");
}

#[tokio::test]
async fn credit_that_goes_up_and_down_is_kept() {
    let broker = open(rabbit().address()).await;
    broker.publish(numbers("w", 0..200)).await.unwrap();
    let mut all = broker.subscribe(queue("w"), 0).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(300), all.receive(9)).await;
    assert!(nothing.is_err(), "no credit");
    assert_eq!(
        broker.depth(queue("w")).await.unwrap(),
        200,
        "and none kept from others"
    );
    let mut got = 0;
    for credit in [8, 3, 16, 1, 30, 2].into_iter().cycle() {
        all.set_credit(credit);
        let some = tokio::time::timeout(LIMIT, all.receive(50)).await;
        let some = some.unwrap().unwrap();
        assert!(some.len() <= credit as usize, "{} of {credit}", some.len());
        got += some.len();
        let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
        all.ack(&tags).unwrap();
        if got == 200 {
            break;
        }
    }
    drop(all);
    until("all are acked", async || {
        broker.depth(queue("w")).await.unwrap() == 0
    })
    .await;
    let mut rest = broker.subscribe(queue("w"), 10).await.unwrap();
    let more = tokio::time::timeout(Duration::from_millis(300), rest.receive(1)).await;
    assert!(more.is_err(), "each came once");
}

#[tokio::test]
async fn the_directory_is_anothers() {
    let broker = open(rabbit().address()).await;
    let refused = broker.retain("a".to_owned(), None).await.unwrap_err();
    assert!(matches!(why(&refused), AmqpError::NoDirectory));
    assert!(broker.directory(String::new()).await.is_err());
    assert!(broker.lacks()[0].contains("directory"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_cut_is_noticed_in_both_directions_and_in_each() {
    let rabbit = rabbit();
    let cut = |to_server: bool, to_client: bool| async move {
        let proxy = Proxy::open(rabbit.port).await;
        let broker = open(rabbit.address_at(proxy.port)).await;
        let mut all = broker.subscribe(queue("w"), 10).await.unwrap();
        broker.publish(numbers("w", 0..1)).await.unwrap();
        assert_eq!(collect(all.as_mut(), 1).await, [0]);
        proxy.silence.to_server.store(to_server, Ordering::SeqCst);
        proxy.silence.to_client.store(to_client, Ordering::SeqCst);
        let began = Instant::now();
        let lost = broker.publish(numbers("w", 1..2)).await;
        assert!(matches!(lost, Err(BrokerError::Away(_))), "{lost:?}");
        assert!(began.elapsed() < LIMIT, "a bounded wait");
        let over = tokio::time::timeout(LIMIT * 2, all.receive(1)).await;
        assert!(matches!(over.unwrap(), Err(BrokerError::Away(_))));
        contact_until(broker.as_ref(), LIMIT, |c| {
            matches!(c, Contact::Away { .. })
        })
        .await;
        proxy.silence.to_server.store(false, Ordering::SeqCst);
        proxy.silence.to_client.store(false, Ordering::SeqCst);
        contact_until(broker.as_ref(), LIMIT * 2, |c| *c == Contact::There).await;
        broker.publish(numbers("w", 2..3)).await.unwrap();
        let mut all = broker.subscribe(queue("w"), 10).await.unwrap();
        // The server may give it to whom it does not know to be gone yet, and again when it does.
        let newest = async {
            while common::collect_within(all.as_mut(), 1, PATIENCE)
                .await
                .last()
                != Some(&2)
            {}
        };
        assert!(
            tokio::time::timeout(PATIENCE, newest).await.is_ok(),
            "the newest comes"
        );
    };
    tokio::join!(cut(true, true), cut(true, false), cut(false, true));
}
