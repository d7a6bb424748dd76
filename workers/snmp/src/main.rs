//! The worker kind `snmp`: observes devices by profiles that are data, and switches PDU outlets.

mod access;
mod convert;
mod evaluate;
mod fetch;
mod observe;
mod outlet;
mod profile;
mod profiles;
mod session;
mod trouble;
mod twin;

use crate::profiles::{Folder, Plan};
use crate::session::{Session, Sessions};
use crate::trouble::Trouble;
use sengu_sdk::{Context, Outcome, Start, Worker};
use std::process::ExitCode;
use std::sync::Arc;

struct Snmp {
    profiles: Folder,
    sessions: Sessions,
}

impl Worker for Snmp {
    async fn run(&self, task: Context) -> Outcome {
        let ended = self.attempt(&task).await;
        let lost = matches!(
            &ended,
            Err(Trouble::Silent(_)) | Ok(Outcome::Unknown { .. })
        );
        if lost {
            // Behind the silence may be another device, address or engine: the next task begins with discovery,
            // where a pinned engine id is checked.
            self.sessions.forget(&task.target.name);
        }
        ended.unwrap_or_else(Outcome::from)
    }

    async fn drain(&self) {
        self.sessions.forget_all();
    }
}

impl Snmp {
    async fn attempt(&self, task: &Context) -> Result<Outcome, Trouble> {
        match task.action.as_str() {
            "observe" => self.observe(task).await,
            "outlet.set" => self.outlet_set(task).await,
            "outlet.cycle" => self.outlet_cycle(task).await,
            other => Err(Trouble::refused(format!("unknown action {other:?}"))),
        }
    }

    /// The target's session, met, and the profile to use with it.
    async fn begin(
        &self,
        task: &Context,
        forced: Option<&str>,
    ) -> Result<(Arc<Session>, Arc<Plan>), Trouble> {
        let session = self.sessions.of(task).await?;
        session.meet(task).await?;
        let set = self.profiles.current();
        let plan = match forced.or(session.profile()) {
            Some(name) => set.named(name),
            None => set.of_device(session.sys_object_id().await?.as_ref()),
        };
        Ok((session, plan.map_err(Trouble::refused)?))
    }
}

fn main() -> ExitCode {
    sengu_sdk::run::<_, twin::SnmpTwin>(include_str!("../worker.toml"), |start: &Start| {
        let path = start.folder.join("profiles");
        let profiles = Folder::open(path.clone());
        let set = profiles.current();
        for (file, why) in &set.broken {
            eprintln!("profile {file}: {why}");
        }
        if set.is_empty() {
            return Err(format!("no usable profile in {}", path.display()));
        }
        Ok(Snmp {
            profiles,
            sessions: Sessions::default(),
        })
    })
}
