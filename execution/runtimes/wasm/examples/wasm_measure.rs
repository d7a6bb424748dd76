//! What a component costs: `cargo run --release -p sengu-runtime-wasm --example wasm_measure -- <folder of a staged worker>`.
//! The action `noop` of the worker is called, and whatever its outcome is, it counts.

use sengu_execution::runtime::{Attached, Handle, Image, Input, Manifest, Output, Runtime};
use sengu_model::TaskId;
use sengu_runtime_wasm::{WasmRuntime, compile_main};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const COLD_STARTS: usize = 50;
const ROUND_TRIPS: u64 = 10_000;
const AT_ONCE: u64 = 64;
const IDLE_INSTANCES: usize = 500;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(first) = arguments.next() else {
        eprintln!("the folder of a staged worker with a component is wanted");
        return ExitCode::from(2);
    };
    if first == "compile" {
        return compile_main(arguments);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads");
    runtime.block_on(measure(Path::new(&first)));
    ExitCode::SUCCESS
}

async fn measure(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("worker.toml")).expect("worker.toml");
    let manifest = Manifest::parse(&text).expect("a manifest");
    let image = Image::of(&manifest, "sha256:measured".to_owned(), folder.to_owned());
    let state = std::env::temp_dir().join(format!("sengu-measure-{}", std::process::id()));
    let before = resident_bytes();

    let begun = Instant::now();
    open(&state).prepare(image.clone()).await.expect("prepare");
    println!("compile in the child      {:>9.1} ms", ms(begun.elapsed()));

    let mut cold = Vec::new();
    for _ in 0..COLD_STARTS {
        let begun = Instant::now();
        let runtime = open(&state);
        let live = Live::start(&runtime, &image).await;
        cold.push(begun.elapsed());
        drop(live);
    }
    print("cold start from the cache", &mut cold);

    let runtime = open(&state);
    let mut warm = Vec::new();
    for _ in 0..COLD_STARTS {
        let begun = Instant::now();
        drop(Live::start(&runtime, &image).await);
        warm.push(begun.elapsed());
    }
    print("next instance, loaded", &mut warm);

    let mut live = Live::start(&runtime, &image).await;
    let mut trips = Vec::new();
    for n in 1..=ROUND_TRIPS {
        let begun = Instant::now();
        live.send(n).await;
        live.outcome().await;
        trips.push(begun.elapsed());
    }
    print("round trip, one at a time", &mut trips);
    let cpu = cpu_time();
    let begun = Instant::now();
    let at_once = AT_ONCE.min(u64::from(image.slots));
    for n in 1..=ROUND_TRIPS + at_once {
        if n <= ROUND_TRIPS {
            live.send(n).await;
        }
        if n > at_once {
            live.outcome().await;
        }
    }
    let took = begun.elapsed();
    println!(
        "{at_once} at once{:>16} tasks/s, {:.1} us of CPU each, caller included",
        (ROUND_TRIPS as f64 / took.as_secs_f64()) as u64,
        (cpu_time() - cpu).as_secs_f64() * 1e6 / ROUND_TRIPS as f64
    );

    let loaded = resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..IDLE_INSTANCES {
        idle.push(Live::start(&runtime, &image).await);
    }
    let fresh = resident_bytes() - loaded;
    for live in &mut idle {
        live.send(1).await;
        live.outcome().await;
    }
    let used = resident_bytes() - loaded;
    println!(
        "memory: engine and component {} KiB",
        (loaded - before) >> 10
    );
    println!(
        "memory of an idle instance: {:.1} KiB fresh, {:.1} KiB after a task",
        fresh as f64 / 1024.0 / IDLE_INSTANCES as f64,
        used as f64 / 1024.0 / IDLE_INSTANCES as f64
    );
    let _ = std::fs::remove_dir_all(&state);
}

fn open(state: &Path) -> WasmRuntime {
    let own = std::env::current_exe().expect("this program");
    WasmRuntime::new(PathBuf::from(state), vec![own.into(), "compile".into()])
}

struct Live {
    _handle: Handle,
    stdin: Input,
    lines: tokio::io::Lines<BufReader<Output>>,
}

impl Live {
    async fn start(runtime: &WasmRuntime, image: &Image) -> Live {
        let started = runtime.start(image.clone(), "measured".to_owned()).await;
        let handle = started.expect("start");
        let Attached { stdin, stdout, .. } = runtime.attach(handle.clone()).await.expect("attach");
        let mut lines = BufReader::new(stdout).lines();
        let hello = lines.next_line().await.expect("read").expect("a line");
        assert!(hello.contains("hello"), "{hello}");
        Live {
            _handle: handle,
            stdin,
            lines,
        }
    }

    async fn send(&mut self, n: u64) {
        let task = json!({
            "type": "task", "id": TaskId(n), "fence": "1.1", "action": "noop", "params": {},
            "target": {"name": "one", "address": "127.0.0.1:1"}, "timeout_ms": 10_000,
        });
        let line = format!("{task}\n");
        self.stdin.write_all(line.as_bytes()).await.expect("write");
    }

    async fn outcome(&mut self) {
        loop {
            let line = self.lines.next_line().await.expect("read").expect("a line");
            if line.contains("\"outcome\"") {
                return;
            }
        }
    }
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| ms(times[((times.len() - 1) as f64 * share) as usize]);
    println!(
        "{what:<25} p50 {:>7.3} ms, p99 {:>7.3} ms, max {:>7.3} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
