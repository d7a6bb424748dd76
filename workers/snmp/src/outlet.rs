//! `outlet.set` and `outlet.cycle`, driven by the profile: read first, SET, read back until the deadline.
//!
//! A SET whose answer is lost is not repeated before the outlet has been seen unchanged; a cycle is never repeated.

use crate::Snmp;
use crate::convert;
use crate::profile::{CommandFile, Outlet};
use crate::session::Session;
use crate::trouble::Trouble;
use async_snmp::{Oid, Value};
use sengu_sdk::{Context, Failure, FailureCode, Level, Outcome};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Kept back from the deadline to say what is known.
const SAY_SO: Duration = Duration::from_millis(250);
/// First and greatest wait between two looks at the outlet.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_millis(1_000);
/// A SET without an answer, and the outlet seen unchanged this long after: it was lost and may be sent again.
const LOST_AFTER: Duration = Duration::from_millis(1_000);
/// SETs sent at most for one task.
const SETS_MAX: u32 = 3;

#[derive(Deserialize)]
struct SetParams {
    outlet: u32,
    unit: Option<u32>,
    state: State,
}

#[derive(Deserialize)]
struct CycleParams {
    outlet: u32,
    unit: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    On,
    Off,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::On => "on",
            State::Off => "off",
        }
    }
}

/// What was read of an outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Settled(State),
    /// On its way there, or a command is pending and this is where it will end as far as is known.
    Pending(Option<State>),
}

/// One outlet of one device.
struct Socket<'a> {
    session: &'a Session,
    outlet: &'a Outlet,
    number: u32,
    unit: u32,
}

/// How a SET ended.
enum Sent {
    Acknowledged,
    /// It may or may not have arrived.
    Unanswered,
}

impl Snmp {
    pub async fn outlet_set(&self, task: &Context) -> Result<Outcome, Trouble> {
        let params: SetParams = task.params()?;
        let (session, plan) = before_the_effect(task, self.begin(task, None)).await?;
        let outlet = need_outlets(&plan.name, plan.profile.outlet.as_ref())?;
        let socket = Socket::new(&session, outlet, params.outlet, params.unit);
        let before = before_the_effect(task, socket.look()).await?;
        let wanted = params.state;
        if before == Seen::Settled(wanted) {
            return Ok(Outcome::already(json!(wanted.as_str())));
        }
        let command = match wanted {
            State::On => &outlet.file.on,
            State::Off => &outlet.file.off,
        };
        let end = task.deadline() - SAY_SO;
        let mut sets = 0;
        let mut acknowledged = false;
        let mut sent_at = None::<Instant>;
        let mut last = Some(before);
        let mut wait = LOOK_FIRST;
        loop {
            // Nothing is sent while the outlet is on its way to where it should be.
            let on_its_way = match last {
                Some(Seen::Pending(Some(to))) => to == wanted,
                Some(Seen::Pending(None)) => sets > 0,
                _ => false,
            };
            let lost = !acknowledged && sent_at.is_none_or(|at| at.elapsed() >= LOST_AFTER);
            if !on_its_way && lost && last.is_some() && sets < SETS_MAX {
                if sets == 0 && task.is_cancelled() {
                    let why = "before the command was sent".to_owned();
                    return Ok(Outcome::Cancelled { why });
                }
                sets += 1;
                sent_at = Some(Instant::now());
                match socket.send(command, end).await {
                    Ok(Sent::Acknowledged) => acknowledged = true,
                    Ok(Sent::Unanswered) => {
                        task.log(Level::Warn, "the SET was not confirmed: reading back");
                    }
                    // The device says no: what an earlier, unanswered SET did is seen by looking.
                    Err(trouble) if sets == 1 => return Err(trouble),
                    Err(trouble) => task.log(Level::Warn, trouble.message()),
                }
                wait = LOOK_FIRST;
            }
            if Instant::now() + wait >= end {
                break;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOOK_MAX);
            last = match tokio::time::timeout_at(end, socket.look()).await {
                Ok(Ok(seen)) => Some(seen),
                Ok(Err(Trouble::Silent(_))) => None,
                // The PDU restarts its management card now and then; the outlet is judged by the next look.
                Ok(Err(trouble)) => {
                    task.log(Level::Warn, trouble.message());
                    None
                }
                Err(_) => break,
            };
            if last == Some(Seen::Settled(wanted)) {
                if sets == 0 {
                    return Ok(Outcome::already(json!(wanted.as_str())));
                }
                let before = json!(before.settled().map(State::as_str));
                return Ok(Outcome::changed(before, json!(wanted.as_str())));
            }
        }
        Ok(unsettled(wanted, last, sets, acknowledged))
    }

    pub async fn outlet_cycle(&self, task: &Context) -> Result<Outcome, Trouble> {
        let params: CycleParams = task.params()?;
        let (session, plan) = before_the_effect(task, self.begin(task, None)).await?;
        let outlet = need_outlets(&plan.name, plan.profile.outlet.as_ref())?;
        let command = outlet.file.cycle.as_ref().ok_or_else(|| {
            Trouble::refused(format!("profile {:?} has no command to cycle", plan.name))
        })?;
        let socket = Socket::new(&session, outlet, params.outlet, params.unit);
        match before_the_effect(task, socket.look()).await? {
            Seen::Settled(State::On) => {}
            Seen::Settled(State::Off) => {
                return Err(Trouble::refused("the outlet is off: nothing to cycle"));
            }
            Seen::Pending(_) => {
                let message = "the outlet is carrying out another command";
                return Err(Trouble::Failed(Failure::busy(message, 5_000)));
            }
        }
        if task.is_cancelled() {
            let why = "before the command was sent".to_owned();
            return Ok(Outcome::Cancelled { why });
        }
        let end = task.deadline() - SAY_SO;
        let sent = socket.send(command, end).await?;
        let mut left_on = false;
        loop {
            if Instant::now() + LOOK_FIRST >= end {
                break;
            }
            tokio::time::sleep(LOOK_FIRST).await;
            let looked = tokio::time::timeout_at(end, socket.look()).await;
            match looked {
                Ok(Ok(Seen::Settled(State::On))) if left_on => {
                    return Ok(Outcome::changed(json!("on"), json!("on")));
                }
                Ok(Ok(Seen::Settled(State::On))) => {}
                Ok(Ok(_)) => left_on = true,
                Ok(Err(_)) => {}
                Err(_) => break,
            }
        }
        let why = match (&sent, left_on) {
            (_, true) => "the outlet went off, and was not seen on again before the deadline",
            (Sent::Acknowledged, false) => {
                "the PDU took the command, but the outlet was not seen to go off"
            }
            (Sent::Unanswered, false) => {
                "no answer to the command, and the outlet was not seen to go off"
            }
        };
        Ok(Outcome::Unknown {
            why: why.to_owned(),
        })
    }
}

/// Ends with the deadline while it is still sure that nothing was changed.
async fn before_the_effect<T>(
    task: &Context,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let ended = tokio::time::timeout_at(task.deadline() - SAY_SO, work).await;
    ended.unwrap_or_else(|_| {
        let message = "the deadline passed before the command was sent";
        Err(Trouble::Failed(Failure::new(FailureCode::Timeout, message)))
    })
}

fn need_outlets<'a>(plan: &str, outlet: Option<&'a Outlet>) -> Result<&'a Outlet, Trouble> {
    outlet.ok_or_else(|| Trouble::refused(format!("profile {plan:?} has no outlets to switch")))
}

/// What is to be said when the outlet was not seen as wanted.
fn unsettled(wanted: State, last: Option<Seen>, sets: u32, acknowledged: bool) -> Outcome {
    let wanted = wanted.as_str();
    match last {
        // Lost on the way each time, and seen unchanged after the last: nothing has happened.
        Some(Seen::Settled(state)) if !acknowledged && sets > 0 => Outcome::failed(
            FailureCode::Timeout,
            format!(
                "no answer to {sets} SETs, and the outlet is still {}",
                state.as_str()
            ),
        ),
        Some(Seen::Settled(state)) => Outcome::Unknown {
            why: format!(
                "the PDU took the command for {wanted}, but the outlet still reads {}",
                state.as_str()
            ),
        },
        Some(Seen::Pending(_)) => Outcome::Unknown {
            why: format!("the outlet was still pending on its way to {wanted}"),
        },
        None => Outcome::Unknown {
            why: format!("{wanted} was commanded and the outlet could not be read back"),
        },
    }
}

impl Seen {
    fn settled(self) -> Option<State> {
        match self {
            Seen::Settled(state) => Some(state),
            Seen::Pending(_) => None,
        }
    }
}

impl<'a> Socket<'a> {
    fn new(session: &'a Session, outlet: &'a Outlet, number: u32, unit: Option<u32>) -> Self {
        Socket {
            session,
            outlet,
            number,
            unit: unit.unwrap_or(outlet.unit_default),
        }
    }

    fn oid(&self, template: &str) -> Result<Oid, Trouble> {
        let oid = self.outlet.oid(template, self.unit, self.number);
        oid.map_err(Trouble::refused)
    }

    async fn look(&self) -> Result<Seen, Trouble> {
        let file = &self.outlet.file;
        let mut oids = vec![self.oid(&file.status.oid)?];
        if let Some(pending) = &file.pending {
            oids.push(self.oid(&pending.oid)?);
        }
        let values = self.session.get(&oids).await?;
        let number = |at: usize| {
            let value = values.get(at).and_then(Option::as_ref);
            value.and_then(convert::integer)
        };
        let status = number(0).ok_or_else(|| {
            Trouble::refused(format!("the device has no switched outlet {}", self.number))
        })?;
        let pending = number(1)
            .zip(file.pending.as_ref())
            .is_some_and(|(n, p)| p.values.contains(&n));
        read_status(file, status, pending).ok_or_else(|| {
            Trouble::bad_reply(format!("outlet {} has status {status}", self.number))
        })
    }

    async fn send(&self, command: &CommandFile, end: Instant) -> Result<Sent, Trouble> {
        let oid = self.oid(&command.oid)?;
        let set = self.session.writes.set(&oid, Value::Integer(command.value));
        let Ok(sent) = tokio::time::timeout_at(end, set).await else {
            return Ok(Sent::Unanswered);
        };
        match sent.map_err(Trouble::from) {
            Ok(_) => Ok(Sent::Acknowledged),
            Err(Trouble::Silent(_) | Trouble::SocketLost) => Ok(Sent::Unanswered),
            // genErr and kin: agents give it also after they have acted, so the outlet has the last word.
            Err(Trouble::Failed(f)) if f.code == FailureCode::BadReply => Ok(Sent::Unanswered),
            Err(trouble) => Err(trouble),
        }
    }
}

fn read_status(file: &crate::profile::OutletFile, status: i64, pending: bool) -> Option<Seen> {
    let s = &file.status;
    if s.pending_on.contains(&status) {
        Some(Seen::Pending(Some(State::On)))
    } else if s.pending_off.contains(&status) {
        Some(Seen::Pending(Some(State::Off)))
    } else if pending && (s.on.contains(&status) || s.off.contains(&status)) {
        // A separate pending object does not say which command is pending.
        Some(Seen::Pending(None))
    } else if s.on.contains(&status) {
        Some(Seen::Settled(State::On))
    } else if s.off.contains(&status) {
        Some(Seen::Settled(State::Off))
    } else {
        None
    }
}
