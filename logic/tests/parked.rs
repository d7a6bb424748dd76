//! What nobody can make sense of is kept for people with the reason, and work goes on.

mod support;

use bytes::Bytes;
use sengu_interconnect::parked::{Parked, parked_body};
use sengu_interconnect::{Broker, Message, Queue};
use sengu_model::Class;
use support::{Bench, done, until};

async fn parked(bench: &Bench) -> Vec<(String, String, u64)> {
    let entries = bench
        .store
        .entries("parked", 0, 0, 100)
        .await
        .expect("the stream");
    let read = |e: sengu_store::Entry| {
        let parked: Parked = serde_json::from_slice(&e.body).expect("what is kept is understood");
        (
            parked.queue.into_owned(),
            parked.reason.into_owned(),
            parked.bytes,
        )
    };
    let mut all: Vec<_> = entries.into_iter().map(read).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_any_queue_of_logic_is_put_aside_and_work_goes_on() {
    let mut bench = Bench::new(1, 1).await;
    let put = |queue: Queue, body: &[u8]| Message {
        queue,
        body: Bytes::copy_from_slice(body),
    };
    let aside = parked_body("task.z.k.1.control", "why not", 5, b"{}");
    let batch = vec![
        put(Queue::reports(), b"\xFF\x00 no report"),
        put(
            Queue::reports(),
            b"{\"v\":99,\"wee\":\"w\",\"life\":1,\"items\":[]}",
        ),
        put(Queue::blobs(), b"[]"),
        put(Queue::parked(), &aside),
        put(Queue::parked(), b"}"),
    ];
    bench.broker.publish(batch).await.unwrap();
    until("all five are kept", async || {
        parked(&bench).await.len() == 5
    })
    .await;
    let all = parked(&bench).await;
    let queues: Vec<&str> = all.iter().map(|p| p.0.as_str()).collect();
    let wanted = ["blob", "parked", "report", "report", "task.z.k.1.control"];
    assert_eq!(queues, wanted, "{all:?}");
    assert_eq!(all[4].1, "why not");
    assert!(
        all[2..4].iter().any(|p| p.1.contains("version 99")),
        "{all:?}"
    );
    let id = bench.create("set", &["t0"]).await[0];
    let sent = bench.take(Class::Control).await;
    bench.end(&sent, &done()).await;
    assert_eq!(bench.ended(id).await, "done");
    for queue in [Queue::reports(), Queue::blobs(), Queue::parked()] {
        until("it is acked", async || {
            bench.broker.depth(queue.clone()).await.unwrap() == 0
        })
        .await;
    }
}
