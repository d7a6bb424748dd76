//! Measures the cold start of instances: from `start` to the first line that the worker writes, one after the other,
//! and then many at once.
//!
//! `cargo run -p sengu-runtime-process --example cold -- <folder of the worker> <program> [starts] [at once]`

use sengu_execution::runtime::{Image, Resources, Runtime, RuntimeDecl, RuntimeError};
use sengu_runtime_process::ProcessRuntime;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};

type Failure = Box<dyn std::error::Error>;

/// So that one start does not profit from what the kernel still does for the one before.
const PAUSE: Duration = Duration::from_millis(30);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("the worker's folder is missing")?;
    let program = arguments.next().ok_or("the program is missing")?;
    let starts: usize = arguments.next().map_or(Ok(100), |n| n.parse())?;
    let at_once: usize = arguments.next().map_or(Ok(100), |n| n.parse())?;
    let state = tempfile::tempdir()?;
    let runtime = Arc::new(ProcessRuntime::new(state.path().to_owned()));
    for word in runtime.isolation() {
        println!("{word}");
    }
    let image = Image {
        kind: "measured".to_owned(),
        version: "1.0.0".to_owned(),
        digest: String::new(),
        folder: folder.into(),
        command: vec![program],
        runtimes: vec![RuntimeDecl {
            name: "process".to_owned(),
            archive: None,
            component: None,
        }],
        resources: Resources::default(),
        slots: 1,
    };
    let (mut cold, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..starts {
        let (hello, stop) = one(&runtime, &image).await?;
        cold.push(hello);
        gone.push(stop);
        tokio::time::sleep(PAUSE).await;
    }
    print("start to hello, one at a time", cold);
    print("stop, one at a time", gone);
    let began = Instant::now();
    let all = (0..at_once).map(|_| one(&runtime, &image));
    let all = futures::future::try_join_all(all).await?;
    let wall = began.elapsed();
    print(
        "start to hello, all at once",
        all.iter().map(|(hello, _)| *hello).collect(),
    );
    println!("{at_once} started and stopped at once in {wall:.1?}");
    Ok(())
}

async fn one(
    runtime: &Arc<ProcessRuntime>,
    image: &Image,
) -> Result<(Duration, Duration), RuntimeError> {
    let began = Instant::now();
    let handle = runtime
        .start(image.clone(), "measured@1.0.0/1".to_owned())
        .await?;
    let attached = runtime.attach(handle.clone()).await?;
    let mut line = String::new();
    BufReader::new(attached.stdout)
        .read_line(&mut line)
        .await
        .map_err(RuntimeError::io("read the hello"))?;
    let hello = began.elapsed();
    let began = Instant::now();
    runtime.stop(handle).await?;
    Ok((hello, began.elapsed()))
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: f64| {
        let last = times.len().saturating_sub(1);
        times
            .get((last as f64 * part) as usize)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{what}: median {:.2?}, p95 {:.2?}, most {:.2?}",
        at(0.5),
        at(0.95),
        at(1.0)
    );
}
