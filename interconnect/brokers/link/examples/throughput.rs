//! How many messages per second go from one joined end through the broker to another, and what each costs. Both ends
//! and the broker run in this process, so the CPU time is that of all three.
//!
//!     cargo run --release -p sengu-broker-link --example throughput [unix|tcp] [messages] [bytes] [batch]

use bytes::Bytes;
use sengu_broker_link::{JoinToken, LinkBroker, LinkUrl, Listener, serve};
use sengu_interconnect::{Broker, MemoryBroker, Message, Queue, Tag};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Batches under way.
const AHEAD: usize = 8;
const CREDIT: u32 = 16_384;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "unix".to_owned());
    let mut number = |default: usize| match arguments.next() {
        Some(text) => text.parse(),
        None => Ok(default),
    };
    let (messages, bytes, batch) = (number(1_000_000)?, number(1_024)?, number(256)?);
    let folder = tempfile::tempdir()?;
    let (listener, url): (Listener, LinkUrl) = if kind == "tcp" {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("tcp://{}", listener.local_addr()?);
        (Listener::Tcp(listener), url.parse()?)
    } else {
        let path = folder.path().join("link.sock");
        let url = format!("unix://{}", path.display());
        let listener = tokio::net::UnixListener::bind(&path)?;
        (Listener::Unix(listener), url.parse()?)
    };
    let token = JoinToken::random()?;
    let behind = Arc::new(MemoryBroker::new());
    let serving = serve(
        behind,
        listener,
        token.clone(),
        None,
        std::future::pending(),
    );
    tokio::spawn(serving);
    let join = |name: &str| LinkBroker::connect(url.clone(), name.to_owned(), token.clone(), None);
    let (from, to) = (join("from"), join("to"));
    from.until_joined(Duration::from_secs(5)).await?;
    let queue = Queue::reports();
    let mut subscription = to.subscribe(queue.clone(), CREDIT).await?;

    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    let body = Bytes::from(vec![7; bytes]);
    let publishing = tokio::spawn(async move {
        let mut under_way = tokio::task::JoinSet::new();
        for first in (0..messages).step_by(batch) {
            while under_way.len() >= AHEAD || from.depth(queue.clone()).await? > 65_536 {
                if let Some(done) = under_way.join_next().await {
                    done.map_err(|_| sengu_interconnect::BrokerError::Away(None))??;
                } else {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            let one = Message {
                queue: queue.clone(),
                body: body.clone(),
            };
            let (from, these) = (from.clone(), vec![one; batch.min(messages - first)]);
            under_way.spawn(async move { from.publish(these).await });
        }
        while let Some(done) = under_way.join_next().await {
            done.map_err(|_| sengu_interconnect::BrokerError::Away(None))??;
        }
        Ok::<(), sengu_interconnect::BrokerError>(())
    });
    let mut got = 0;
    while got < messages {
        let some = subscription.receive(4_096).await?;
        got += some.len();
        let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
        subscription.ack(&tags)?;
    }
    publishing.await??;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    println!(
        "{kind}: {messages} messages of {bytes} bytes in batches of {batch}: {:.0} per second, {:.1} us of CPU each",
        messages as f64 / seconds,
        cpu * 1e6 / messages as f64
    );
    Ok(())
}

/// CPU time of this process so far, as the system counts it: 100 ticks per second.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no name in stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok());
    let (user, system) = (ticks(11), ticks(12));
    Ok((user.ok_or("no user time")? + system.ok_or("no system time")?) / 100.0)
}
