//! Rates on one machine with 1 KiB each: rumqttc by itself, the same broker through the ports, and sengu's own listener.
//! Needs a Mosquitto: `cargo run --release --example mqtt_rate -- 1883`.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::future::join_all;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use sengu_broker_mqtt::{MqttBroker, MqttListener};
use sengu_interconnect::address::Address;
use sengu_interconnect::events::{Followers, Keep, Told, Topic};
use sengu_interconnect::{Broker, Message, Queue, Tag};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const COUNT: usize = 50_000;
const KIB: [u8; 1_024] = [b'x'; 1_024];

fn say(what: &str, count: usize, began: Instant) {
    println!(
        "{what:48} {:9.0}/s",
        count as f64 / began.elapsed().as_secs_f64()
    );
}

#[tokio::main]
async fn main() {
    let port: u16 = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(1_883);
    raw(port).await;
    let address = Address::parse(&format!("mqtt://127.0.0.1:{port}")).unwrap();
    let (here, there) = (
        MqttBroker::open(address.clone(), "here".to_owned()),
        MqttBroker::open(address, "there".to_owned()),
    );
    for broker in [&here, &there] {
        broker.until_there(Duration::from_secs(10)).await.unwrap();
    }
    let began = Instant::now();
    for _ in 0..COUNT / 500 {
        here.tell(events(500)).await.unwrap();
    }
    say("Followers.tell, batches of 500", COUNT, began);
    let began = Instant::now();
    for part in 0..10 {
        let key = |n| format!("rate/{}", part * 500 + n);
        join_all((0..500).map(|n| here.retain(key(n), Some(Bytes::from_static(&KIB))))).await;
    }
    say("Broker.retain, 500 at once", 5_000, began);
    let began = Instant::now();
    let mut directory = there.directory("rate/".to_owned()).await.unwrap();
    let all = directory.next().await.unwrap().len();
    say("Broker.directory, the first look", all, began);
    join_all((0..all).map(|n| here.retain(format!("rate/{n}"), None))).await;
    queue(&here, &there).await;
    for followers in [1, 20] {
        listener(followers).await;
    }
}

fn events(count: usize) -> Vec<Told> {
    let told = Told {
        topic: Topic::new(&["v1", "result", "zone", "target"]),
        keep: Keep::No,
        body: Bytes::from_static(&KIB),
    };
    vec![told; count]
}

async fn raw(port: u16) {
    let options = MqttOptions::new("raw", "127.0.0.1", port);
    let (client, mut events) = AsyncClient::new(options, 256);
    let publish = tokio::spawn(async move {
        for _ in 0..COUNT {
            client
                .publish("raw", QoS::AtLeastOnce, false, &KIB[..])
                .await
                .unwrap();
        }
        client
    });
    let (began, mut acked) = (Instant::now(), 0);
    while acked < COUNT {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
            acked += 1;
        }
    }
    say("rumqttc by itself, QoS 1", COUNT, began);
    publish.await.unwrap();
}

async fn queue(here: &MqttBroker, there: &MqttBroker) {
    let queue = Queue::reports();
    let mut subscription = there.subscribe(queue.clone(), 512).await.unwrap();
    let began = Instant::now();
    let publish = async {
        let message = Message {
            queue,
            body: Bytes::from_static(&KIB),
        };
        for _ in 0..COUNT / 250 {
            here.publish(vec![message.clone(); 250]).await.unwrap();
        }
        say("Broker.publish, batches of 250", COUNT, began);
    };
    let receive = async {
        let mut got = 0;
        while got < COUNT {
            let some = tokio::time::timeout(Duration::from_secs(10), subscription.receive(256));
            let Ok(some) = some.await else {
                println!("{} did not come", COUNT - got);
                break;
            };
            let tags: Vec<Tag> = some.unwrap().iter().map(|d| d.tag).collect();
            got += tags.len();
            subscription.ack(&tags).unwrap();
        }
        say("Subscription.receive and ack", got, began);
    };
    tokio::join!(publish, receive);
}

async fn listener(followers: usize) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let (token, prefix) = ("token".to_owned(), "sengu".to_owned());
    let listener = MqttListener::start(socket, None, token, prefix).unwrap();
    let whole = 2 + 1 + 2 + "sengu/v1/result/zone/target".len() + KIB.len();
    let mut streams = Vec::new();
    for _ in 0..followers {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .unwrap();
        stream
            .write_all(b"\x10\x16\x00\x04MQTT\x04\xc2\x00\x00\x00\x01c\x00\x00\x00\x05token")
            .await
            .unwrap();
        stream
            .write_all(b"\x82\x06\x00\x01\x00\x01#\x00")
            .await
            .unwrap();
        stream.read_exact(&mut [0; 9]).await.unwrap();
        streams.push(stream);
    }
    let began = Instant::now();
    for _ in 0..COUNT / 500 {
        listener.tell(events(500)).await.unwrap();
        let read = streams.iter_mut().map(|stream| async move {
            let mut bytes = vec![0; 500 * whole];
            stream.read_exact(&mut bytes).await.unwrap();
        });
        join_all(read).await;
    }
    say(
        &format!("MqttListener, to each of {followers}"),
        COUNT,
        began,
    );
}
