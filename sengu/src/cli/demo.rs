//! `sengu demo`: the whole system at work on twins, so that a person sees in half a minute what it does.
//!
//! All it prints is read from the API and from the twins. It must never touch anything but loopback, and must end every
//! process it started.

mod children;
mod fleet;
mod renewal;
mod report;
mod story;
mod tell;

use super::Context;
use crate::client::{Client, Connect};
use crate::exit::Exit;
use crate::output::{self, Format, say};
use anyhow::{Context as _, bail};
use children::{Twins, Up};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tell::Teller;

/// Show it at work on twins of 1,000 targets
///
/// Starts a control plane in a fresh data directory and twins of Redfish BMCs, SSH hosts and SNMP PDUs that
/// speak their real protocols on loopback; sweeps them, changes some of them in batches, kills a worker in the
/// middle, and shows that nothing was lost.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Targets to play
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(3..=20_000))]
    targets: u32,
    /// Stay up afterwards and say what to try next
    #[arg(long)]
    keep: bool,
    /// One JSON document instead of the story
    #[arg(long)]
    json: bool,
}

/// Worker kinds of the demo, the names of their twins, and what people call them.
pub const KINDS: [(&str, &str, &str); 3] = [
    ("redfish", "bmc", "Redfish BMC"),
    ("ssh", "host", "SSH host"),
    ("snmp", "pdu", "SNMP PDU"),
];

pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let program = std::env::current_exe().context("find this program")?;
    let workers = program.parent().unwrap_or(Path::new(".")).join("workers");
    for (kind, ..) in KINDS {
        if !workers.join(kind).join("worker.toml").is_file() {
            bail!(
                "no worker {kind} in {}: the demo needs the stock workers beside the program \
                 (from the sources: cargo xtask demo)",
                workers.display()
            );
        }
    }
    children::raise_open_files();
    let data = DataDir::new(context.connect.data.as_deref(), args.keep)?;
    let mut teller = Teller::new(args.json);
    let interrupted = asked_to_end();
    tokio::pin!(interrupted);
    let mut play = Play {
        up: None,
        twins: Vec::new(),
    };
    let told = tokio::select! {
        told = play.story(&args, &program, &workers, &data, &mut teller, begun) => told,
        _ = &mut interrupted => {
            play.end().await;
            say("interrupted; all that was started has ended");
            return Ok(Exit::Interrupted);
        }
    };
    let report = match told {
        Ok(report) => report,
        Err(error) => {
            // What the server said last is where the cause is.
            let log = children::tail(&data.path.join("up.log"));
            play.end().await;
            if !log.is_empty() {
                say(&format!("the control plane said last:\n{log}"));
            }
            return Err(error);
        }
    };
    if args.json {
        output::print_value(Format::Json, &report)?;
    }
    if args.keep {
        let connect = Connect {
            data: Some(data.path.clone()),
            ..Connect::default()
        };
        let console = super::console::link(&Client::find(&connect)?).await?;
        teller.next_commands(&program, &data.path, &report, &console);
        interrupted.await;
    }
    play.end().await;
    Ok(if report.honest {
        Exit::Ok
    } else {
        Exit::NotAsWanted
    })
}

/// Ctrl-C, or the end of the terminal or of the job that runs the demo.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind: SignalKind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        // Without a handler the signal ends the process by itself.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

/// The processes of one demo.
struct Play {
    up: Option<Up>,
    twins: Vec<Twins>,
}

impl Play {
    async fn story(
        &mut self,
        args: &Args,
        program: &Path,
        workers: &Path,
        data: &DataDir,
        teller: &mut Teller,
        begun: Instant,
    ) -> anyhow::Result<report::Report> {
        teller.title(args.targets);
        teller.section("Start");
        let up = self.up.insert(Up::start(program, &data.path)?);
        let shares = shares(args.targets);
        let mut starting = Vec::new();
        for ((kind, prefix, _), count) in KINDS.into_iter().zip(shares) {
            starting.push(Twins::start(
                workers.join(kind),
                kind,
                prefix,
                count,
                &data.path,
            ));
        }
        let twins_begun = Instant::now();
        // Both come up side by side; neither needs the other yet.
        let (endpoint, twins) =
            tokio::try_join!(up.ready(), futures::future::try_join_all(starting))?;
        let up_pid = up.pid();
        self.twins = twins;
        teller.fact("control plane", &format!("{endpoint}, process {up_pid}"));
        let played: Vec<String> = KINDS
            .iter()
            .zip(shares)
            .map(|((_, _, name), n)| output::count(n, name))
            .collect();
        teller.fact("twins", &format!("{} on loopback", played.join(", ")));
        teller.fact("ready", &output::span(tell::ms(twins_begun.elapsed())));
        let connect = Connect {
            data: Some(data.path.clone()),
            ..Connect::default()
        };
        let client = Client::find(&connect)?;
        teller.fact("console", &format!("{endpoint}{}", sengu_console::PATH));
        let mut story = story::Story {
            client,
            twins: &mut self.twins,
            teller,
            up_pid,
            begun,
            data: data.path.clone(),
        };
        story.tell(args.targets).await
    }

    async fn end(&mut self) {
        // Nobody is left to answer; so the control plane goes first and does not note 1,000 lost targets.
        if let Some(up) = &mut self.up {
            up.end().await;
        }
        for twins in &mut self.twins {
            twins.end().await;
        }
    }
}

/// About a third each; every kind at least one.
fn shares(targets: u32) -> [u32; 3] {
    let third = targets / 3;
    [targets - 2 * third, third, third]
}

/// The data directory of the demo: fresh, and removed in the end unless it was named or is to be kept.
struct DataDir {
    path: PathBuf,
    remove: bool,
}

impl DataDir {
    fn new(named: Option<&Path>, keep: bool) -> anyhow::Result<DataDir> {
        let (path, remove) = match named {
            Some(path) => (path.to_owned(), false),
            None => {
                let name = format!("sengu-demo-{}", std::process::id());
                (std::env::temp_dir().join(name), !keep)
            }
        };
        let empty = match std::fs::read_dir(&path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(_) => true,
        };
        if !empty {
            bail!(
                "{} is not empty: the demo wants a fresh data directory",
                path.display()
            );
        }
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("create {}", path.display()))?;
        Ok(DataDir { path, remove })
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.remove {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_kind() {
        for n in [3, 4, 5, 30, 1_000, 9_999] {
            let shares = shares(n);
            assert_eq!(shares.iter().sum::<u32>(), n);
            assert!(shares.iter().all(|s| *s >= 1));
        }
    }

    #[test]
    fn a_data_directory_with_something_in_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DataDir::new(Some(dir.path()), false).is_ok());
        std::fs::write(dir.path().join("x"), "").unwrap();
        assert!(DataDir::new(Some(dir.path()), false).is_err());
        assert!(dir.path().exists(), "what was named is never removed");
    }
}
