//! Measures the WEE: no-op tasks through the embedded broker, the WEE and a real echo worker.
//!
//! `cargo build --release -p sengu-worker-echo && cargo run --release -p sengu-execution --example measure -- [tasks] [window] [effect]`
//! The window is the number of tasks out at once (2048 unless told; 1 gives the latency of one task). The effect is
//! `idempotent` unless told; `once` shows what claims cost.

use bytes::Bytes;
use sengu_execution::{Runtime, WeeConfig};
use sengu_interconnect::{Broker, MemoryBroker, Message, Queue, Tag};
use sengu_model::manifest::Manifest;
use sengu_model::wire::envelope::{Event, Grant, ReportEnvelope, VERSION, WeeCommand, WorkerOffer};
use sengu_model::{Class, TaskId};
use sengu_runtime_process::ProcessRuntime;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

const BATCH: usize = 256;
const WAIT: Duration = Duration::from_secs(30);

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let tasks: usize = arguments.next().map_or(Ok(400_000), |n| n.parse())?;
    let window: usize = arguments.next().map_or(Ok(2_048), |n| n.parse())?;
    let effect = arguments.next().unwrap_or_else(|| "idempotent".to_owned());
    let broker = Arc::new(MemoryBroker::new());
    let state = tempfile::tempdir()?;
    let execution = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("wee")
        .enable_all()
        .build()?;
    let runtimes: Vec<Arc<dyn Runtime>> =
        vec![Arc::new(ProcessRuntime::new(state.path().to_owned()))];
    let config = WeeConfig {
        name: "measured".to_owned(),
        zone: "default".to_owned(),
        labels: BTreeMap::new(),
        life: 1,
        embedded: false,
        sengu_version: "0.0.0".to_owned(),
        bundled: HashMap::from([("sha256:0".to_owned(), echo_folder())]),
        cache: state.path().join("images"),
        seal_key: None,
    };
    let wee = {
        let _within = execution.enter();
        sengu_execution::start(config, broker.clone(), runtimes)
    };
    let logic = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (offer, worker) = offer()?;
    logic.block_on(async {
        broker
            .retain("worker/echo/1.0.0".to_owned(), Some(offer))
            .await?;
        // The first tasks pay for the start of the worker.
        drive(&broker, 1_000, window, &effect).await?;
        let (before, began) = (Cpu::now(), Instant::now());
        drive(&broker, tasks, window, &effect).await?;
        let wall = began.elapsed();
        let spent = Cpu::now().since(&before);
        let per_task = |ms: u64| ms as f64 * 1_000.0 / tasks as f64;
        println!("worker             {}", worker.display());
        println!("tasks              {tasks} {effect}, {window} out at once");
        println!(
            "tasks per second   {:.0}",
            tasks as f64 / wall.as_secs_f64()
        );
        println!(
            "wall us per task   {:.1}",
            wall.as_secs_f64() * 1e6 / tasks as f64
        );
        println!(
            "CPU us per task    wee {:.1}, worker {:.1}, driver of this measurement {:.1}",
            per_task(spent.wee_ms),
            per_task(spent.workers_ms),
            per_task(spent.driver_ms)
        );
        Ok::<(), Failure>(())
    })?;
    execution.block_on(wee.drain());
    Ok(())
}

/// Sends `tasks` and waits for the reports of all, with at most `window` out at once.
async fn drive(
    broker: &Arc<MemoryBroker>,
    tasks: usize,
    window: usize,
    effect: &str,
) -> Result<(), Failure> {
    let queue = Queue::tasks("default", "echo", "1.0.0", Class::Control);
    let mut reports = broker.subscribe(Queue::reports(), 1 << 20).await?;
    let first = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_micros() as u64;
    let (mut sent, mut ended) = (0usize, 0usize);
    let ending = memchr::memmem::Finder::new(br#""event":"ended""#);
    let claiming = memchr::memmem::Finder::new(br#""event":"claim""#);
    while ended < tasks {
        while sent < tasks && sent - ended < window {
            let count = BATCH.min(tasks - sent).min(window - (sent - ended));
            let batch = (sent..sent + count)
                .map(|n| Message {
                    queue: queue.clone(),
                    body: body(first + n as u64, effect),
                })
                .collect();
            broker.publish(batch).await?;
            sent += count;
        }
        let deliveries = tokio::time::timeout(WAIT, reports.receive(512)).await??;
        let tags: Vec<Tag> = deliveries.iter().map(|d| d.tag).collect();
        reports.ack(&tags)?;
        let mut items = Vec::new();
        for delivery in deliveries {
            ended += ending.find_iter(&delivery.body).count();
            if claiming.find(&delivery.body).is_some() {
                let envelope: ReportEnvelope = serde_json::from_slice(&delivery.body)?;
                let claims = envelope.items.iter().filter(|i| i.event == Event::Claim);
                items.extend(claims.map(|claim| Grant {
                    task: claim.task,
                    epoch: claim.epoch,
                    attempt: claim.attempt,
                    may: true,
                }));
            }
        }
        if !items.is_empty() {
            let granted = Message {
                queue: Queue::wee("measured"),
                body: serde_json::to_vec(&WeeCommand::Begin { life: 1, items })?.into(),
            };
            broker.publish(vec![granted]).await?;
        }
    }
    Ok(())
}

fn body(task: u64, effect: &str) -> Bytes {
    let body = format!(
        "{{\"v\":{VERSION},\"task\":\"{}\",\"epoch\":3,\"attempt\":1,\"kind\":\"echo\",\
         \"version\":\"1.0.0\",\"action\":\"noop\",\"effect\":\"{effect}\",\"timeout_ms\":10000,\"sticky\":{task},\
         \"params\":{{}},\"target\":{{\"name\":\"rack-17-node-{}\",\"address\":\"10.0.0.1:22\",\
         \"config\":{{}}}}}}",
        TaskId(task),
        task % 1_000
    );
    body.into()
}

fn offer() -> Result<(Bytes, std::path::PathBuf), Failure> {
    let mut manifest =
        Manifest::parse(&std::fs::read_to_string(echo_folder().join("worker.toml"))?)?;
    let own = std::env::current_exe()?;
    let profile = own.ancestors().nth(2).ok_or("no target folder")?;
    let worker = profile.join("sengu-worker-echo");
    if !worker.is_file() {
        return Err(format!("build the worker first: {}", worker.display()).into());
    }
    manifest.command = vec![worker.display().to_string()];
    let offer = WorkerOffer {
        v: VERSION,
        pool: manifest.pool,
        manifest,
        digest: "sha256:0".to_owned(),
        bytes: 1,
        active: true,
    };
    Ok((serde_json::to_vec(&offer)?.into(), worker))
}

fn echo_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workers/echo")
}

/// CPU time by who spent it, in milliseconds.
struct Cpu {
    wee_ms: u64,
    workers_ms: u64,
    driver_ms: u64,
}

impl Cpu {
    fn now() -> Cpu {
        let mut cpu = Cpu {
            wee_ms: 0,
            workers_ms: 0,
            driver_ms: 0,
        };
        for (name, ms, _) in stats("/proc/self/task") {
            match name.as_str() {
                "wee" | "keeper" => cpu.wee_ms += ms,
                _ => cpu.driver_ms += ms,
            }
        }
        let own = std::process::id();
        let children = stats("/proc")
            .into_iter()
            .filter(|(_, _, parent)| *parent == own);
        cpu.workers_ms = children.map(|(_, ms, _)| ms).sum();
        cpu
    }

    fn since(&self, before: &Cpu) -> Cpu {
        Cpu {
            wee_ms: self.wee_ms - before.wee_ms,
            workers_ms: self.workers_ms - before.workers_ms,
            driver_ms: self.driver_ms - before.driver_ms,
        }
    }
}

/// Name, CPU time in milliseconds and parent of each process or thread below `directory`.
fn stats(directory: &str) -> Vec<(String, u64, u32)> {
    const MS_PER_TICK: u64 = 10;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let one = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, rest) = text.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        let ticks: u64 =
            fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some((name, ticks * MS_PER_TICK, parent))
    };
    entries.filter_map(one).collect()
}
