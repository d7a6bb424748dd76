//! Measures the docker runtime against a real engine that it starts itself (needs root and Debian's docker.io):
//! `cargo run --release -p sengu-runtime-docker --example docker_measure`.

#[path = "../tests/engine/mod.rs"]
mod engine;

use engine::Engine;
use engine::live::Live;
use sengu_execution::runtime::Runtime;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const STARTS: usize = 20;
const ROUND_TRIPS: usize = 20_000;

#[tokio::main]
async fn main() {
    let engine = Engine::start();
    let runtime = engine.runtime("measure");
    let image = engine.mirror();

    let began = Instant::now();
    runtime.prepare(image.clone()).await.expect("prepare");
    let load = began.elapsed();
    let began = Instant::now();
    runtime.prepare(image.clone()).await.expect("prepare");
    let again = began.elapsed();

    // Taken in turns, so that both see the same machine.
    let (mut cold, mut by_docker, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let began = Instant::now();
        let live = Live::start(&runtime, &image).await;
        cold.push(began.elapsed());
        let began = Instant::now();
        runtime.stop(live.handle).await.expect("stop");
        stops.push(began.elapsed());
        by_docker.push(docker_run(&engine));
    }

    let mut live = Live::start(&runtime, &image).await;
    let mut trips = Vec::with_capacity(ROUND_TRIPS);
    for n in 0..ROUND_TRIPS {
        let frame = format!(
            "{{\"type\":\"task\",\"id\":{n},\"pad\":\"{}\"}}",
            "x".repeat(300)
        );
        let began = Instant::now();
        live.answer(&frame).await;
        trips.push(began.elapsed());
    }
    let memory = memory(&engine, &live.handle.0);
    runtime.stop(live.handle).await.expect("stop");

    println!("{:<44} {:>10} {:>10}", "DOCKER RUNTIME", "P50", "P99");
    let row = |what: &str, mut all: Vec<Duration>| {
        all.sort();
        let ms = |share: f64| all[((all.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!("{what:<44} {:>7.2} ms {:>7.2} ms", ms(0.5), ms(0.99));
        ms(0.5)
    };
    let own = row("cold start to hello", cold);
    let theirs = row("docker run --rm to hello, same limits", by_docker);
    row("kill and remove", stops);
    row("warm frame there and back, 350 bytes", trips);
    println!(
        "{:<44} {:>7.2} ms",
        "image packed, loaded, named",
        load.as_secs_f64() * 1e3
    );
    println!(
        "{:<44} {:>7.2} ms",
        "image asked for again",
        again.as_secs_f64() * 1e3
    );
    println!(
        "{:<44} {:>7.2} ms",
        "cold start beyond docker run",
        own - theirs
    );
    println!("{memory}");
}

/// From the start of the command to the first line of the worker.
fn docker_run(engine: &Engine) -> Duration {
    use std::io::BufRead;
    let tag = "sengu/mirror:1.0.0-mirror";
    let began = Instant::now();
    let mut run = Command::new("docker")
        .arg("--host")
        .arg(format!("unix://{}", engine.socket().display()))
        .args([
            "run",
            "--rm",
            "--interactive",
            "--init",
            "--network=host",
            "--read-only",
        ])
        .args(["--cap-drop=ALL", "--memory=64m", "--log-driver=none", tag])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker run");
    let mut line = String::new();
    let out = run.stdout.take().expect("piped");
    std::io::BufReader::new(out)
        .read_line(&mut line)
        .expect("read");
    let took = began.elapsed();
    assert!(line.contains("hello"), "{line:?}");
    drop(run.stdin.take());
    run.wait().expect("wait");
    took
}

/// What an idle instance holds, in the words of its control group.
fn memory(engine: &Engine, name: &str) -> String {
    let id = &engine.lines(&["inspect", "--format", "{{.Id}}", name])[0];
    let find = |file: &str| {
        let found = Command::new("find")
            .args(["/sys/fs/cgroup", "-path", &format!("*{id}*/{file}")])
            .output()
            .expect("find");
        let path = String::from_utf8_lossy(&found.stdout)
            .lines()
            .next()
            .map(str::to_owned);
        path.and_then(|path| std::fs::read_to_string(path).ok())
    };
    let stat = find("memory.stat").unwrap_or_default();
    let mut words = format!("{:<44}", "memory of an idle instance (with its init)");
    for key in ["rss", "anon", "cache", "file", "mapped_file", "kernel"] {
        let value = stat
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key} ")));
        if let Some(bytes) = value.and_then(|value| value.parse::<f64>().ok()) {
            words += &format!(" {key} {:.2} MB", bytes / 1e6);
        }
    }
    for file in ["memory.usage_in_bytes", "memory.current"] {
        if let Some(bytes) = find(file).and_then(|text| text.trim().parse::<f64>().ok()) {
            words += &format!(" in all {:.2} MB", bytes / 1e6);
        }
    }
    words
}
