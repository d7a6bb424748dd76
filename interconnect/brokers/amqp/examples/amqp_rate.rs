//! What the port costs beside plain lapin, against a RabbitMQ that runs already, in the same run: confirmed publish and
//! ack of persistent messages in a quorum queue, 256 in flight.
//!
//!     cargo run --release -p sengu-broker-amqp --example amqp_rate amqp://guest@localhost [messages] [bytes]

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use sengu_broker_amqp::AmqpBroker;
use sengu_interconnect::address::Address;
use sengu_interconnect::{Broker, Message, Queue, Tag};
use std::error::Error;
use std::time::{Duration, Instant};

const IN_FLIGHT: usize = 256;
/// Batches under way through the port, so that as many messages are in flight.
const BATCHES: usize = 4;

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Done<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .unwrap_or_else(|| "amqp://localhost".to_owned());
    let mut number = |default: usize| match arguments.next() {
        Some(text) => text.parse(),
        None => Ok(default),
    };
    let (messages, bytes) = (number(30_000)?, number(1_024)?);
    for _ in 0..3 {
        let raw = raw(&url, messages, bytes).await?;
        let port = port(&url, messages, bytes).await?;
        println!(
            "{messages} of {bytes} bytes: raw {raw:.0}/s, port {port:.0}/s, ratio {:.2}",
            port / raw
        );
    }
    Ok(())
}

async fn raw(url: &str, messages: usize, bytes: usize) -> Done<f64> {
    let connect = || Connection::connect(url, ConnectionProperties::default());
    let (publishing, consuming) = (connect().await?, connect().await?);
    let (publish, consume) = (
        publishing.create_channel().await?,
        consuming.create_channel().await?,
    );
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let name = "sengu-rate-raw";
    let declare = publish.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments);
    declare.await?;
    publish
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    consume.basic_qos(2_000, BasicQosOptions::default()).await?;
    let none = FieldTable::default();
    let options = BasicConsumeOptions::default();
    let mut consumer = consume
        .basic_consume(name.into(), "rate".into(), options, none)
        .await?;
    let body = vec![7; bytes];
    let began = Instant::now();
    let sent = async {
        let mut confirms = FuturesUnordered::new();
        for _ in 0..messages {
            if confirms.len() >= IN_FLIGHT
                && let Some(confirmed) = confirms.next().await
            {
                confirmed?;
            }
            let properties = BasicProperties::default().with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            let sent = publish.basic_publish("".into(), name.into(), options, &body, properties);
            confirms.push(sent.await?);
        }
        while let Some(confirmed) = confirms.next().await {
            confirmed?;
        }
        Ok::<_, lapin::Error>(())
    };
    let received = async {
        for _ in 0..messages {
            if let Some(delivery) = consumer.next().await {
                delivery?.ack(BasicAckOptions::default()).await?;
            }
        }
        Ok::<_, lapin::Error>(())
    };
    futures::future::try_join(sent, received).await?;
    let rate = messages as f64 / began.elapsed().as_secs_f64();
    publish
        .queue_delete(name.into(), QueueDeleteOptions::default())
        .await?;
    Ok(rate)
}

async fn port(url: &str, messages: usize, bytes: usize) -> Done<f64> {
    let broker = AmqpBroker::open(Address::parse(url)?, "rate".to_owned());
    broker.until_there(Duration::from_secs(5)).await?;
    let queue = Queue::wee("rate");
    let mut subscription = broker.subscribe(queue.clone(), 2_000).await?;
    let message = Message {
        queue,
        body: Bytes::from(vec![7; bytes]),
    };
    let began = Instant::now();
    let sent = async {
        let mut batches = FuturesUnordered::new();
        let batch = IN_FLIGHT / BATCHES;
        for first in (0..messages).step_by(batch) {
            if batches.len() >= BATCHES
                && let Some(published) = batches.next().await
            {
                published?;
            }
            batches.push(broker.publish(vec![message.clone(); batch.min(messages - first)]));
        }
        while let Some(published) = batches.next().await {
            published?;
        }
        Ok::<_, sengu_interconnect::BrokerError>(())
    };
    let received = async {
        let mut got = 0;
        while got < messages {
            let some = subscription.receive(256).await?;
            got += some.len();
            let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
            subscription.ack(&tags)?;
        }
        Ok(())
    };
    futures::future::try_join(sent, received).await?;
    Ok(messages as f64 / began.elapsed().as_secs_f64())
}
