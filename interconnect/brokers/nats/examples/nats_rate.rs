//! Rates of 1 KiB messages: the bare client (publish and confirm, many at once), and through the port (publish alone,
//! and publish + receive + ack), on a server of its own. `cargo run --release --example nats_rate [messages]`.

#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use bytes::Bytes;
use common::{Server, queue};
use sengu_interconnect::{Broker, Message, Tag};
use std::time::Instant;

const BODY: usize = 1_024;
const AT_ONCE: usize = 256;

#[tokio::main]
async fn main() {
    let count: usize = std::env::args()
        .nth(1)
        .map_or(100_000, |n| n.parse().unwrap());
    let server = Server::start().await;
    let body = Bytes::from(vec![7; BODY]);

    let client = async_nats::connect(format!("127.0.0.1:{}", server.port))
        .await
        .unwrap();
    let js = async_nats::jetstream::new(client);
    let stream = async_nats::jetstream::stream::Config {
        name: "raw".to_owned(),
        subjects: vec!["raw.*".to_owned()],
        retention: async_nats::jetstream::stream::RetentionPolicy::WorkQueue,
        ..Default::default()
    };
    js.create_stream(stream).await.unwrap();
    let began = Instant::now();
    let mut confirms = std::collections::VecDeque::new();
    for _ in 0..count {
        if confirms.len() >= AT_ONCE {
            let confirm: async_nats::jetstream::context::PublishAckFuture =
                confirms.pop_front().unwrap();
            confirm.await.unwrap();
        }
        confirms.push_back(js.publish("raw.a", body.clone()).await.unwrap());
    }
    for confirm in confirms {
        confirm.await.unwrap();
    }
    let raw = rate(count, began);
    println!("bare client, publish + confirm, {AT_ONCE} at once: raw {raw:.0}/s");

    let broker = server.broker("rate").await;
    let batch = |name: &str| -> Vec<Message> {
        let one = Message {
            queue: queue(name),
            body: body.clone(),
        };
        vec![one; AT_ONCE]
    };
    let rounds = count / AT_ONCE;
    let began = Instant::now();
    for _ in 0..rounds {
        broker.publish(batch("alone")).await.unwrap();
    }
    let alone = rate(rounds * AT_ONCE, began);
    println!(
        "port, publish in batches of {AT_ONCE}, one after the other: {alone:.0}/s, {:.2} of bare",
        alone / raw
    );

    let mut subscription = broker.subscribe(queue("both"), 1_024).await.unwrap();
    let began = Instant::now();
    let publish = async {
        for _ in 0..rounds {
            broker.publish(batch("both")).await.unwrap();
        }
    };
    let receive = async {
        let mut got = 0;
        while got < rounds * AT_ONCE {
            let some = subscription.receive(AT_ONCE).await.unwrap();
            let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
            subscription.ack(&tags).unwrap();
            got += some.len();
        }
    };
    tokio::join!(publish, receive);
    let both = rate(rounds * AT_ONCE, began);
    println!(
        "port, publish + receive + ack: {both:.0}/s, {:.2} of bare",
        both / raw
    );
}

fn rate(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}
