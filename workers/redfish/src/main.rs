//! The redfish worker: drives servers through their BMC.
//!
//! The way in: `Redfish::run` names the action, `power` and `setting` change things, `observe` reads them, `client` talks.
//! It must never repeat a change whose answer was lost, and never leave a session behind on a BMC.

mod bmc;
mod client;
mod config;
mod http;
mod limits;
mod links;
mod monitor;
mod observe;
mod power;
mod power_cycle;
mod read_back;
mod reply;
mod sensors;
mod setting;
mod tls;
mod twin;

use crate::bmc::Fleet;
use crate::client::Client;
use sengu_sdk::{Context, Failure, FailureCode, Outcome, Start, Worker};
use std::process::ExitCode;
use std::sync::Arc;

struct Redfish {
    fleet: Arc<Fleet>,
}

impl Redfish {
    fn client(&self, task: &Context) -> Result<Client, Failure> {
        let (access, config) = config::read(task)?;
        let handover = limits::HANDOVER.min(task.remaining() / 5);
        Ok(Client {
            bmc: self.fleet.lease(&access)?,
            credentials: access.credentials,
            etag: config.etag,
            system: config.system,
            deadline: task.deadline() - handover,
        })
    }
}

impl Worker for Redfish {
    async fn run(&self, task: Context) -> Outcome {
        let client = match self.client(&task) {
            Ok(client) => client,
            Err(failure) => return failure.into(),
        };
        match task.action.as_str() {
            "observe" => observe::observe(&task, &client).await,
            "power.set" => power::set(&task, &client).await,
            "power.cycle" => power_cycle::cycle(&task, &client).await,
            "power.cycle.probe" => power_cycle::probe(&task, &client).await,
            "boot.set" => setting::boot(&task, &client).await,
            "led.set" => setting::led(&task, &client).await,
            "powercap.set" => setting::powercap(&task, &client).await,
            other => Outcome::failed(FailureCode::Refused, format!("unknown action {other:?}")),
        }
    }

    async fn drain(&self) {
        self.fleet.drain().await;
    }
}

fn main() -> ExitCode {
    let make = |start: &Start| {
        let sessions = usize::from(start.manifest.limits.sessions);
        Ok(Redfish {
            fleet: Fleet::new(sessions),
        })
    };
    sengu_sdk::run::<_, twin::RedfishTwin>(include_str!("../worker.toml"), make)
}
