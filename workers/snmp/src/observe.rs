//! `observe`: reads what the profile names, in as few requests as the device bears, and never changes anything.

use crate::Snmp;
use crate::evaluate::{Gathered, Row};
use crate::profile::Table;
use crate::profiles::Plan;
use crate::session::{Indexes, Session};
use crate::trouble::Trouble;
use async_snmp::Value;
use sengu_sdk::{Context, Done, Failure, FailureCode, Level, Outcome, Reading};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Kept back from the deadline to hand over what was read until then.
const HAND_OVER: Duration = Duration::from_millis(150);
/// About 200 bytes each, far below the limit of a frame.
const READINGS_PER_FRAME: usize = 1_000;
/// Cells of known rows that are read by GET; more are walked.
const KNOWN_CELLS_MAX: usize = 128;

impl Snmp {
    pub async fn observe(&self, task: &Context) -> Result<Outcome, Trouble> {
        let forced = task.params["profile"].as_str();
        let mut gathered = Gathered::default();
        let mut cut = Vec::new();
        let work = async {
            let (session, plan) = self.begin(task, forced).await?;
            self.name_broken_profiles(task, &session);
            gathered
                .facts
                .insert("profile".to_owned(), json!(plan.name));
            for (name, value) in &plan.profile.facts {
                gathered.facts.insert(name.clone(), json!(value));
            }
            read(&session, &plan, &mut gathered, &mut cut).await
        };
        let ended = tokio::select! {
            ended = tokio::time::timeout_at(task.deadline() - HAND_OVER, work) => ended,
            () = task.cancelled() => {
                let why = "asked to".to_owned();
                return Ok(Outcome::Cancelled { why });
            }
        };
        gathered.limit(&mut cut);
        for (section, why) in &cut {
            task.log(Level::Warn, format!("{section}: {why}"));
        }
        if !cut.is_empty() {
            let count = cut.len() as f64;
            let reading = Reading::new("snmp_sections_incomplete", count, "1");
            gathered.readings.push(reading);
        }
        let read_any = !gathered.readings.is_empty();
        // Whatever was read counts, also when the device fell silent in the middle.
        if read_any {
            hand_over(task, gathered);
        }
        match ended {
            Err(_) => Err(Trouble::Failed(Failure::new(
                FailureCode::Timeout,
                "the deadline passed; what was read until then is kept",
            ))),
            Ok(Err(trouble)) => Err(trouble),
            Ok(Ok(())) if !read_any => Err(Trouble::bad_reply(
                "the device answers, but has none of the objects of its profile",
            )),
            Ok(Ok(())) if cut.is_empty() => Ok(Outcome::Done(Done::default())),
            Ok(Ok(())) => {
                let incomplete: Vec<_> = cut
                    .iter()
                    .map(|(section, why)| json!({"section": section, "why": why}))
                    .collect();
                Ok(Outcome::result(false, json!({"incomplete": incomplete})))
            }
        }
    }

    /// Says once per target and change of the folder which profile files are unusable.
    fn name_broken_profiles(&self, task: &Context, session: &Session) {
        let set = self.profiles.current();
        if !set.broken.is_empty() && session.first_of_generation(set.generation) {
            for (file, why) in &set.broken {
                task.log(Level::Warn, format!("profile {file} is not used: {why}"));
            }
        }
    }
}

/// In pieces, since a frame has its limit.
fn hand_over(task: &Context, mut gathered: Gathered) {
    let mut facts = std::mem::take(&mut gathered.facts);
    let mut readings = gathered.readings;
    while !readings.is_empty() {
        let rest = readings.split_off(readings.len().min(READINGS_PER_FRAME));
        task.observed(readings, std::mem::take(&mut facts));
        readings = rest;
    }
}

async fn read(
    session: &Session,
    plan: &Plan,
    gathered: &mut Gathered,
    cut: &mut Vec<(String, String)>,
) -> Result<(), Trouble> {
    let profile = &plan.profile;
    let known: Vec<_> = profile
        .tables
        .iter()
        .map(|table| known_rows(session, table))
        .collect();
    let with_rows: Vec<(&Table, &[Vec<u32>])> = profile
        .tables
        .iter()
        .zip(&known)
        .filter_map(|(table, rows)| rows.as_ref().map(|r| (table, r.as_slice())))
        .collect();
    let (scalars, rows) = session
        .get_with_rows(&profile.scalars.oids, &with_rows)
        .await?;
    gathered.scalars(&profile.scalars, &scalars);
    let mut rows = rows.into_iter();
    for (table, known) in profile.tables.iter().zip(&known) {
        let read = if known.is_some() { rows.next() } else { None };
        match read {
            Some(read)
                if read
                    .iter()
                    .all(|row| row.values.iter().any(Option::is_some)) =>
            {
                gathered.table(table, &read);
            }
            // A known row is gone (or never was known): learn the rows anew.
            _ => walk(session, table, gathered, cut).await?,
        }
    }
    Ok(())
}

fn known_rows(session: &Session, table: &Table) -> Option<Arc<Indexes>> {
    if !table.rows_stable {
        return None;
    }
    let rows = session.rows(table.columns.first()?)?;
    (rows.len() * table.columns.len() <= KNOWN_CELLS_MAX).then_some(rows)
}

async fn walk(
    session: &Session,
    table: &Table,
    gathered: &mut Gathered,
    cut: &mut Vec<(String, String)>,
) -> Result<(), Trouble> {
    let walked = match session.walk(table).await {
        Ok(walked) => walked,
        // Without an answer the other tables would only cost the same wait again.
        Err(trouble @ Trouble::Silent(_)) => return Err(trouble),
        Err(trouble) => {
            cut.push((table.name.clone(), trouble.message()));
            return Ok(());
        }
    };
    let complete = walked.cut.is_none();
    if let Some(why) = walked.cut {
        cut.push((table.name.clone(), why));
    }
    gathered.table(table, &walked.rows);
    if let Some(first) = table.columns.first().filter(|_| table.rows_stable) {
        if complete {
            let indexes = |row: &Row| row.index.clone();
            let rows = walked.rows.iter().filter(|r| has_own_value(r));
            session.learn_rows(first, rows.map(indexes).collect());
        } else {
            session.forget_rows(first);
        }
    }
    Ok(())
}

fn has_own_value(row: &Row) -> bool {
    row.values.iter().any(|v: &Option<Value>| v.is_some())
}
