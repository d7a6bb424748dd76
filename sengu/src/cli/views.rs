//! How each kind looks as a row. Reads values leniently, so that a newer server's records still show.

use super::nouns::Noun;
use super::{releases, wees, workers};
use crate::output::{self, Cell, Table, Tone, age, now};
use sengu_model::Time;
use serde_json::Value;

/// Text at a JSON pointer; numbers and booleans as they are written, nothing as "".
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).map(scalar).unwrap_or_default()
}

/// A value on one line.
pub fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        Value::Number(n) => match n.as_f64() {
            // 21.0 is a whole number of its unit.
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 1e15 => format!("{f:.0}"),
            Some(f) if n.is_f64() => {
                let short = format!("{f:.3}");
                short.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            _ => n.to_string(),
        },
        Value::Bool(b) => b.to_string(),
        Value::Array(items) if items.iter().all(|i| !i.is_array() && !i.is_object()) => {
            items.iter().map(scalar).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

pub fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn counted(value: &Value, pointer: &str) -> Cell {
    Cell::new(output::thousands(number(value, pointer)))
}

pub fn time(value: &Value, pointer: &str) -> Option<Time> {
    Time::parse(value.pointer(pointer)?.as_str()?).ok()
}

/// Age of the time at `pointer`, "-" without one.
pub fn age_at(value: &Value, pointer: &str) -> String {
    time(value, pointer).map_or_else(|| "-".to_owned(), |t| age(now().ms_since(t)))
}

/// `a=1,b=2`.
pub fn pairs(value: Option<&Value>) -> String {
    match value {
        Some(Value::Object(map)) if !map.is_empty() => map
            .iter()
            .map(|(k, v)| format!("{k}={}", scalar(v)))
            .collect::<Vec<_>>()
            .join(","),
        _ => "-".to_owned(),
    }
}

/// `2.5%` of attempts that ended, red once any has failed.
pub fn failed(failed: u64, ended: u64) -> Cell {
    match (failed, ended) {
        (_, 0) => Cell::new("-").tone(Tone::Dim),
        (0, _) => Cell::new("0%"),
        _ => Cell::new(ratio(failed, ended)).tone(Tone::Bad),
    }
}

/// `2.5%`; never 0% or 100% unless it is exactly that.
pub fn ratio(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match part {
        0 => "0%".to_owned(),
        part if part == whole => "100%".to_owned(),
        _ if percent < 0.1 => "<0.1%".to_owned(),
        _ if percent > 99.9 => ">99.9%".to_owned(),
        _ => format!("{percent:.1}%"),
    }
}

/// Milliseconds as a span, "-" where nothing was measured.
pub fn latency(value: &Value, pointer: &str) -> Cell {
    match value.pointer(pointer).and_then(Value::as_u64) {
        Some(ms) => Cell::new(output::span(ms)),
        None => Cell::new("-").tone(Tone::Dim),
    }
}

/// Enough of a digest to tell it from others: `3f2a91c04b7e`.
pub fn short_digest(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

pub fn or_dash(text: String) -> Cell {
    if text.is_empty() {
        Cell::new("-").tone(Tone::Dim)
    } else {
        Cell::new(text)
    }
}

/// A condition of a record by its type.
pub fn condition<'a>(record: &'a Value, kind: &str) -> Option<&'a Value> {
    record
        .pointer("/status/conditions")?
        .as_array()?
        .iter()
        .find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
}

/// One word on how a target is, and its tone.
pub fn target_state(record: &Value) -> (&'static str, Tone) {
    let status_of = |kind| condition(record, kind).and_then(|c| c.get("status")?.as_str());
    if record
        .pointer("/spec/maintenance")
        .is_some_and(Value::is_string)
    {
        return ("Maintenance", Tone::Warn);
    }
    if status_of("Quarantined") == Some("True") {
        return ("Quarantined", Tone::Bad);
    }
    match status_of("Reachable") {
        Some("True") => ("Reachable", Tone::Good),
        Some("False") => ("Unreachable", Tone::Bad),
        Some(_) => ("Unknown", Tone::Warn),
        None => ("Unseen", Tone::Dim),
    }
}

/// Facts are named by their workers; the first that is there.
pub fn fact(record: &Value, names: &[&str]) -> String {
    let facts = record.pointer("/status/facts");
    names
        .iter()
        .find_map(|name| facts?.get(*name).map(scalar))
        .filter(|text| !text.is_empty())
        .unwrap_or_default()
}

pub const MODEL_FACTS: &[&str] = &["model", "product", "os", "os_name", "sys_descr"];
pub const VENDOR_FACTS: &[&str] = &["vendor", "manufacturer"];
pub const FIRMWARE_FACTS: &[&str] = &[
    "firmware",
    "firmware_version",
    "bmc_firmware",
    "bmc_version",
    "kernel",
];

pub fn phase_tone(phase: &str) -> Tone {
    match phase {
        "Succeeded" => Tone::Good,
        "Failed" => Tone::Bad,
        "Stopping" | "Cancelling" | "Cancelled" => Tone::Warn,
        _ => Tone::Plain,
    }
}

pub fn status_tone(status: &str) -> Tone {
    match status {
        "done" => Tone::Good,
        "failed" => Tone::Bad,
        "unknown" | "cancelled" | "expired" => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// An empty table with the heads of a kind.
pub fn table(noun: Noun, wide: bool) -> Table {
    let (narrow, more): (&[&'static str], &[&'static str]) = match noun {
        Noun::Target => (
            &["NAME", "KIND", "STATUS", "MODEL", "OBSERVED", "ADDRESS"],
            &["ZONE", "VENDOR", "FIRMWARE", "LABELS", "REASON"],
        ),
        Noun::Run => (
            &[
                "NAME", "ACTION", "PHASE", "TARGETS", "DONE", "FAILED", "UNKNOWN", "AGE",
            ],
            &[
                "CHANGED",
                "CANCELLED",
                "RETRIES",
                "BATCH",
                "TOOK",
                "MESSAGE",
            ],
        ),
        Noun::Worker => (workers::HEADS, workers::HEADS_WIDE),
        Noun::Wee => (wees::HEADS, wees::HEADS_WIDE),
        Noun::Release => (releases::HEADS, releases::HEADS_WIDE),
        Noun::Schedule => (
            &["NAME", "EVERY", "ACTION", "STATE", "AGE", "SELECTOR"],
            &["JITTER"],
        ),
        Noun::Secret => (&["NAME", "AGE", "KEYS"], &[]),
        Noun::Task => (
            &[
                "ID", "TARGET", "ACTION", "STATE", "CODE", "ATTEMPT", "AGE", "MESSAGE",
            ],
            &[
                "RUN", "WORKER", "DIGEST", "WEE", "INSTANCE", "ORIGIN", "CHOSEN",
            ],
        ),
    };
    let mut heads = narrow.to_vec();
    if wide {
        // The last narrow column is free text; the rest come before it.
        heads.extend_from_slice(more);
    }
    Table::new(&heads)
}

pub fn row(noun: Noun, wide: bool, item: &Value) -> Vec<Cell> {
    match noun {
        Noun::Target => target_row(wide, item),
        Noun::Run => run_row(wide, item),
        Noun::Worker => workers::row(wide, item),
        Noun::Wee => wees::row(wide, item),
        Noun::Release => releases::row(wide, item),
        Noun::Schedule => schedule_row(wide, item),
        Noun::Secret => secret_row(item),
        Noun::Task => task_row(wide, item),
    }
}

fn target_row(wide: bool, t: &Value) -> Vec<Cell> {
    let (state, tone) = target_state(t);
    let mut row = vec![
        Cell::new(text(t, "/metadata/name")),
        Cell::new(text(t, "/spec/kind")),
        Cell::new(state).tone(tone),
        or_dash(fact(t, MODEL_FACTS)),
        Cell::new(age_at(t, "/status/observedAt")),
        Cell::new(text(t, "/spec/address")),
    ];
    if wide {
        let zone = text(t, "/spec/zone");
        row.push(Cell::new(if zone.is_empty() {
            "default".to_owned()
        } else {
            zone
        }));
        row.push(or_dash(fact(t, VENDOR_FACTS)));
        row.push(or_dash(fact(t, FIRMWARE_FACTS)));
        row.push(Cell::new(pairs(t.pointer("/metadata/labels"))));
        row.push(or_dash(target_reason(t)));
    }
    row
}

/// Why a target is as it is, when it is not well.
pub fn target_reason(t: &Value) -> String {
    if let Some(reason) = t.pointer("/spec/maintenance").and_then(Value::as_str) {
        return reason.to_owned();
    }
    let bad = |kind: &str, status: &str| {
        condition(t, kind).filter(|c| c.get("status").and_then(Value::as_str) == Some(status))
    };
    bad("Quarantined", "True")
        .or_else(|| bad("Reachable", "False"))
        .map_or_else(String::new, |c| {
            format!("{}: {}", text(c, "/reason"), text(c, "/message"))
        })
}

fn run_row(wide: bool, r: &Value) -> Vec<Cell> {
    let phase = text(r, "/status/phase");
    let tone = phase_tone(&phase);
    let bad = |pointer: &str| {
        let tone = if number(r, pointer) > 0 {
            Tone::Bad
        } else {
            Tone::Plain
        };
        counted(r, pointer).tone(tone)
    };
    let mut row = vec![
        Cell::new(text(r, "/metadata/name")),
        Cell::new(text(r, "/spec/action")),
        Cell::new(phase).tone(tone),
        counted(r, "/status/targets"),
        counted(r, "/status/counts/done"),
        bad("/status/counts/failed"),
        bad("/status/counts/unknown"),
        Cell::new(age_at(r, "/metadata/createdAt")),
    ];
    if wide {
        row.push(counted(r, "/status/counts/changed"));
        row.push(counted(r, "/status/counts/cancelled"));
        row.push(counted(r, "/status/counts/retries"));
        row.push(Cell::new(format!(
            "{}/{}",
            number(r, "/status/batch"),
            number(r, "/status/batches")
        )));
        row.push(or_dash(took(r)));
        row.push(Cell::new(text(r, "/status/message")));
    }
    row
}

/// How long a run took, or has taken so far.
pub fn took(run: &Value) -> String {
    let Some(start) = time(run, "/status/startedAt") else {
        return String::new();
    };
    output::span(
        time(run, "/status/endedAt")
            .unwrap_or_else(now)
            .ms_since(start),
    )
}

fn schedule_row(wide: bool, s: &Value) -> Vec<Cell> {
    let paused = s.pointer("/spec/paused") == Some(&Value::Bool(true));
    let (state, tone) = if paused {
        ("Paused", Tone::Warn)
    } else {
        ("Active", Tone::Good)
    };
    let selector = text(s, "/spec/selector");
    let action = text(s, "/spec/action");
    let mut row = vec![
        Cell::new(text(s, "/metadata/name")),
        Cell::new(text(s, "/spec/every")),
        Cell::new(if action.is_empty() {
            "observe".to_owned()
        } else {
            action
        }),
        Cell::new(state).tone(tone),
        Cell::new(age_at(s, "/metadata/createdAt")),
        Cell::new(if selector.is_empty() {
            "(all)".to_owned()
        } else {
            selector
        }),
    ];
    if wide {
        row.push(or_dash(text(s, "/spec/jitter")));
    }
    row
}

fn secret_row(s: &Value) -> Vec<Cell> {
    let keys = s.pointer("/spec/data").and_then(Value::as_object);
    let keys: Vec<&str> = keys
        .map(|m| m.keys().map(String::as_str).collect())
        .unwrap_or_default();
    vec![
        Cell::new(text(s, "/metadata/name")),
        Cell::new(age_at(s, "/metadata/createdAt")),
        Cell::new(keys.join(",")),
    ]
}

/// State of a task in one word: where it stands, or how it ended.
pub fn task_state(t: &Value) -> String {
    let status = text(t, "/ending/outcome/status");
    if status.is_empty() {
        text(t, "/state")
    } else {
        status
    }
}

/// What a task's outcome says in words.
pub fn task_message(t: &Value) -> String {
    let message = text(t, "/ending/outcome/message");
    if !message.is_empty() {
        return message;
    }
    let why = text(t, "/ending/outcome/why");
    if !why.is_empty() {
        return why;
    }
    match t.pointer("/ending/outcome/changed") {
        Some(Value::Bool(true)) => "changed".to_owned(),
        Some(_) if text(t, "/effect") != "read" => "already so".to_owned(),
        _ => String::new(),
    }
}

/// Who ended a task: `kind@version` and the number of the instance; before that only its kind is known.
pub fn instance(t: &Value) -> (String, String) {
    let instance = text(t, "/ending/instance");
    match instance.rsplit_once('/') {
        Some((worker, number)) => (worker.to_owned(), number.to_owned()),
        None => (text(t, "/kind"), String::new()),
    }
}

fn task_row(wide: bool, t: &Value) -> Vec<Cell> {
    let state = task_state(t);
    let tone = status_tone(&state);
    let attempts = number(t, "/ending/attempts").max(number(t, "/attempt"));
    let mut row = vec![
        Cell::new(text(t, "/id")),
        Cell::new(text(t, "/target")),
        Cell::new(text(t, "/action")),
        Cell::new(state).tone(tone),
        or_dash(text(t, "/ending/outcome/code")),
        Cell::new(attempts.to_string()),
        Cell::new(age_at(t, "/createdAt")),
        Cell::new(task_message(t)),
    ];
    if wide {
        let (worker, number) = instance(t);
        row.push(or_dash(text(t, "/run")));
        row.push(or_dash(worker));
        row.push(or_dash(short_digest(&text(t, "/ending/digest")).to_owned()));
        row.push(or_dash(text(t, "/ending/wee")));
        row.push(or_dash(number));
        row.push(or_dash(text(t, "/origin")));
        row.push(or_dash(text(t, "/ending/chosen")));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_worst_news_of_a_target_is_shown() {
        let with = |conditions: Value| json!({"spec":{},"status":{"conditions":conditions}});
        let up = json!({"type":"Reachable","status":"True"});
        let down = json!({"type":"Reachable","status":"False"});
        let held = json!({"type":"Quarantined","status":"True"});
        assert_eq!(target_state(&with(json!([up]))).0, "Reachable");
        assert_eq!(target_state(&with(json!([down]))).0, "Unreachable");
        assert_eq!(target_state(&with(json!([up, held]))).0, "Quarantined");
        assert_eq!(target_state(&json!({})).0, "Unseen");
        let kept = json!({"spec":{"maintenance":"fan swap"}});
        assert_eq!(
            (target_state(&kept).0, target_reason(&kept).as_str()),
            ("Maintenance", "fan swap")
        );
    }

    #[test]
    fn values_read_well_on_one_line() {
        for (value, expected) in [
            (json!(21.0), "21"),
            (json!(0.12345), "0.123"),
            (json!(true), "true"),
            (json!(["a", 1]), "a,1"),
            (json!({"a":1}), "{\"a\":1}"),
            (json!(null), ""),
        ] {
            assert_eq!(scalar(&value), expected);
        }
    }

    #[test]
    fn a_ratio_is_never_rounded_to_nothing_or_all() {
        for (part, whole, expected) in [
            (0, 0, "-"),
            (0, 9, "0%"),
            (1, 8, "12.5%"),
            (1, 100_000, "<0.1%"),
            (99_999, 100_000, ">99.9%"),
            (7, 7, "100%"),
        ] {
            assert_eq!(ratio(part, whole), expected, "{part} of {whole}");
        }
    }
}
