//! Drives hosts over SSH: facts, commands, files, services, packages.
//!
//! The way in is `actions/`, one file per action; below it `run` (one command), `kept` (connections) and `dial`
//! (login). `twin/` plays the hosts. There is no retry of a command that may have reached a host, and no pty.

mod actions;
mod command;
mod dial;
mod host;
mod host_key;
mod kept;
mod output;
mod run;
mod twin;
mod wire;
mod words;

use host::Host;
use kept::Kept;
use sengu_sdk::{Context, Failure, FailureCode, Outcome, Start, Worker};
use std::{process::ExitCode, sync::Arc};

#[derive(Default)]
struct Ssh {
    kept: Arc<Kept>,
}

impl Ssh {
    async fn act(&self, task: &Context) -> Result<Outcome, Failure> {
        let host = Host::of(task)?;
        let kept = &self.kept;
        match task.action.as_str() {
            "observe" => actions::observe::observe(task, kept, &host).await,
            "exec" => actions::exec::exec(task, kept, &host).await,
            "file.put" => actions::file::put(task, kept, &host).await,
            "file.get" => actions::file::get(task, kept, &host).await,
            "service.set" => actions::service::set(task, kept, &host).await,
            "package.set" => actions::package::set(task, kept, &host).await,
            other => Err(Failure::new(
                FailureCode::Refused,
                format!("unknown action {other:?}"),
            )),
        }
    }
}

impl Worker for Ssh {
    async fn run(&self, task: Context) -> Outcome {
        self.act(&task).await.unwrap_or_else(Outcome::from)
    }

    async fn drain(&self) {
        self.kept.close_all().await;
    }
}

fn main() -> ExitCode {
    sengu_sdk::run::<_, twin::Fleet>(include_str!("../worker.toml"), |_: &Start| {
        Ok(Ssh::default())
    })
}
