//! The worker kind `modbus`: observes devices by register maps that are data, and writes their set points.

mod batch;
mod config;
mod device;
mod exception;
mod frame;
mod gateway;
mod map;
mod observe;
mod profiles;
mod set;
mod setpoint;
mod targets;
mod trouble;
mod twin;
mod value;

use crate::device::Device;
use crate::gateway::Gateways;
use crate::profiles::Folder;
use crate::targets::{Known, Targets};
use crate::trouble::Trouble;
use sengu_sdk::{Context, Outcome, Start, Worker};
use std::process::ExitCode;
use std::sync::Arc;

struct Modbus {
    profiles: Folder,
    targets: Targets,
    gateways: Gateways,
}

impl Worker for Modbus {
    async fn run(&self, task: Context) -> Outcome {
        self.attempt(&task).await.unwrap_or_else(Outcome::from)
    }

    async fn drain(&self) {
        self.gateways.close();
    }
}

impl Modbus {
    async fn attempt(&self, task: &Context) -> Result<Outcome, Trouble> {
        match task.action.as_str() {
            "observe" => self.observe(task).await,
            "point.read" => self.point_read(task).await,
            "point.set" => self.point_set(task).await,
            "point.probe" => self.point_probe(task).await,
            other => Err(Trouble::refused(format!("unknown action {other:?}"))),
        }
    }

    /// The task's device behind its gateway. Nothing is sent yet.
    fn device(&self, task: &Context, profile: Option<&str>) -> Result<Device, Trouble> {
        let profiles = self.profiles.current();
        let known = match profile {
            // For this task only: what is learnt with it must not be taken for the target's own map.
            Some(_) => Arc::new(Known::new(task, &profiles, profile)?),
            None => self.targets.of(task, &profiles)?,
        };
        let gateway = self.gateways.of(&known.address);
        Ok(Device::new(known, gateway))
    }
}

fn main() -> ExitCode {
    sengu_sdk::run::<_, twin::ModbusTwin>(include_str!("../worker.toml"), |start: &Start| {
        let profiles = Folder::open(start.folder.join("profiles"));
        for (name, why) in &profiles.current().broken {
            eprintln!("profile {name}: {why}");
        }
        Ok(Modbus {
            profiles,
            targets: Targets::default(),
            gateways: Gateways::default(),
        })
    })
}
