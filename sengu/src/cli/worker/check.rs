//! `sengu worker check`: the conformance kit for authors of workers. Needs no server and no target.

use crate::drivers::runtimes::docker::{self, DockerRuntime};
use crate::drivers::runtimes::process::ProcessRuntime;
use crate::drivers::runtimes::wasm::WasmRuntime;
use crate::exit::Exit;
use crate::output::{self, Format, FormatArg, Paint, Tone, say};
use anyhow::{Context as _, bail};
use sengu_execution::Runtime;
use sengu_execution::check::{self, Check, Verdict};
use sengu_model::limits;
use sengu_model::manifest::{Manifest, RUNTIME_DOCKER, RUNTIME_PROCESS, RUNTIME_WASM};
use sengu_model::wire::worker::FromWorker;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Check a worker against the protocol
///
/// Give the folder with worker.toml (best: its claims are checked too), or a command to start. No action is
/// run and no target is needed. Takes a quarter of a minute, since a worker has time to beat.
///
/// Example: sengu worker check --runtime process workers/redfish
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: FormatArg,
    /// What runs it
    #[arg(long, value_name = "process|docker|wasm", default_value = RUNTIME_PROCESS)]
    runtime: String,
    /// Folder, or command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FOLDER|COMMAND"
    )]
    what: Vec<String>,
}

pub async fn run(args: Args) -> anyhow::Result<Exit> {
    let place = Place::new()?;
    let runtime = runtime_by_name(&args.runtime, &place.0)?;
    let (manifest, folder) = subject(&args.what).await?;
    say(&format!(
        "checking {}@{} in {}",
        output::safe(&manifest.name),
        output::safe(&manifest.version),
        folder.display()
    ));
    let checks = check::check(&*runtime, &manifest, &folder).await;
    print(args.output.format, &checks)?;
    let failed = checks
        .iter()
        .filter(|c| c.verdict == Verdict::Failed)
        .count();
    if failed > 0 {
        let of = output::count(checks.len() as u64, "check");
        say(&format!("{failed} of {of} failed"));
        return Ok(Exit::NotAsWanted);
    }
    Ok(Exit::Ok)
}

/// The runtime of that name; `place` is for its own files.
fn runtime_by_name(name: &str, place: &Path) -> anyhow::Result<Box<dyn Runtime>> {
    match name {
        RUNTIME_PROCESS => Ok(Box::new(ProcessRuntime::new(place.to_owned()))),
        RUNTIME_DOCKER => Ok(Box::new(DockerRuntime::new(docker::Settings {
            socket: std::env::var_os("SENGU_DOCKER_SOCKET").map(PathBuf::from),
            owner: format!("check/{}", std::process::id()),
            network: docker::DEFAULT_NETWORK.to_owned(),
        }))),
        RUNTIME_WASM => {
            let own = std::env::current_exe().context("find this program")?;
            let compiler = vec![own.into_os_string(), "wasm-compile".into()];
            Ok(Box::new(WasmRuntime::new(place.to_owned(), compiler)))
        }
        other => bail!(
            "runtime {other:?} is not known: {RUNTIME_PROCESS}, {RUNTIME_DOCKER} or {RUNTIME_WASM}"
        ),
    }
}

fn print(format: Format, checks: &[Check]) -> anyhow::Result<()> {
    let word = |verdict| match verdict {
        Verdict::Passed => ("ok", Tone::Good),
        Verdict::Advice => ("advice", Tone::Warn),
        Verdict::Failed => ("FAILED", Tone::Bad),
    };
    if !format.for_people() {
        let checks: Vec<_> = checks
            .iter()
            .map(|c| json!({"claim": c.claim, "verdict": word(c.verdict).0.to_lowercase(), "detail": c.detail}))
            .collect();
        return output::print_value(format, &checks);
    }
    let paint = Paint::stdout();
    for check in checks {
        let (word, tone) = word(check.verdict);
        output::print_line(&format!(
            "{}{}",
            paint.text(tone, &format!("{word:<8}")),
            check.claim
        ));
        for line in check.detail.lines() {
            output::print_line(&format!("        {}", output::safe(line)));
        }
    }
    Ok(())
}

/// The manifest and the folder of what is to be checked.
async fn subject(what: &[String]) -> anyhow::Result<(Manifest, PathBuf)> {
    let first = Path::new(&what[0]);
    if first.is_dir() && what.len() > 1 {
        bail!("one folder at a time, and options before it");
    }
    if what.len() == 1 && (first.is_dir() || first.file_name().is_some_and(|n| n == "worker.toml"))
    {
        let folder = if first.is_dir() {
            first
        } else {
            first.parent().unwrap_or(Path::new("."))
        };
        let path = folder.join("worker.toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let manifest = Manifest::parse(&text).with_context(|| path.display().to_string())?;
        return Ok((manifest, folder.canonicalize()?));
    }
    let folder = std::env::current_dir().context("find the current folder")?;
    Ok((introduced(what).await?, folder))
}

/// A manifest made from what the worker says of itself in its hello.
async fn introduced(command: &[String]) -> anyhow::Result<Manifest> {
    let mut child = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", command[0]))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let limit = Duration::from_millis(limits::HELLO_MAX_MS);
    let line = tokio::time::timeout(limit, BufReader::new(stdout).lines().next_line())
        .await
        .with_context(|| format!("{} said no hello within {}s", command[0], limit.as_secs()))??
        .with_context(|| format!("{} ended without a hello", command[0]))?;
    child.kill().await.ok();
    let hello = serde_json::from_str::<FromWorker>(&line)
        .ok()
        .filter(|f| f.kind == "hello");
    let Some(hello) = hello else {
        bail!(
            "the first line of {} is no hello: {}",
            command[0],
            output::safe(&line)
        );
    };
    // Workers run in a folder of their own, so what is named by a path must be found from there too.
    let absolute = |word: &String| match std::fs::canonicalize(word) {
        Ok(path) if path.is_file() => path.display().to_string(),
        _ => word.clone(),
    };
    let command: Vec<String> = command.iter().map(absolute).collect();
    let manifest = json!({
        "name": hello.worker.as_deref().unwrap_or_default(),
        "version": hello.version.as_deref().unwrap_or_default(),
        "protocol": hello.protocol.unwrap_or_default(),
        "slots": hello.slots.unwrap_or_default(),
        "command": command,
    });
    serde_json::from_value(manifest).context("the hello of the worker")
}

/// A folder for the runtime's own files.
struct Place(PathBuf);

impl Place {
    fn new() -> anyhow::Result<Place> {
        let path = std::env::temp_dir().join(format!("sengu-check-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Place(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
