//! `point.set`, and the probe that tells whether a lost one took place.
//!
//! The write goes out once per task. What became of it is found by reading; it is never sent again to find out.

use crate::Modbus;
use crate::device::Device;
use crate::exception::{self, AfterWrite};
use crate::gateway::{Answer, Lost};
use crate::map::Value;
use crate::setpoint::Wanted;
use crate::trouble::Trouble;
use sengu_sdk::{Context, Done, Failure, FailureCode, Level, Outcome};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::time::Instant;

/// Kept back from the deadline to say what is known.
const SAY_SO: Duration = Duration::from_millis(250);
/// First and greatest wait between two looks.
const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_millis(1_000);
/// A device that holds another value this long after it took the write has made up its mind.
const MADE_UP: Duration = Duration::from_millis(3_000);
/// For the checkpoint to leave this process before the effect can begin.
const CHECKPOINT_LEAVES: Duration = Duration::from_millis(20);

#[derive(Deserialize)]
struct Params {
    point: String,
    value: Json,
}

/// One set point of one device, and what it shall be.
struct Setting {
    device: Device,
    at: usize,
    /// The point that shows it.
    shown: usize,
    wanted: Wanted,
}

/// What is known of the write.
enum Written {
    /// The device says so.
    Told,
    /// It may have been done. `settled` when the device has said its last word.
    InDoubt { why: String, settled: bool },
}

impl Modbus {
    pub async fn point_set(&self, task: &Context) -> Result<Outcome, Trouble> {
        let setting = self.setting(task)?;
        let Setting { device, at, .. } = &setting;
        let (known, map) = (device.known(), &device.known().map);
        let set = map.points[*at].set.as_ref();
        let renew = set.is_some_and(|set| set.renew);
        let (_turn, before) = before_the_effect(task, async {
            let turn = device.gateway().change(known.config.unit).await;
            Ok((turn, setting.meet_and_look().await?))
        })
        .await?;
        let already = setting.is_seen(&before);
        if already && !renew {
            return Ok(Outcome::already(before.json()));
        }
        setting
            .wanted
            .check_change(map, *at, &before)
            .map_err(Trouble::refused)?;
        let (unit, address) = (known.config.unit, known.places[*at].address);
        let interval = Duration::from_secs(set.map_or(0, |set| set.interval_s));
        if let Some(rest) = device.gateway().rest(unit, address, interval) {
            let message = format!("written less than {} s ago", interval.as_secs());
            let ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX).max(1);
            return Err(Trouble(Failure::busy(message, ms)));
        }
        task.checkpoint(json!({
            "point": map.points[*at].name, "before": before.json(),
            "wanted": setting.wanted.value.json(), "renewal": already,
        }));
        tokio::time::sleep(CHECKPOINT_LEAVES).await;
        if task.is_cancelled() {
            let why = "before anything was written".to_owned();
            return Ok(Outcome::Cancelled { why });
        }
        let end = task.deadline() - SAY_SO;
        let write = setting.wanted.write(map, *at);
        let sent = tokio::time::timeout_at(end, device.write(write)).await;
        let written = match sent {
            Ok(Err(Lost::NotSent(why))) => {
                return Err(Trouble(Failure::new(FailureCode::Unreachable, why)));
            }
            Ok(Ok(Answer { reply, .. })) => match reply {
                Ok(_) => Written::Told,
                Err(code) => match exception::of_write(code, &map.points[*at].name) {
                    AfterWrite::NotDone(failure) => return Err(failure.into()),
                    AfterWrite::Look { why, settled } => Written::InDoubt { why, settled },
                },
            },
            Ok(Err(Lost::Unanswered { why, .. })) => Written::InDoubt {
                why,
                settled: false,
            },
            Err(_) => Written::InDoubt {
                why: "the deadline came while the write was on its way".to_owned(),
                settled: false,
            },
        };
        device.gateway().note_set(unit, address);
        if let Written::InDoubt { why, .. } = &written {
            task.log(Level::Warn, format!("{why}; reading back"));
        }
        setting.read_back(task, before, already, written, end).await
    }

    /// Tells whether a `point.set` that was lost took place. Only reads.
    pub async fn point_probe(&self, task: &Context) -> Result<Outcome, Trouble> {
        let checkpoint = task.probe.as_ref().and_then(|p| p.checkpoint.as_ref());
        let Some(checkpoint) = checkpoint else {
            // The checkpoint leaves before the write does.
            return Ok(Outcome::result(false, json!({ "happened": false })));
        };
        let setting = self.setting(task)?;
        let seen = before_the_effect(task, setting.meet_and_look()).await?;
        // A renewal leaves no trace. And what still reads as before may be on its way through the gateway.
        let renewal = checkpoint["renewal"].as_bool().unwrap_or(false);
        let happened = (setting.is_seen(&seen) && !renewal).then_some(true);
        let result = json!({ "happened": happened, "after": seen.json() });
        Ok(Outcome::result(false, result))
    }

    fn setting(&self, task: &Context) -> Result<Setting, Trouble> {
        let params: Params = task.params()?;
        let device = self.device(task, None)?;
        let map = &device.known().map;
        let name = &params.point;
        let at = map.named(name);
        let at = at.ok_or_else(|| Trouble::refused(format!("the map has no {name:?}")))?;
        let wanted = Wanted::check(map, at, &params.value).map_err(Trouble::refused)?;
        let shown = map.points[at].set.as_ref().map_or(at, |set| set.read_back);
        Ok(Setting {
            device,
            at,
            shown,
            wanted,
        })
    }
}

impl Setting {
    fn is_seen(&self, seen: &Value) -> bool {
        self.wanted.is_seen(&self.device.known().map, self.at, seen)
    }

    /// The present value, of the device that is meant, over the connection that a write will take.
    async fn meet_and_look(&self) -> Result<Value, Trouble> {
        self.device.meet().await?;
        let value = self.device.value(self.shown).await?;
        if self.device.is_unmet() {
            // The connection was lost in between.
            self.device.meet().await?;
            return self.device.value(self.shown).await;
        }
        Ok(value)
    }

    async fn read_back(
        &self,
        task: &Context,
        before: Value,
        renewal: bool,
        written: Written,
        end: Instant,
    ) -> Result<Outcome, Trouble> {
        let begun = Instant::now();
        let mut wait = LOOK_FIRST;
        let mut last = None;
        loop {
            match tokio::time::timeout_at(end, self.meet_and_look()).await {
                Ok(Ok(seen)) => last = Some(seen),
                Ok(Err(Trouble(failure))) => {
                    last = None;
                    // Another device answers now: nothing that it says tells of the write.
                    if failure.code.quarantines() {
                        let why = format!("written, then: {}", failure.message);
                        return Ok(Outcome::Unknown { why });
                    }
                    task.log(Level::Warn, failure.message);
                }
                Err(_) => break,
            }
            if let Some(seen) = &last {
                let renewed = !renewal || matches!(written, Written::Told);
                if self.is_seen(seen) && renewed {
                    return Ok(Outcome::Done(Done {
                        changed: !renewal,
                        before: Some(before.json()),
                        after: Some(seen.json()),
                        result: None,
                    }));
                }
                let made_up = begun.elapsed() >= MADE_UP && !renewal;
                match &written {
                    Written::InDoubt { why, settled: true } if made_up && *seen == before => {
                        let message = format!("{why}; it still reads {seen}");
                        return Err(Trouble::bad_reply(message));
                    }
                    Written::Told if made_up && *seen != before && self.shown == self.at => {
                        return Err(self.took_another(&before, seen));
                    }
                    _ => {}
                }
            }
            if Instant::now() + wait >= end {
                break;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOOK_MAX);
        }
        Ok(Outcome::Unknown {
            why: self.unsettled(&written, last.as_ref()),
        })
    }

    fn took_another(&self, before: &Value, seen: &Value) -> Trouble {
        let wanted = &self.wanted.value;
        let message = format!("the device took the write of {wanted} and holds {seen}");
        let detail = json!({
            "before": before.json(), "wanted": wanted.json(), "after": seen.json(),
        });
        Trouble(Failure::new(FailureCode::Refused, message).with_detail(detail))
    }

    fn unsettled(&self, written: &Written, last: Option<&Value>) -> String {
        let wanted = &self.wanted.value;
        let now = match last {
            Some(seen) => format!("it reads {seen}"),
            None => "it could not be read back".to_owned(),
        };
        match written {
            Written::Told => format!("the device took the write of {wanted}, but {now}"),
            Written::InDoubt { why, .. } => format!("{wanted} was written once: {why}; {now}"),
        }
    }
}

/// Ends with the deadline while it is still sure that nothing was changed.
async fn before_the_effect<T>(
    task: &Context,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let ended = tokio::time::timeout_at(task.deadline() - SAY_SO, work).await;
    ended.unwrap_or_else(|_| {
        let message = "the deadline passed before anything was written";
        Err(Trouble(Failure::new(FailureCode::Timeout, message)))
    })
}
