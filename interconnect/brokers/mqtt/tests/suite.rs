#![allow(clippy::unwrap_used)]
//! The suite that every broker must pass: in one process, and between two that share nothing but Mosquitto.

mod common;

use bytes::Bytes;
use common::Mosquitto;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use sengu_broker_mqtt::MqttBroker;
use sengu_interconnect::{
    Broker, BrokerError, Directory, Message, Queue, Subscription, conformance,
};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_process() {
    let all = Mutex::new(Vec::new());
    conformance::run(|| async {
        let mosquitto = Mosquitto::start("").await;
        let broker = mosquitto.open("suite").await;
        all.lock().push(mosquitto);
        broker as Arc<dyn Broker>
    })
    .await;
}

/// Publishes here and subscribes there.
struct Two {
    here: Arc<MqttBroker>,
    there: Arc<MqttBroker>,
}

impl Broker for Two {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.here.publish(batch)
    }
    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        self.there.subscribe(queue, credit)
    }
    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        self.here.depth(queue)
    }
    fn retain(&self, key: String, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.here.retain(key, value)
    }
    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        self.there.directory(prefix)
    }
    fn lacks(&self) -> Vec<String> {
        self.here.lacks()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_processes() {
    let all = Mutex::new(Vec::new());
    conformance::run(|| async {
        let mosquitto = Mosquitto::start("").await;
        let (here, there) = (mosquitto.open("here").await, mosquitto.open("there").await);
        all.lock().push(mosquitto);
        Arc::new(Two { here, there }) as Arc<dyn Broker>
    })
    .await;
}
