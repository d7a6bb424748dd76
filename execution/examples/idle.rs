//! Measures what offered kinds cost that nobody uses: CPU of the WEE at rest and memory per pool, and whether the tasks of
//! one busy kind cost more beside them.
//!
//! `cargo build --release -p sengu-worker-echo && cargo run --release -p sengu-execution --example idle -- [pools] [seconds]`

use bytes::Bytes;
use sengu_execution::{Runtime, WeeConfig, WeeHandle};
use sengu_interconnect::{Broker, MemoryBroker, Message, Queue, Tag};
use sengu_model::manifest::Manifest;
use sengu_model::wire::envelope::{VERSION, WorkerOffer};
use sengu_model::{Class, TaskId};
use sengu_runtime_process::ProcessRuntime;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

const DIGEST: &str = "sha256:0";
const TASKS: usize = 200_000;
const WINDOW: usize = 256;
const WAIT: Duration = Duration::from_secs(60);

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let pools: usize = arguments.next().map_or(Ok(1_000), |n| n.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(10), |n| n.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(pools, seconds))
}

async fn measure(pools: usize, seconds: u64) -> Result<(), Failure> {
    let broker = Arc::new(MemoryBroker::new());
    let state = tempfile::tempdir()?;
    let wee = start(state.path(), broker.clone());
    let echo = echo()?;
    offer(&broker, &echo).await?;
    drive(&broker, TASKS).await?;
    let alone = [drive(&broker, TASKS).await?, drive(&broker, TASKS).await?];
    let rest = rest(seconds).await;
    println!("1 pool: {rest:.3} % of a core at rest, {alone:.1?} us of CPU per task of it");

    let memory_kib = resident_kib();
    for n in 0..pools {
        let mut other = echo.clone();
        other.name = format!("kind-{n}");
        offer(&broker, &other).await?;
    }
    wait_for(&wee, pools + 1).await?;
    let per_pool = resident_kib().saturating_sub(memory_kib) as f64 / pools as f64;
    let rest = self::rest(seconds).await;
    let beside = [drive(&broker, TASKS).await?, drive(&broker, TASKS).await?];
    println!(
        "{} pools: {rest:.3} % of a core at rest, {beside:.1?} us of CPU per task of the first",
        pools + 1
    );
    println!(
        "memory per idle pool, its queues and its offer in the broker included: {per_pool:.1} KiB"
    );

    let began = Instant::now();
    for n in 0..pools {
        let key = format!("worker/kind-{n}/{}", echo.version);
        broker.retain(key, None).await?;
    }
    wait_for(&wee, 1).await?;
    println!("withdrawn: {pools} in {:?}", began.elapsed());
    wee.drain().await;
    Ok(())
}

fn start(state: &Path, broker: Arc<MemoryBroker>) -> WeeHandle {
    let process: Arc<dyn Runtime> = Arc::new(ProcessRuntime::new(state.to_owned()));
    let config = WeeConfig {
        name: "measured".to_owned(),
        zone: "default".to_owned(),
        labels: BTreeMap::new(),
        life: 1,
        embedded: false,
        sengu_version: "0.0.0".to_owned(),
        bundled: HashMap::from([(DIGEST.to_owned(), echo_folder())]),
        cache: state.join("images"),
        seal_key: None,
    };
    sengu_execution::start(config, broker, vec![process])
}

async fn offer(broker: &MemoryBroker, manifest: &Manifest) -> Result<(), Failure> {
    let offer = WorkerOffer {
        v: VERSION,
        manifest: manifest.clone(),
        digest: DIGEST.to_owned(),
        bytes: 1,
        active: true,
        pool: manifest.pool,
    };
    let key = format!("worker/{}/{}", manifest.name, manifest.version);
    broker
        .retain(key, Some(serde_json::to_vec(&offer)?.into()))
        .await?;
    Ok(())
}

async fn wait_for(wee: &WeeHandle, pools: usize) -> Result<(), Failure> {
    let end = Instant::now() + WAIT;
    while wee.status().pools.len() != pools {
        if Instant::now() > end {
            return Err(format!("{} pools, not {pools}", wee.status().pools.len()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Percent of a core that this process uses while nothing happens.
async fn rest(seconds: u64) -> f64 {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = cpu_ms();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    (cpu_ms() - before) as f64 / (seconds as f64 * 10.0)
}

/// Has tasks done, and gives the microseconds of CPU that each cost this process.
async fn drive(broker: &MemoryBroker, tasks: usize) -> Result<f64, Failure> {
    let queue = Queue::tasks("default", "echo", "1.0.0", Class::Control);
    let mut reports = broker.subscribe(Queue::reports(), 1 << 20).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let first = now.as_micros() as u64;
    let before = cpu_ms();
    let ending = memchr::memmem::Finder::new(br#""event":"ended""#);
    let (mut sent, mut ended) = (0, 0);
    while ended < tasks {
        let count = (tasks - sent).min(WINDOW - (sent - ended));
        let batch = (sent..sent + count).map(|n| Message {
            queue: queue.clone(),
            body: body(first + n as u64),
        });
        broker.publish(batch.collect()).await?;
        sent += count;
        let deliveries = tokio::time::timeout(WAIT, reports.receive(512)).await??;
        let tags: Vec<Tag> = deliveries.iter().map(|d| d.tag).collect();
        reports.ack(&tags)?;
        for delivery in deliveries {
            ended += ending.find_iter(&delivery.body).count();
        }
    }
    Ok((cpu_ms() - before) as f64 * 1_000.0 / tasks as f64)
}

fn body(task: u64) -> Bytes {
    let body = format!(
        "{{\"v\":{VERSION},\"task\":\"{}\",\"epoch\":3,\"attempt\":1,\"kind\":\"echo\",\
         \"version\":\"1.0.0\",\"action\":\"noop\",\"effect\":\"idempotent\",\"timeout_ms\":10000,\
         \"sticky\":{task},\"params\":{{}},\"target\":{{\"name\":\"n\",\"address\":\"a\"}}}}",
        TaskId(task)
    );
    body.into()
}

fn echo_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workers/echo")
}

fn echo() -> Result<Manifest, Failure> {
    let text = std::fs::read_to_string(echo_folder().join("worker.toml"))?;
    let mut manifest = Manifest::parse(&text)?;
    let own = std::env::current_exe()?;
    let profile = own.ancestors().nth(2).ok_or("no target folder")?;
    let worker = profile.join("sengu-worker-echo");
    if !worker.is_file() {
        return Err(format!("build the worker first: {}", worker.display()).into());
    }
    manifest.command = vec![worker.display().to_string()];
    Ok(manifest)
}

/// CPU time of this process so far, in milliseconds.
fn cpu_ms() -> u64 {
    const MS_PER_TICK: u64 = 10;
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|t| t.parse::<u64>().ok());
    (ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0)) * MS_PER_TICK
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok());
    number.unwrap_or(0)
}
