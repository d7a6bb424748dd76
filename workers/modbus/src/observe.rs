//! `observe` and `point.read`: what the map names, in as few requests as the device bears. Nothing is ever changed here.

use crate::Modbus;
use crate::device::{Device, Gap, Refused};
use crate::map::Map;
use crate::trouble::Trouble;
use crate::value::Raw;
use sengu_sdk::{Context, Done, Failure, FailureCode, Level, Outcome, Reading};
use serde::Deserialize;
use serde_json::{Map as Object, Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Kept back from the deadline to hand over what was read until then.
const HAND_OVER: Duration = Duration::from_millis(150);
/// About 200 bytes each, far below the limit of a frame.
const READINGS_PER_FRAME: usize = 1_000;

#[derive(Deserialize)]
struct ReadParams {
    #[serde(default)]
    points: Vec<String>,
}

/// What came in until the work ended, however it ended.
#[derive(Default)]
struct Gathered {
    raws: BTreeMap<usize, Raw>,
    gaps: Vec<Gap>,
    identification: Identification,
}

/// What the device says of itself.
#[derive(Default)]
enum Identification {
    Told(BTreeMap<String, String>),
    /// It could not be asked now.
    Open,
    #[default]
    NotAsked,
}

/// Facts that an identification may give. Workers are chosen by them, so they must not change back and forth.
const OWN_FACTS: [&str; 3] = ["vendor", "model", "firmware"];

impl Modbus {
    pub async fn observe(&self, task: &Context) -> Result<Outcome, Trouble> {
        let profile = task.params["profile"].as_str();
        let device = self.device(task, profile)?;
        let map = &device.known().map;
        let wanted = map.observed();
        if wanted.is_empty() {
            return Err(Trouble::refused("the map has no readings and no facts"));
        }
        let mut gathered = Gathered::default();
        let ended = bounded(task, async {
            if map.identify {
                gathered.identification = Identification::Open;
            }
            read(&device, &wanted, Refused::LeaveOut, &mut gathered).await?;
            if map.identify {
                // Last, since a device without it may answer with silence; the values are worth more.
                match device.identification().await {
                    Ok(facts) => gathered.identification = Identification::Told(facts),
                    Err(Trouble(failure)) => task.log(Level::Debug, failure.message),
                }
            }
            Ok(())
        })
        .await;
        let (readings, facts) = told(map, &wanted, &gathered, profile, device.known());
        let read_any = !gathered.raws.is_empty();
        if read_any {
            hand_over(task, readings, facts);
        }
        for gap in &gathered.gaps {
            let names = gap.points.join(", ");
            task.log(Level::Warn, format!("{}: {names}", gap.why));
        }
        if let Some(outcome) = ended? {
            return Ok(outcome);
        }
        if !read_any {
            return Err(nothing(&gathered.gaps));
        }
        Ok(match incomplete(&gathered.gaps) {
            Some(incomplete) => Outcome::result(false, json!({ "incomplete": incomplete })),
            None => Outcome::Done(Done::default()),
        })
    }

    pub async fn point_read(&self, task: &Context) -> Result<Outcome, Trouble> {
        let params: ReadParams = task.params()?;
        let device = self.device(task, None)?;
        let map = &device.known().map;
        let mut asked = Vec::new();
        for name in &params.points {
            let at = map.named(name);
            asked.push(at.ok_or_else(|| Trouble::refused(format!("the map has no {name:?}")))?);
        }
        let mut refused = Refused::AskAgain;
        if asked.is_empty() {
            asked = (0..map.points.len()).collect();
            refused = Refused::LeaveOut;
        }
        let wanted = map.with_exponents(asked.clone());
        let mut gathered = Gathered::default();
        let ended = bounded(task, read(&device, &wanted, refused, &mut gathered)).await;
        if let Some(outcome) = ended? {
            return Ok(outcome);
        }
        if gathered.raws.is_empty() && !gathered.gaps.is_empty() {
            return Err(nothing(&gathered.gaps));
        }
        let mut values = Object::new();
        for at in asked {
            let (point, value) = (&map.points[at], map.value(at, &gathered.raws));
            // A device's word for "not available" is null.
            let mut shown = json!({ "value": value.as_ref().map(crate::map::Value::json) });
            if !point.unit.is_empty() {
                shown["unit"] = json!(point.unit);
            }
            values.insert(point.name.clone(), shown);
        }
        let mut result = json!({ "values": values });
        if let Some(incomplete) = incomplete(&gathered.gaps) {
            result["incomplete"] = incomplete;
        }
        Ok(Outcome::result(false, result))
    }
}

/// Within the deadline, and until asked to stop. None when the work ended by itself.
async fn bounded(
    task: &Context,
    work: impl Future<Output = Result<(), Trouble>>,
) -> Result<Option<Outcome>, Trouble> {
    tokio::select! {
        ended = tokio::time::timeout_at(task.deadline() - HAND_OVER, work) => match ended {
            Ok(ended) => ended.map(|()| None),
            Err(_) => Err(Trouble(Failure::new(
                FailureCode::Timeout,
                "the deadline passed; what was read until then is kept",
            ))),
        },
        () = task.cancelled() => Ok(Some(Outcome::Cancelled { why: "asked to".to_owned() })),
    }
}

async fn read(
    device: &Device,
    wanted: &[usize],
    refused: Refused,
    gathered: &mut Gathered,
) -> Result<(), Trouble> {
    device.meet().await?;
    let Gathered { raws, gaps, .. } = gathered;
    let read = device.values(wanted, refused, raws, gaps).await;
    // The connection was lost on the way: what came over the next one may be of another device.
    if device.is_unmet()
        && let Err(trouble) = device.meet().await
    {
        raws.clear();
        return Err(trouble);
    }
    read
}

fn told(
    map: &Map,
    wanted: &[usize],
    gathered: &Gathered,
    profile: Option<&str>,
    known: &crate::targets::Known,
) -> (Vec<Reading>, BTreeMap<String, Json>) {
    let mut facts: BTreeMap<String, Json> = BTreeMap::new();
    if let Some(profile) = profile.or(known.config.profile.as_deref()) {
        facts.insert("profile".to_owned(), json!(profile));
    }
    // The device's own word is worth more than the profile's, and a register more than both.
    let open = matches!(gathered.identification, Identification::Open);
    for (name, text) in &map.facts {
        if !open || !OWN_FACTS.contains(&name.as_str()) {
            facts.insert(name.clone(), json!(text));
        }
    }
    if let Identification::Told(told) = &gathered.identification {
        facts.extend(told.iter().map(|(name, text)| (name.clone(), json!(text))));
    }
    let mut readings = Vec::new();
    for at in wanted {
        let point = &map.points[*at];
        if let Some(fact) = &point.fact
            && let Some(value) = map.fact(*at, &gathered.raws)
        {
            facts.insert(fact.clone(), value);
        }
        let number = map.value(*at, &gathered.raws).and_then(|v| v.number());
        if let (Some(name), Some(number)) = (&point.reading, number) {
            let mut reading = Reading::new(name, number, &point.unit);
            reading.labels.clone_from(&point.labels);
            readings.push(reading);
        }
    }
    let missing: usize = gathered.gaps.iter().map(|gap| gap.points.len()).sum();
    if missing > 0 {
        readings.push(Reading::new(
            "modbus_points_incomplete",
            missing as f64,
            "1",
        ));
    }
    (readings, facts)
}

/// In pieces, since a frame has its limit.
fn hand_over(task: &Context, mut readings: Vec<Reading>, facts: BTreeMap<String, Json>) {
    let mut facts = facts;
    loop {
        let rest = readings.split_off(readings.len().min(READINGS_PER_FRAME));
        task.observed(readings, std::mem::take(&mut facts));
        if rest.is_empty() {
            return;
        }
        readings = rest;
    }
}

fn incomplete(gaps: &[Gap]) -> Option<Json> {
    let gaps: Vec<Json> = gaps
        .iter()
        .map(|gap| json!({ "points": gap.points, "why": gap.why }))
        .collect();
    (!gaps.is_empty()).then(|| gaps.into())
}

/// Not one point could be read.
fn nothing(gaps: &[Gap]) -> Trouble {
    match gaps.first() {
        Some(gap) => Trouble::bad_reply(format!("nothing of the map could be read: {}", gap.why)),
        None => Trouble::bad_reply("the device says that none of its values is available"),
    }
}
