//! The port's suite against a real server.

#![allow(clippy::unwrap_used)]

mod common;

use common::Server;
use sengu_interconnect::{Broker, conformance};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite() {
    let server = Server::start().await;
    let opened = AtomicU32::new(0);
    // An installation of its own for each part: an empty broker.
    conformance::run(|| async {
        let nth = opened.fetch_add(1, Ordering::Relaxed);
        server.broker(&format!("s{nth}")).await as Arc<dyn Broker>
    })
    .await;
}
