//! Follows what the execution environments say of themselves: it sets the windows and keeps the Wee records. One that
//! says nothing for a while is gone, whether it took its announcement back or not.

use crate::audit::Act;
use crate::core::{Logic, Shared};
use crate::dispatch::route::Windows;
use crate::dispatch::{HELD_MIN, Handle, Input};
use crate::records::{not_found, store_problem};
use bytes::Bytes;
use sengu_interconnect::contact::Contact;
use sengu_interconnect::{BrokerError, Message, Queue};
use sengu_model::problem::{Code, Problem};
use sengu_model::wire::envelope::{WeeAnnouncement, WeeCommand, WeeSpec};
use sengu_model::{Record, limits};
use sengu_store::StoreError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Silence is looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Where logic says what it wants of them.
pub(super) const SPECS: &str = "wee-spec/";

pub async fn run(shared: Arc<Shared>, dispatch: Handle) {
    loop {
        if let Err(error) = follow(&shared, &dispatch).await {
            tracing::warn!(%error, "execution environments cannot be followed");
        }
        tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
    }
}

async fn follow(shared: &Arc<Shared>, dispatch: &Handle) -> Result<(), BrokerError> {
    let mut directory = shared.broker.directory("wee/".to_owned()).await?;
    let mut windows = Windows::new();
    // By our own clock: theirs may be wrong. Those that an earlier life of logic knew have their time to speak up.
    let mut heard: HashMap<String, Instant> = believed(shared);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    let silence = Duration::from_millis(limits::WEE_SILENCE_MAX_MS);
    let contact = shared.broker.contact();
    loop {
        let entries = tokio::select! {
            biased;
            entries = directory.next() => entries?,
            _ = look.tick() => Vec::new(),
        };
        for (key, value) in entries {
            let name = key.trim_start_matches("wee/").to_owned();
            let announced = value.and_then(|v| serde_json::from_slice::<WeeAnnouncement>(&v).ok());
            match &announced {
                Some(_) => heard.insert(name.clone(), Instant::now()),
                None => heard.remove(&name),
            };
            take(shared, &name, announced).await;
        }
        // What was said while this was held up may not be read yet.
        let held = looked.elapsed() > HELD_MIN;
        if held || *contact.borrow() != Contact::There {
            // Nobody was heard, so nobody is silent.
            heard.values_mut().for_each(|at| *at = Instant::now());
        }
        looked = Instant::now();
        let silent: Vec<String> = heard
            .iter()
            .filter(|(_, at)| at.elapsed() > silence)
            .map(|(name, _)| name.clone())
            .collect();
        for name in silent {
            tracing::warn!(wee = name, "no word from it: taken for gone");
            heard.remove(&name);
            shared.wees.write().remove(&name);
            keep(shared, &name, None).await;
        }
        let now = windows_of(shared);
        if now != windows {
            windows.clone_from(&now);
            dispatch.send(Input::Windows(now)).await;
        }
    }
}

/// Keeps what one says, and its record where something of substance changed: counters move all the time.
async fn take(shared: &Arc<Shared>, name: &str, announced: Option<WeeAnnouncement>) {
    let before = shared.wees.read().get(name).cloned();
    let substance = |w: &WeeAnnouncement| {
        let pools = w.pools.iter().map(|p| {
            (
                p.kind.clone(),
                p.version.clone(),
                p.digest.clone(),
                p.broken.clone(),
                p.complaints.clone(),
            )
        });
        let same = (w.life, w.spec, w.sengu_version.clone(), w.labels.clone());
        (same, pools.collect::<Vec<_>>())
    };
    let changed = before.as_ref().map(substance) != announced.as_ref().map(substance);
    if let (Some(before), Some(now)) = (&before, &announced)
        && before.life != now.life
    {
        tracing::info!(wee = name, version = now.sengu_version, "began a new life");
    }
    match &announced {
        Some(wee) => shared.wees.write().insert(name.to_owned(), wee.clone()),
        None => shared.wees.write().remove(name),
    };
    if changed {
        keep(shared, name, announced).await;
    }
}

/// Those whose record says that they are there.
fn believed(shared: &Shared) -> HashMap<String, Instant> {
    let inventory = shared.inventory.read();
    let there = inventory
        .others_of("Wee")
        .filter(|(_, o)| o.record.status.get("gone").is_none());
    there
        .map(|(name, _)| (name.to_owned(), Instant::now()))
        .collect()
}

async fn keep(shared: &Arc<Shared>, name: &str, announced: Option<WeeAnnouncement>) {
    let status = match &announced {
        Some(wee) => serde_json::to_value(wee).unwrap_or_default(),
        None => serde_json::json!({ "gone": true }),
    };
    // A cordon that is being written must not be undone by what was read before it.
    let _one_writer = shared.writes.lock().await;
    let spec = serde_json::to_value(spec_of(shared, name)).unwrap_or_default();
    match shared.put_own("Wee", name, spec, status).await {
        Ok(_) => {}
        // Sengu ends, and the next start finds out anew.
        Err(StoreError::Closed) => tracing::debug!(wee = name, "record not written"),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "Wee record not written"
        ),
    }
}

/// What may be out at once: the slots of those that take tasks.
fn windows_of(shared: &Shared) -> Windows {
    let mut windows = Windows::new();
    for wee in shared.wees.read().values() {
        if wee.spec.cordoned || wee.spec.drained || spec_of(shared, &wee.name) != wee.spec {
            continue;
        }
        for pool in wee.pools.iter().filter(|pool| pool.broken.is_none()) {
            let of_kind = windows.entry(pool.kind.clone()).or_default();
            let key = (wee.zone.clone(), pool.version.clone());
            let window = of_kind.entry(key).or_default();
            *window = window.saturating_add(pool.slots_max);
        }
    }
    windows
}

/// What is wanted of one.
pub fn spec_of(shared: &Shared, name: &str) -> WeeSpec {
    let inventory = shared.inventory.read();
    let spec = inventory.other("Wee", name).map(|o| o.record.spec.clone());
    spec.and_then(|s| serde_json::from_value(s).ok())
        .unwrap_or_default()
}

/// Says what is wanted of one.
///
/// # Errors
/// The broker's.
pub(super) async fn tell(shared: &Shared, name: &str, spec: WeeSpec) -> Result<(), BrokerError> {
    let key = format!("{SPECS}{name}");
    shared.broker.retain(key, said(spec)).await
}

/// What stands in the directory for it; of the usual, nothing.
pub(super) fn said(spec: WeeSpec) -> Option<Bytes> {
    let wanted = spec != WeeSpec::default();
    wanted.then(|| serde_json::to_vec(&spec).unwrap_or_default().into())
}

impl Logic {
    /// Sets what is wanted of an execution environment.
    ///
    /// # Errors
    /// `not_found`, `unavailable`, or the store's.
    pub async fn set_wee(&self, name: &str, wanted: WeeSpec) -> Result<Record, Problem> {
        let _one_writer = self.shared.writes.lock().await;
        let known = self
            .record("Wee", name)
            .ok_or_else(|| not_found("Wee", name))?;
        let what = match wanted {
            WeeSpec { drained: true, .. } => "drained",
            WeeSpec { cordoned: true, .. } => "cordoned",
            WeeSpec { .. } => "uncordoned",
        };
        self.shared.will(Act::new(what, "Wee", name)).await?;
        let spec = serde_json::to_value(wanted).unwrap_or_default();
        let written = self.shared.put_own("Wee", name, spec, known.status).await;
        let other = written.map_err(store_problem)?;
        tell(&self.shared, name, wanted).await.map_err(away)?;
        let windows = windows_of(&self.shared);
        self.dispatch.send(Input::Windows(windows)).await;
        Ok(other.record.clone())
    }

    /// Has an execution environment drain and start again as the program that is installed now.
    ///
    /// # Errors
    /// `not_found`, `wrong_state` where it cannot, `unavailable`.
    pub async fn upgrade_wee(&self, name: &str) -> Result<WeeAnnouncement, Problem> {
        let wee = self.shared.wees.read().get(name).cloned();
        let wee = wee.ok_or_else(|| not_found("execution environment in touch", name))?;
        if wee.embedded {
            let what = format!("wee/{name} shares the process of logic");
            return Err(Problem::new(Code::WrongState, what)
                .hint("upgrade it by starting sengu again; nothing in hand is lost"));
        }
        self.shared.will(Act::new("upgraded", "Wee", name)).await?;
        let body = serde_json::to_vec(&WeeCommand::Upgrade).unwrap_or_default();
        let message = Message {
            queue: Queue::wee(name),
            body: body.into(),
        };
        self.shared
            .broker
            .publish(vec![message])
            .await
            .map_err(away)?;
        Ok(wee)
    }
}

#[allow(clippy::needless_pass_by_value)] // as a function for map_err
fn away(error: BrokerError) -> Problem {
    Problem::new(
        Code::Unavailable,
        format!("the interconnect did not take it: {error}"),
    )
}
