//! Releases as people see them: which version drives which targets, how rollouts stand, and what was moved.

use super::describe::{self, Page};
use super::views::{self, number, or_dash, scalar, text};
use crate::output::{self, Cell, Paint, Table, Tone};
use serde_json::Value;
use std::fmt::Write as _;

pub const HEADS: &[&str] = &["NAME", "VERSION", "PHASE", "HELD", "MOVED", "ROLLOUT"];
pub const HEADS_WIDE: &[&str] = &["POOL", "FOLLOWS", "LAST"];

/// Events shown of one Release beside its rules.
const EVENTS_SHOWN_MAX: usize = 5;
/// Cells, held cells and differences shown.
const ROWS_MAX: usize = 20;

/// How a rule begins to wait for somebody rather than for tasks.
const WAITS_FOR_A_PERSON: &str = "a person";

pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// The status of a rule of the spec.
pub fn status_of<'a>(release: &'a Value, rule: &str) -> Option<&'a Value> {
    let all = list(release, "/status/rules");
    all.iter().find(|s| text(s, "/name") == rule)
}

/// The rule of the spec that brings `version` to `selector`.
pub fn rule_of<'a>(release: &'a Value, version: &str, selector: &str) -> Option<&'a Value> {
    list(release, "/spec/rules")
        .iter()
        .find(|r| text(r, "/version") == version && text(r, "/where") == selector)
}

/// `10%`; a rule without one is for all.
fn share(rule: &Value) -> String {
    let share = text(rule, "/share");
    if share.is_empty() {
        "100%".to_owned()
    } else {
        share
    }
}

pub fn whom(selector: &str) -> &str {
    if selector.is_empty() { "all" } else { selector }
}

pub fn is_shadow(rule: &Value) -> bool {
    rule.get("shadow") == Some(&Value::Bool(true))
}

/// Whether a rule is good as far as it was asked to go, and nothing but a person moves it on.
pub fn waits_for_a_person(status: &Value) -> bool {
    text(status, "/waitsFor").starts_with(WAITS_FOR_A_PERSON)
}

pub fn phase_tone(phase: &str) -> Tone {
    match phase {
        "Rolling" => Tone::Warn,
        "Settled" => Tone::Good,
        _ => Tone::Plain,
    }
}

/// `Rolling` if any rule is; else the phase of the first.
fn phase(release: &Value) -> String {
    let phases: Vec<String> = list(release, "/status/rules")
        .iter()
        .map(|s| text(s, "/phase"))
        .collect();
    let worst = ["Rolling", "Unguarded", "Shadow"];
    let found = worst.iter().find(|w| phases.iter().any(|p| p == *w));
    found.map_or_else(
        || phases.first().cloned().unwrap_or_else(|| "-".to_owned()),
        |w| (*w).to_owned(),
    )
}

pub fn row(wide: bool, r: &Value) -> Vec<Cell> {
    let phase = phase(r);
    let held = list(r, "/status/held").len();
    let tone = if held > 0 { Tone::Bad } else { Tone::Plain };
    let rules = list(r, "/spec/rules").iter().map(|rule| {
        let word = if is_shadow(rule) { "shadows" } else { "gets" };
        let (version, selector) = (text(rule, "/version"), text(rule, "/where"));
        format!("{version} {word} {} of {}", share(rule), whom(&selector))
    });
    let last = list(r, "/status/history").last();
    let mut row = vec![
        Cell::new(text(r, "/metadata/name")),
        Cell::new(text(r, "/spec/version")),
        Cell::new(&phase).tone(phase_tone(&phase)),
        Cell::new(held.to_string()).tone(tone),
        Cell::new(last.map_or_else(|| "-".to_owned(), |e| views::age_at(e, "/at"))),
        or_dash(rules.collect::<Vec<_>>().join("; ")),
    ];
    if wide {
        let follows = r.pointer("/status/followsBundled") == Some(&Value::Bool(true));
        row.push(Cell::new(views::pairs(r.pointer("/spec/pool"))));
        row.push(or_dash(if follows { "sengu" } else { "" }.to_owned()));
        row.push(or_dash(last.map(event_words).unwrap_or_default()));
    }
    row
}

fn event_words(event: &Value) -> String {
    let (what, version) = (text(event, "/what"), text(event, "/version"));
    format!("{what} {version}: {}", text(event, "/message"))
}

/// `3/120 (2.5%)` of a sample; red when it failed more than the other did.
fn failures(sample: Option<&Value>, usual: Option<&Value>) -> Cell {
    let of = |s: Option<&Value>| {
        let n = |pointer: &str| s.map_or(0, |s| number(s, pointer));
        (n("/failed"), n("/tasks"))
    };
    let ((failed, tasks), (usual_failed, usual_tasks)) = (of(sample), of(usual));
    if tasks == 0 {
        return Cell::new("-").tone(Tone::Dim);
    }
    let part = |failed: u64, tasks: u64| failed as f64 / tasks.max(1) as f64;
    let worse = part(failed, tasks) > part(usual_failed, usual_tasks);
    let ratio = views::ratio(failed, tasks);
    let cell = Cell::new(format!(
        "{}/{} ({ratio})",
        output::thousands(failed),
        output::thousands(tasks)
    ));
    cell.tone(if worse { Tone::Bad } else { Tone::Plain })
}

/// The new version beside the one it replaces: failures and latency of each.
fn compared(row: &mut Vec<Cell>, status: &Value) {
    let (seen, replaced) = (status.get("seen"), status.get("replaced"));
    row.push(failures(seen, replaced));
    row.push(failures(replaced, seen.and(replaced)));
    row.push(views::latency(status, "/seen/p90Ms"));
    row.push(views::latency(status, "/replaced/p90Ms"));
}

fn rules_table(release: &Value, wide: bool) -> Table {
    let mut heads = vec!["VERSION", "REPLACES", "SHARE", "NEXT", "PHASE"];
    heads.extend(["NEW FAILED", "OLD FAILED", "NEW P90", "OLD P90"]);
    if wide {
        heads.extend(["RULE", "SINCE", "GUARD"]);
    }
    heads.push("WHERE");
    let mut table = Table::new(&heads);
    for rule in list(release, "/spec/rules") {
        let name = text(rule, "/name");
        let status = status_of(release, &name).unwrap_or(&Value::Null);
        let phase = text(status, "/phase");
        let mut row = vec![
            Cell::new(text(rule, "/version")),
            or_dash(text(status, "/replaces")),
            Cell::new(share(rule)),
            or_dash(text(rule, "/steps")),
            or_dash(phase.clone()).tone(phase_tone(&phase)),
        ];
        compared(&mut row, status);
        if wide {
            row.push(Cell::new(&name));
            row.push(Cell::new(views::age_at(status, "/startedAt")));
            row.push(or_dash(guard(rule)));
        }
        row.push(Cell::new(whom(&text(rule, "/where"))));
        table.row(row);
    }
    table
}

/// `window 50, hold 30s, failures +2%, latency x2`.
fn guard(rule: &Value) -> String {
    // A shadow goes nowhere, so nobody has to watch where it goes.
    let guard = rule
        .get("guard")
        .filter(|g| g.is_object() && !is_shadow(rule));
    let Some(guard) = guard else {
        return String::new();
    };
    let failures = guard.get("maxFailures").and_then(Value::as_f64);
    let latency = text(guard, "/maxLatency");
    format!(
        "window {}, hold {}, from {} failures, +{}%, latency x{latency}",
        number(guard, "/window"),
        text(guard, "/hold"),
        number(guard, "/minFailures"),
        views::scalar(&serde_json::json!(failures.unwrap_or(0.0) * 100.0)),
    )
}

/// `vendor=Contoso,model=M1,firmware=1.9,action=observe`; what is not known of the targets is left out.
pub fn cell_words(cell: Option<&Value>) -> String {
    let part = |key: &str| {
        let value = cell
            .map(|c| text(c, &format!("/{key}")))
            .unwrap_or_default();
        (!value.is_empty() && value != "-").then(|| format!("{key}={value}"))
    };
    let parts: Vec<String> = ["vendor", "model", "firmware", "action"]
        .into_iter()
        .filter_map(part)
        .collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(",")
    }
}

fn cells_of(status: &Value) -> impl Iterator<Item = (String, &Value)> {
    let version = text(status, "/version");
    let cells = list(status, "/cells").iter();
    cells.map(move |cell| (version.clone(), cell))
}

/// Cells of rules, each with the version that its rule brings.
fn cells_table(cells: &[(String, &Value)]) -> Table {
    let heads = [
        "VERSION",
        "NEW FAILED",
        "OLD FAILED",
        "NEW P90",
        "OLD P90",
        "HELD",
        "CELL",
    ];
    let mut table = Table::new(&heads);
    for (version, cell) in cells {
        let mut row = vec![Cell::new(version)];
        compared(&mut row, cell);
        let held = cell.get("held") == Some(&Value::Bool(true));
        row.push(or_dash(if held { "held" } else { "" }.to_owned()));
        row.push(cell_words(cell.get("cell")).into());
        table.row(row);
    }
    table
}

/// What was rolled back, newest first.
fn held_lines(out: &mut String, release: &Value, paint: Paint) {
    let held = list(release, "/status/held");
    if held.is_empty() {
        return;
    }
    let _ = writeln!(out, "  {}", paint.text(Tone::Strong, "Rolled back"));
    for cell in held.iter().rev().take(ROWS_MAX) {
        let line = format!(
            "{} on {}: {}",
            text(cell, "/version"),
            cell_words(cell.get("cell")),
            text(cell, "/why")
        );
        let _ = writeln!(out, "    {}", paint.text(Tone::Bad, &output::safe(&line)));
    }
    if held.len() > ROWS_MAX {
        let _ = writeln!(out, "    and {} more", held.len() - ROWS_MAX);
    }
}

/// `13:42:48 stepped 1.5.0: from 10% to 50%: ...`.
pub fn event_line(event: &Value) -> String {
    let at = text(event, "/at");
    let time = at.get(11..19).unwrap_or(&at);
    output::safe(&format!("{time} {}", event_words(event)))
}

fn event_tone(event: &Value) -> Tone {
    match text(event, "/what").as_str() {
        "rolled-back" | "cell-rolled-back" => Tone::Bad,
        "settled" => Tone::Good,
        _ => Tone::Plain,
    }
}

fn events(out: &mut String, release: &Value, shown: usize, paint: Paint) {
    let history = list(release, "/status/history");
    if history.is_empty() {
        return;
    }
    let _ = writeln!(out, "  {}", paint.text(Tone::Strong, "Moved"));
    for event in history.iter().rev().take(shown).rev() {
        let line = paint.text(event_tone(event), &event_line(event));
        let _ = writeln!(out, "    {line}");
    }
}

/// How the rollouts of one Release stand: a page of `rollout status`.
pub fn page(release: &Value, wide: bool, paint: Paint) -> String {
    let mut out = String::new();
    let rules = list(release, "/spec/rules");
    let version = output::safe(&text(release, "/spec/version"));
    let rest = if rules.is_empty() { "all" } else { "the rest" };
    let name = output::safe(&text(release, "/metadata/name"));
    let title = paint.text(Tone::Strong, &format!("release/{name}"));
    let _ = writeln!(out, "{title}  {rest} run {version}");
    if !rules.is_empty() {
        out.push_str(&rules_table(release, wide).indent(2).take(paint));
    }
    for rule in rules {
        let status = status_of(release, &text(rule, "/name"));
        let waits = status.map(|s| text(s, "/waitsFor")).unwrap_or_default();
        if !waits.is_empty() {
            let line = format!("{} waits for: {waits}", text(rule, "/version"));
            let _ = writeln!(out, "  {}", output::safe(&line));
        }
        if let Some(shadow) = status.and_then(|s| s.get("shadow")) {
            let line = shadow_sentence(&text(rule, "/version"), shadow);
            let _ = writeln!(out, "  {}", output::safe(&line));
        }
    }
    let statuses = list(release, "/status/rules").iter();
    let cells: Vec<(String, &Value)> = statuses.flat_map(cells_of).collect();
    if wide && !cells.is_empty() {
        let shown = &cells[..cells.len().min(ROWS_MAX)];
        out.push_str(&cells_table(shown).indent(2).take(paint));
    }
    held_lines(&mut out, release, paint);
    events(&mut out, release, EVENTS_SHOWN_MAX, paint);
    out
}

fn shadow_sentence(version: &str, shadow: &Value) -> String {
    let n = |pointer: &str| output::thousands(number(shadow, pointer));
    let skipped = match number(shadow, "/skipped") {
        0 => String::new(),
        many => format!("; {} not repeated", output::thousands(many)),
    };
    format!(
        "{version} compared {} reads, {} of them alike{skipped}; differences: sengu rollout report",
        n("/compared"),
        n("/same")
    )
}

/// What the shadows of a Release read otherwise than the version in use; none when nothing shadows.
pub fn report(release: &Value, paint: Paint) -> Option<String> {
    let mut out = String::new();
    let name = text(release, "/metadata/name");
    let shadows = list(release, "/status/rules")
        .iter()
        .filter_map(|s| Some((s, s.get("shadow")?)));
    for (status, shadow) in shadows {
        let n = |pointer: &str| output::thousands(number(shadow, pointer));
        let title = format!(
            "{name}@{} beside {}: {} compared, {} alike, {} not repeated",
            text(status, "/version"),
            text(status, "/replaces"),
            n("/compared"),
            n("/same"),
            n("/skipped")
        );
        let _ = writeln!(out, "{}", paint.text(Tone::Strong, &output::safe(&title)));
        let differences = list(shadow, "/differences");
        if differences.is_empty() {
            continue;
        }
        let heads = ["COUNT", "FIELD", "IN USE", "NEW", "TARGET", "CELL"];
        let mut table = Table::new(&heads).indent(2);
        for d in differences {
            table.row(vec![
                output::thousands(number(d, "/count")).into(),
                text(d, "/field").into(),
                or_dash(text(d, "/stable")),
                or_dash(text(d, "/candidate")),
                text(d, "/target").into(),
                cell_words(d.get("cell")).into(),
            ]);
        }
        out.push_str(&table.take(paint));
    }
    (!out.is_empty()).then_some(out)
}

/// Description of one Release.
pub fn describe(page: &mut Page, item: &Value) {
    describe::head(page, item);
    page.line("Version", text(item, "/spec/version"));
    if item.pointer("/status/followsBundled") == Some(&Value::Bool(true)) {
        page.line(
            "Follows",
            "the version that comes with sengu, until it is moved",
        );
    }
    if let Some(previous) = item.pointer("/status/previous") {
        let rules = list(previous, "/rules").len();
        let rules = match rules {
            0 => String::new(),
            n => format!(" and {}", output::count(n as u64, "rule")),
        };
        page.line(
            "Before",
            format!("{}{rules} (sengu rollback)", text(previous, "/version")),
        );
    }
    page.pairs("Pool", item.pointer("/spec/pool"));
    let paint = page.paint;
    if !list(item, "/spec/rules").is_empty() {
        page.heading("Rules");
        page.table(rules_table(item, true).indent(2));
    }
    for status in list(item, "/status/rules") {
        let cells: Vec<_> = cells_of(status).take(ROWS_MAX).collect();
        let waits = text(status, "/waitsFor");
        if !waits.is_empty() {
            page.line("Waits for", waits);
        }
        if !cells.is_empty() {
            page.heading("Cells");
            page.table(cells_table(&cells).indent(2));
        }
    }
    held_lines(&mut page.out, item, paint);
    if let Some(report) = report(item, paint) {
        page.out.push_str(&report);
    }
    events(&mut page.out, item, usize::MAX, paint);
}

/// What a move did, in one line: `release/redfish: 1.5.0 gets 10% of vendor=Contoso (guarded; rest 1.4.0)`.
pub fn moved(release: &Value, version: &str, selector: &str) -> String {
    let name = text(release, "/metadata/name");
    let base = text(release, "/spec/version");
    let Some(rule) = rule_of(release, version, selector) else {
        return format!("release/{name}: all run {base}");
    };
    let word = if is_shadow(rule) { "shadows" } else { "gets" };
    let status = status_of(release, &text(rule, "/name")).unwrap_or(&Value::Null);
    let mut notes = Vec::new();
    if !is_shadow(rule) {
        let guarded = rule.get("guard").is_some_and(Value::is_object);
        notes.push(if guarded { "guarded" } else { "nobody watches" }.to_owned());
        let steps: Vec<String> = list(rule, "/steps").iter().map(scalar).collect();
        if !steps.is_empty() {
            notes[0] = format!("{}, then {}", notes[0], steps.join(", "));
        }
    }
    let others = list(release, "/spec/rules").len() - 1;
    let others = match others {
        0 => String::new(),
        n => format!(" and {}", output::count(n as u64, "other rule")),
    };
    let settled = text(status, "/phase") == "Settled";
    notes.push(if settled {
        format!("settled; rest {base}{others}")
    } else {
        format!("rest {base}{others}")
    });
    format!(
        "release/{name}: {version} {word} {} of {} ({})",
        share(rule),
        whom(selector),
        notes.join("; ")
    )
}

#[cfg(test)]
pub mod tests;
