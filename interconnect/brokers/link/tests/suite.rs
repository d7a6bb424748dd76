//! The suite that every broker must pass, over each kind of stream.

mod common;

use common::{QUICK, Served, token};
use parking_lot::Mutex;
use sengu_broker_link::LinkBroker;
use sengu_interconnect::{Broker, conformance};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_unix_socket() {
    let all = Mutex::new(Vec::new());
    conformance::run(|| async {
        let served = Served::unix().await;
        let broker = served.join("suite");
        all.lock().push(served);
        broker as Arc<dyn Broker>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp() {
    let all = Mutex::new(Vec::new());
    conformance::run(|| async {
        let served = Served::tcp().await;
        let broker = served.join("suite");
        all.lock().push(served);
        broker as Arc<dyn Broker>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls() {
    let all = Mutex::new(Vec::new());
    conformance::run(|| async {
        let (served, ca) = Served::tls("localhost").await;
        let (url, name) = (served.url.clone(), "suite".to_owned());
        let broker = LinkBroker::connect_at(url, name, token(), Some(ca), QUICK);
        all.lock().push(served);
        broker as Arc<dyn Broker>
    })
    .await;
}
