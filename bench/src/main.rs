//! Figures of the built product, beside those of peers in the same run. It speaks to `sengu up` as any user does,
//! through the REST API and the CLI: it must never link a crate of sengu, so that what it loads is what ships.

mod cpu;
mod guest;
mod http;
mod load;
mod peers;
mod releases;
mod report;
mod results;
mod server;
mod servers;
mod stats;
mod suites;
mod targets;
mod tasks;
mod witness;

use anyhow::{Context as _, Result, bail};
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
sengu-bench [suite..] [--quick] [--peers DIR] [--sengu FILE] [--workers DIR] [--json]

  suites          pipeline latency backlog fleet idle flips sweep-bad kinds runtimes ssh snmp redfish
                  (default: all, in this order)
  --quick         small numbers: whether it works, not how fast
  --peers DIR     folder of the peers' scripts; also env SENGU_PEERS_SCRIPTS (what they need: env PEERS)
  --sengu FILE    the sengu program (default: beside this one)
  --workers DIR   folder of the workers (default: `workers` beside the sengu program)
  --json          the figures as one JSON document on stdout, the rest on stderr

A suite of which something broke ends the bench with exit code 1; a figure that is missed does not.
";

/// What every suite is given.
#[derive(Debug)]
pub struct Bench {
    pub quick: bool,
    pub sengu: PathBuf,
    pub workers: PathBuf,
    /// Where data directories are made: on the disk of the build, never in memory.
    pub scratch: PathBuf,
    pub peers: peers::Peers,
    /// The echo worker linked statically, for containers.
    pub static_echo: PathBuf,
    /// Programs in Python that the tests' setup installs.
    tools: PathBuf,
}

impl Bench {
    /// The number for a whole run, or that for a quick one.
    pub fn size(&self, whole: usize, quick: usize) -> usize {
        if self.quick { quick } else { whole }
    }

    /// A program of the tests' Python environment.
    ///
    /// # Errors
    /// As one line, with what installs it.
    pub fn tool(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.tools.join(name);
        let path = path.to_string_lossy();
        servers::program(&path, "`cargo xtask test` installs it")
    }
}

struct Options {
    suites: Vec<String>,
    json: bool,
    bench: Bench,
}

fn options() -> Result<Option<Options>> {
    let program = std::env::current_exe().context("find this program")?;
    let folder = program
        .parent()
        .context("find the folder of this program")?;
    let mut suites = Vec::new();
    let (mut quick, mut json) = (false, false);
    let mut sengu = folder.join("sengu");
    let mut workers = None;
    let mut scripts = std::env::var_os("SENGU_PEERS_SCRIPTS").map(PathBuf::from);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--quick" => quick = true,
            "--json" => json = true,
            "--peers" => scripts = Some(value()?.into()),
            "--sengu" => sengu = value()?.into(),
            "--workers" => workers = Some(PathBuf::from(value()?)),
            "--help" | "-h" => return Ok(None),
            suite if suites::ALL.iter().any(|s| s.name == suite) => suites.push(arg),
            other => bail!("unknown argument {other:?}\n\n{HELP}"),
        }
    }
    let sengu = sengu
        .canonicalize()
        .with_context(|| format!("find {}; `cargo xtask bench` builds it", sengu.display()))?;
    let beside = sengu.with_file_name("workers");
    let scratch = folder.join("bench-data");
    std::fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    let bench = Bench {
        quick,
        sengu,
        workers: workers.unwrap_or(beside),
        scratch,
        peers: peers::Peers::find(scripts)?,
        static_echo: folder.with_file_name("static").join(format!(
            "{}-unknown-linux-gnu/release/sengu-worker-echo",
            std::env::consts::ARCH
        )),
        tools: folder.with_file_name("test-venv").join("bin"),
    };
    Ok(Some(Options {
        suites,
        json,
        bench,
    }))
}

fn run() -> Result<bool> {
    let Some(options) = options()? else {
        print!("{HELP}");
        return Ok(true);
    };
    let mut report = Report::new(options.json);
    report.note(&cpu::machine());
    if options.bench.quick {
        report.note("quick: the numbers are too small for figures to be quoted");
    }
    let mut whole = true;
    for suite in &suites::ALL {
        if !options.suites.is_empty() && !options.suites.iter().any(|s| s == suite.name) {
            continue;
        }
        report.begin(suite.name);
        if let Err(error) = (suite.run)(&options.bench, &mut report) {
            report.broke(&format!("{error:#}"));
            whole = false;
        }
    }
    report.end();
    Ok(whole)
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(witness::VERB) {
        return witness::run(args);
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
