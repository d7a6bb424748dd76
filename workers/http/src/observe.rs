//! observe: reads the declared sources and hands over what came in time.
//!
//! A source that fails must never cost the others: it is named under `missing`, and the rest counts.

use crate::client::{Call, Client, JSON};
use crate::driver::End;
use crate::limits;
use crate::outcome::{Failure, FailureCode, Outcome, Reading};
use crate::reply::Trouble;
use crate::source::{Format, Found, Source};
use crate::{json_source, prometheus};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const EXPOSITION: &str =
    "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4,*/*;q=0.1";

#[derive(Default)]
struct Seen {
    readings: Vec<Reading>,
    bytes: usize,
    facts: BTreeMap<String, Value>,
    problems: Vec<String>,
    more_problems: usize,
    cut: bool,
}

pub async fn observe(client: &Client) -> End {
    let sources = match client.config.sources() {
        Ok(sources) => sources,
        Err(failure) => return End::of(failure),
    };
    let mut seen = Seen::default();
    let mut first: Option<Failure> = None;
    let mut read = 0;
    for source in &sources {
        if client.io.cancelled() {
            let why = "cancelled while reading".to_owned();
            return seen.end(Outcome::Cancelled { why });
        }
        // What refuses one path for being asked too often, or cannot be reached, is not asked for the next.
        if let Some(failure) = first.as_ref().filter(|f| stops(f.code)) {
            seen.problem(format!(
                "{}: not asked after: {}",
                source.path, failure.message
            ));
            seen.up(source, false);
            continue;
        }
        let began_ms = client.io.now_ms();
        match read_source(client, source, &mut seen).await {
            Ok(()) => {
                read += 1;
                seen.up(source, true);
                let seconds = client.io.now_ms().saturating_sub(began_ms) as f64 / 1_000.0;
                seen.own("http_response_seconds", seconds, "s", source);
            }
            Err(trouble) => {
                let failure = trouble.of_read();
                if failure.quarantines() {
                    return End::of(failure);
                }
                seen.problem(failure.message.clone());
                seen.up(source, false);
                first.get_or_insert(failure);
            }
        }
    }
    if client.io.cancelled() && first.is_some() {
        let why = "cancelled while reading".to_owned();
        return seen.end(Outcome::Cancelled { why });
    }
    match first {
        Some(failure) if read == 0 => seen.end(failure),
        _ => {
            let result = seen.result();
            seen.end(result)
        }
    }
}

fn stops(code: FailureCode) -> bool {
    matches!(
        code,
        FailureCode::Busy | FailureCode::Unreachable | FailureCode::Timeout
    )
}

async fn read_source(client: &Client, source: &Source, seen: &mut Seen) -> Result<(), Trouble> {
    match source.format {
        Format::Prometheus => {
            let call = Call::get(&source.path, &source.headers, EXPOSITION);
            let reply = client.get(&call).await?;
            let bad = |why: String| Failure::bad_reply(format!("GET {}: {why}", source.path));
            let media = reply.response.media_type();
            if let Some(media) = media.filter(|m| !source.any_content_type && !is_exposition(m)) {
                return Err(bad(format!("Prometheus text was expected and {media} came")).into());
            }
            let text = reply.response.text(client.config.response_bytes_max);
            let found = prometheus::extract(&text.map_err(bad)?, source).map_err(bad)?;
            seen.take(source, found);
        }
        Format::Json => {
            let mut path = source.path.clone();
            for page in 1.. {
                let call = Call::get(&path, &source.headers, JSON);
                let reply = client.get(&call).await?;
                let document = client.json(&reply, source.any_content_type)?;
                seen.take(source, json_source::extract(&document, source));
                let next = source.next.as_ref().and_then(|next| next.one(&document));
                let Some(next) = next.and_then(Value::as_str).filter(|n| !n.is_empty()) else {
                    break;
                };
                let Some(next) = client.config.origin.resolve(&reply.path, next) else {
                    let message =
                        format!("{path}: the next page is on another origin and is not read");
                    return Err(Failure::refused(message).into());
                };
                if page >= limits::PAGES_MAX {
                    let most = limits::PAGES_MAX;
                    seen.problem(format!("{}: more than {most} pages", source.path));
                    break;
                }
                path = next;
            }
        }
    }
    Ok(())
}

fn is_exposition(media: &str) -> bool {
    matches!(
        media,
        "text/plain" | "application/openmetrics-text" | "application/octet-stream"
    )
}

impl Seen {
    fn take(&mut self, source: &Source, found: Found) {
        self.cut |= found.cut;
        for reading in found.readings {
            self.push(reading);
        }
        for (name, value) in found.facts {
            let bytes = name.len() + value.to_string().len() + 8;
            if self.facts.len() >= limits::FACTS_MAX
                || self.bytes + bytes > limits::OBSERVED_BYTES_MAX
            {
                self.cut = true;
                break;
            }
            self.bytes += bytes;
            self.facts.insert(name, value);
        }
        for problem in found.problems {
            self.problem(format!("{}: {problem}", source.path));
        }
    }

    fn push(&mut self, reading: Reading) {
        // As it will be written: a label of control characters is six times as long then.
        let bytes = serde_json::to_vec(&reading).map_or(0, |json| json.len() + 1);
        // Room is kept for the worker's own two readings per source.
        let most = limits::READINGS_MAX - 2 * limits::SOURCES_MAX;
        if self.readings.len() >= most || self.bytes + bytes > limits::OBSERVED_BYTES_MAX {
            self.cut = true;
            return;
        }
        self.bytes += bytes;
        self.readings.push(reading);
    }

    fn up(&mut self, source: &Source, up: bool) {
        self.own("http_source_up", f64::from(u8::from(up)), "1", source);
    }

    fn own(&mut self, name: &str, value: f64, unit: &str, source: &Source) {
        let mut labels = source.labels.clone();
        labels.insert("source".to_owned(), crate::source::clip(&source.path));
        self.readings.push(Reading {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            labels,
        });
    }

    fn problem(&mut self, what: String) {
        match self.problems.len() < limits::PROBLEMS_MAX {
            true => self.problems.push(what),
            false => self.more_problems += 1,
        }
    }

    fn result(&mut self) -> Outcome {
        if self.cut {
            let most = limits::READINGS_MAX;
            self.problem(format!(
                "more than an observation holds ({most} readings); only lists fewer"
            ));
        }
        if self.more_problems > 0 {
            let more = self.more_problems;
            self.problems.push(format!("and {more} more"));
        }
        if self.problems.is_empty() {
            return Outcome::Done(Default::default());
        }
        Outcome::result(json!({"partial": true, "missing": self.problems}))
    }

    fn end(self, outcome: impl Into<Outcome>) -> End {
        End {
            outcome: outcome.into(),
            readings: self.readings,
            facts: self.facts,
        }
    }
}
