//! The same worker in every runtime: how long its first task takes, what a warm one adds to a task, and what it holds in
//! memory while it does nothing. Each runtime has a sengu of its own, driven over the API.

use crate::http::Client;
use crate::releases::{flip, instances, push, set_pool, task, wait_instances};
use crate::report::{Report, Wanted};
use crate::server::Server;
use crate::servers::dockerd::Dockerd;
use crate::stats::Latencies;
use crate::{Bench, cpu, guest, targets};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const KIND: &str = "echo";
/// Not that of the worker that came with sengu.
const VERSION: &str = "2.0.0";
const TARGETS: usize = 10;
/// Instances over which memory is averaged.
const IDLE: u64 = 16;
const PROGRAM: &str = "sengu-worker-echo";

/// So long a version is kept warm for the tasks that its promotion sends.
const ROUSED: Duration = Duration::from_secs(12);
/// From the promotion of a version to its first task.
const READY_MAX: Duration = Duration::from_secs(60);

struct Case {
    name: &'static str,
    warm_p99_max_ms: f64,
    /// None: as long as `docker run` of the image, and 50 ms.
    cold_max_ms: Option<f64>,
}

const CASES: [Case; 3] = [
    Case {
        name: "process",
        warm_p99_max_ms: 10.0,
        cold_max_ms: Some(50.0),
    },
    Case {
        name: "wasm",
        warm_p99_max_ms: 5.0,
        cold_max_ms: Some(5.0),
    },
    Case {
        name: "docker",
        warm_p99_max_ms: 15.0,
        cold_max_ms: None,
    },
];
/// What docker may take beyond `docker run`.
const BEYOND_DOCKER_RUN_MS: f64 = 50.0;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for case in &CASES {
        let outcome = match case.name {
            "docker" => docker(bench, report, case),
            _ => one(bench, report, case, None).map(|()| None),
        };
        let missing = outcome.with_context(|| format!("runtime {}", case.name))?;
        if let Some(why) = missing {
            let what = format!("{}: dispatch to a warm instance, p99", case.name);
            report.not_run(&what, Wanted::AtMost(case.warm_p99_max_ms), "ms", &why);
        }
    }
    Ok(())
}

fn docker(bench: &Bench, report: &mut Report, case: &Case) -> Result<Option<String>> {
    if let Some(why) = Dockerd::absent() {
        return Ok(Some(why));
    }
    if !bench.static_echo.exists() {
        return Ok(Some(format!(
            "{} is missing: RUSTFLAGS=\"-C target-feature=+crt-static\" cargo build --release -p {PROGRAM} --target {}-unknown-linux-gnu --target-dir target/static",
            bench.static_echo.display(),
            std::env::consts::ARCH
        )));
    }
    let engine = Dockerd::start()?;
    one(bench, report, case, Some(&engine))?;
    Ok(None)
}

/// The image of echo for one runtime, and for that alone.
fn image(bench: &Bench, folder: &Path, runtime: &str) -> Result<PathBuf> {
    let image = folder.join("image");
    std::fs::create_dir(&image)?;
    let manifest = bench.workers.join(KIND).join("worker.toml");
    let manifest = std::fs::read_to_string(&manifest)
        .with_context(|| format!("read {}", manifest.display()))?;
    let mut lines: Vec<String> = Vec::new();
    let mut of_a_runtime = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            of_a_runtime = line.starts_with("[[runtime]]");
        }
        if of_a_runtime {
            continue;
        }
        if line.starts_with("version = ") {
            lines.push(format!("version = \"{VERSION}\""));
        } else if !line.starts_with("command = ") {
            lines.push(line.to_owned());
        } else if runtime != "wasm" {
            lines.push(format!(
                "command = [\"{PROGRAM}\", \"drill\", \"--version\", \"{VERSION}\"]"
            ));
        }
    }
    lines.push(format!("[[runtime]]\nname = \"{runtime}\""));
    let program = image.join(PROGRAM);
    match runtime {
        "wasm" => {
            lines.push("component = \"worker.wasm\"".to_owned());
            let built = bench.workers.join(KIND).join(format!("{KIND}.wasm"));
            let component = match built.exists() {
                true => std::fs::read(built)?,
                false => guest::noop()?,
            };
            std::fs::write(image.join("worker.wasm"), component)?;
        }
        "docker" => {
            std::fs::copy(&bench.static_echo, program).context("copy the static echo")?;
        }
        _ => {
            std::fs::copy(bench.workers.join(KIND).join(PROGRAM), program).context("copy echo")?;
        }
    }
    std::fs::write(image.join("worker.toml"), lines.join("\n") + "\n")?;
    Ok(image)
}

fn one(bench: &Bench, report: &mut Report, case: &Case, engine: Option<&Dockerd>) -> Result<()> {
    let config = engine.map(|engine| format!("[docker]\nsocket = {:?}\n", engine.socket()));
    let mut server = Server::start_with(bench, config.as_deref())?;
    let folder = tempfile::tempdir_in(&bench.scratch)?;
    let pushed = push(&server, &image(bench, folder.path(), case.name)?)?;
    targets::apply_echo(&server, TARGETS)?;
    let mut client = server.client()?;
    let started = Instant::now();
    flip(&mut client, KIND, VERSION)?;
    // The version before serves until this one is ready.
    while echo(&mut client, 0).is_err() {
        ensure!(started.elapsed() < READY_MAX, "{VERSION} does no task");
        std::thread::sleep(Duration::from_millis(5));
    }
    report.note(&format!(
        "{}: pushed in {:.0} ms, first task of the new version done {:.0} ms after its promotion",
        case.name,
        pushed.as_secs_f64() * 1e3,
        started.elapsed().as_secs_f64() * 1e3
    ));

    let warm = warm(bench, report, case, &mut client)?;
    let cold = cold(bench, case, &mut client, engine)?;
    let median = cold.first.percentile(0.5);
    let docker_run = cold.docker_run.percentile(0.5);
    report.raw(&format!(
        "sengu-{}-cold nan {median:.2} {:.2} n={} beyond_a_warm_task_p50_ms={:.2} docker_run_p50_ms={docker_run:.2}",
        case.name,
        cold.first.percentile(0.99),
        cold.first.count(),
        median - warm,
    ));
    let limit = case
        .cold_max_ms
        .unwrap_or(docker_run + BEYOND_DOCKER_RUN_MS);
    report.figure(
        &format!(
            "{}: first task of a new instance, created to seen ended, median of {}",
            case.name,
            cold.first.count()
        ),
        Wanted::AtMost(limit),
        median,
        "ms",
    );
    report.figure(
        &format!("{}: the same beyond a warm task", case.name),
        Wanted::Nothing,
        median - warm,
        "ms",
    );
    if engine.is_some() {
        report.figure(
            "docker: `docker run` of the same image to its hello",
            Wanted::Nothing,
            docker_run,
            "ms",
        );
    } else {
        let (first, n) = after_restarts(bench, &mut server)?;
        report.figure(
            &format!(
                "{}: first task after a restart of sengu, median of {n}",
                case.name
            ),
            Wanted::Nothing,
            first,
            "ms",
        );
    }
    memory(report, case, &server, engine)
}

/// A task that does nothing; the ended task and its time in milliseconds.
fn echo(client: &mut Client, number: usize) -> Result<(Value, Duration)> {
    let target = targets::name(number % TARGETS);
    let (task, took) = task(client, &target, "noop", &json!({}))?;
    let by = task["ending"]["instance"].as_str().unwrap_or_default();
    ensure!(
        by.starts_with(&format!("{KIND}@{VERSION}/")),
        "done by another: {task}"
    );
    Ok((task, took))
}

/// One task after the other; the median of the whole way, in milliseconds.
fn warm(bench: &Bench, report: &mut Report, case: &Case, client: &mut Client) -> Result<f64> {
    let n = bench.size(3_000, 300);
    let (mut way, mut spans) = (Latencies::default(), Latencies::default());
    let mut total_ms = 0.0;
    for number in 0..n + 100 {
        let (task, took) = echo(client, number)?;
        if number < 100 {
            continue;
        }
        way.add(took.as_secs_f64() * 1e3);
        let moment = |name: &str| -> Result<jiff::Timestamp> {
            let text = task["ending"][name].as_str().context("a task has times")?;
            Ok(text.parse()?)
        };
        let span = moment("endedAt")?.as_millisecond() - moment("startedAt")?.as_millisecond();
        spans.add(span as f64);
        total_ms += span as f64;
    }
    report.raw(&format!(
        "sengu-{}-warm nan {:.2} {:.2} n={n} max_ms={:.2} handed_over_to_outcome_mean_ms={:.3} handed_over_to_outcome_p99_ms={:.0}",
        case.name,
        way.percentile(0.5),
        way.percentile(0.99),
        way.max(),
        total_ms / n as f64,
        spans.percentile(0.99),
    ));
    report.figure(
        &format!("{}: dispatch to a warm instance, p99", case.name),
        Wanted::AtMost(case.warm_p99_max_ms),
        spans.percentile(0.99),
        "ms",
    );
    report.figure(
        &format!("{}: the same, mean", case.name),
        Wanted::Nothing,
        total_ms / n as f64,
        "ms",
    );
    report.figure(
        &format!("{}: warm task, created to seen ended, p99", case.name),
        Wanted::Nothing,
        way.percentile(0.99),
        "ms",
    );
    Ok(way.percentile(0.5))
}

struct Cold {
    /// First tasks of new instances, in milliseconds.
    first: Latencies,
    docker_run: Latencies,
}

/// Every task meets a pool without an instance.
fn cold(bench: &Bench, case: &Case, client: &mut Client, engine: Option<&Dockerd>) -> Result<Cold> {
    let n = bench.size(30, 5);
    set_pool(client, KIND, &json!({"maxTasks": 1}))?;
    // A version that was just promoted is kept warm for a while. What is kept then wears out with this task.
    std::thread::sleep(ROUSED);
    echo(client, 0)?;
    let mut cold = Cold {
        first: Latencies::default(),
        docker_run: Latencies::default(),
    };
    let mut by = HashSet::new();
    for number in 0..n {
        wait_instances(client, KIND, 0)?;
        let (task, took) = echo(client, number)?;
        cold.first.add(took.as_secs_f64() * 1e3);
        by.insert(task["ending"]["instance"].to_string());
        if let Some(engine) = engine {
            cold.docker_run.add(docker_run(engine)?);
        }
    }
    ensure!(
        by.len() == n,
        "{}: {n} cold tasks by {} instances",
        case.name,
        by.len()
    );
    Ok(cold)
}

/// `docker run` of the image that the runtime has made, with what it sets itself, to the first line of the worker.
fn docker_run(engine: &Dockerd) -> Result<f64> {
    let images = engine.lines(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    let image = images.first().context("the engine has no image")?;
    let started = Instant::now();
    let mut run = engine
        .docker(&["run", "--rm", "--interactive", "--init", "--network=host"])
        .args(["--read-only", "--cap-drop=ALL", "--memory=512m"])
        .args(["--log-driver=none", image])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("docker run")?;
    let mut line = String::new();
    let out = run.stdout.take().context("its output is a pipe")?;
    BufReader::new(out).read_line(&mut line)?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    drop(run.stdin.take());
    run.wait()?;
    ensure!(line.contains("hello"), "docker run said {line:?}");
    Ok(ms)
}

/// The first task of a sengu that has just come up with all it had; the median in milliseconds.
fn after_restarts(bench: &Bench, server: &mut Server) -> Result<(f64, usize)> {
    let n = bench.size(10, 2);
    let mut first = Latencies::default();
    set_pool(&mut server.client()?, KIND, &json!({}))?;
    for _ in 0..n {
        server.restart()?;
        let mut client = server.client()?;
        // The first connection and the first task of any kind are slower by themselves.
        std::thread::sleep(Duration::from_secs(1));
        let (_, took) = echo(&mut client, 0)?;
        first.add(took.as_secs_f64() * 1e3);
    }
    Ok((first.percentile(0.5), n))
}

fn memory(
    report: &mut Report,
    case: &Case,
    server: &Server,
    engine: Option<&Dockerd>,
) -> Result<()> {
    let mut client = server.client()?;
    set_pool(&mut client, KIND, &json!({"warm": 1, "max": 32}))?;
    // What is filled once is there.
    echo(&mut client, 0)?;
    wait_instances(&mut client, KIND, 1)?;
    std::thread::sleep(Duration::from_secs(2));
    let (sengu_mib, _) = cpu::resident_mib(server.pid())?;
    set_pool(&mut client, KIND, &json!({"warm": IDLE + 1, "max": 32}))?;
    wait_instances(&mut client, KIND, IDLE + 1)?;
    std::thread::sleep(Duration::from_secs(2));
    let (sengu_more_mib, _) = cpu::resident_mib(server.pid())?;
    let within = (sengu_more_mib - sengu_mib) / IDLE as f64;
    let mut own = Vec::new();
    for root in roots(server, engine)? {
        let family = cpu::family(root)?;
        own.push(family.into_iter().map(cpu::proportional_mib).sum::<f64>());
    }
    let apart = own.iter().fold(0.0, |a, b| a + b) / own.len().max(1) as f64;
    ensure!(instances(&mut client, KIND)? == IDLE + 1, "instances left");
    report.raw(&format!(
        "sengu-{}-memory nan nan nan n={} own_mib={apart:.3} within_sengu_mib={within:.3}",
        case.name,
        IDLE + 1
    ));
    report.figure(
        &format!("{}: memory of an idle instance", case.name),
        Wanted::Nothing,
        (apart + within.max(0.0)) * 1024.0,
        "KiB",
    );
    Ok(())
}

/// The first process of each instance that has some.
fn roots(server: &Server, engine: Option<&Dockerd>) -> Result<Vec<u32>> {
    let Some(engine) = engine else {
        let below = server.below()?.into_iter();
        return Ok(below.filter(|pid| cpu::runs(*pid, PROGRAM)).collect());
    };
    let mut roots = Vec::new();
    for container in engine.lines(&["ps", "--quiet"])? {
        let pid = engine.lines(&["inspect", "--format", "{{.State.Pid}}", &container])?;
        roots.push(pid.first().context("a container has a process")?.parse()?);
    }
    Ok(roots)
}
