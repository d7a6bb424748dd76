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
pub mod tests {
    use super::*;
    use serde_json::json;

    pub fn release() -> Value {
        let cell = |firmware: &str| json!({"vendor":"Contoso","model":"-","firmware":firmware,"action":"observe"});
        json!({"kind":"Release","metadata":{"name":"redfish","revision":41},
        "spec":{"version":"1.4.0","rules":[
            {"name":"to-1.5.0","version":"1.5.0","where":"vendor=Contoso,firmware<2.0","share":"10%","steps":["50%","100%"],
             "guard":{"window":50,"hold":"30s","minFailures":3,"maxFailures":0.02,"maxLatency":2.0}},
            {"name":"to-1.6.0","version":"1.6.0","share":"5%","shadow":true,"guard":{}}],
            "pool":{"warm":2}},
        "status":{"followsBundled":false,"rules":[
            {"name":"to-1.5.0","version":"1.5.0","replaces":"1.4.0","phase":"Rolling","waitsFor":"24 of 50 tasks of this step have ended",
             "seen":{"tasks":120,"failed":3,"p50Ms":11,"p90Ms":41},"replaced":{"tasks":9000,"failed":9,"p50Ms":10,"p90Ms":40},
             "cells":[{"cell":cell("1.9"),"seen":{"tasks":3,"failed":3},"replaced":{"tasks":90,"failed":0},"held":true},
                      {"cell":cell("1.8"),"seen":{"tasks":117,"failed":0,"p90Ms":41},"replaced":{"tasks":800,"failed":9},"held":false}]},
            {"name":"to-1.6.0","version":"1.6.0","replaces":"1.4.0","phase":"Shadow","waitsFor":"","seen":{"tasks":0,"failed":0},
             "replaced":{"tasks":0,"failed":0},
             "shadow":{"compared":1200,"same":1190,"skipped":3,"differences":[
                {"field":"reading temperature_celsius{sensor=\"CPU1\"}","cell":cell("1.9"),"count":10,"stable":"41","candidate":"105.8","target":"bmc-7\u{1b}[2J"}]}}],
          "held":[{"version":"1.5.0","cell":cell("1.9"),"at":"2026-11-20T13:42:48Z",
            "why":"3 of 3 tasks failed (the version in use: 0 of 90; 2.0 % more are borne)"}],
          "previous":{"version":"1.4.0"},
          "history":[
            {"at":"2026-11-20T13:41:00.000Z","what":"promoted","version":"1.5.0","message":"gets 10% of vendor=Contoso,firmware<2.0"},
            {"at":"2026-11-20T13:42:48.000Z","what":"cell-rolled-back","version":"1.5.0","message":"cell goes back to 1.4.0"}]}})
    }

    #[test]
    fn a_rollout_on_one_page() {
        let paint = Paint { on: false };
        let mut out = page(&release(), false, paint);
        out += "--- wide\n";
        out += &page(&release(), true, paint);
        out += "--- report\n";
        out += &report(&release(), paint).unwrap();
        out += "--- list\n";
        for wide in [false, true] {
            let mut table = views::table(super::super::nouns::Noun::Release, wide);
            // How long ago is left out: it grows.
            let mut calm = release();
            calm["status"]["history"] = json!([]);
            table.row(row(wide, &calm));
            table.row(row(wide, &json!({"metadata":{"name":"pdu"},"spec":{"version":"1.0.0"},"status":{"followsBundled":true}})));
            out += &table.take(paint);
        }
        expect_test::expect![[r#"
            release/redfish  the rest run 1.4.0
              VERSION   REPLACES   SHARE   NEXT       PHASE     NEW FAILED     OLD FAILED       NEW P90   OLD P90   WHERE
              1.5.0     1.4.0      10%     50%,100%   Rolling   3/120 (2.5%)   9/9,000 (0.1%)   41ms      40ms      vendor=Contoso,firmware<2.0
              1.6.0     1.4.0      5%      -          Shadow    -              -                -         -         all
              1.5.0 waits for: 24 of 50 tasks of this step have ended
              1.6.0 compared 1,200 reads, 1,190 of them alike; 3 not repeated; differences: sengu rollout report
              Rolled back
                1.5.0 on vendor=Contoso,firmware=1.9,action=observe: 3 of 3 tasks failed (the version in use: 0 of 90; 2.0 % more are borne)
              Moved
                13:41:00 promoted 1.5.0: gets 10% of vendor=Contoso,firmware<2.0
                13:42:48 cell-rolled-back 1.5.0: cell goes back to 1.4.0
            --- wide
            release/redfish  the rest run 1.4.0
              VERSION   REPLACES   SHARE   NEXT       PHASE     NEW FAILED     OLD FAILED       NEW P90   OLD P90   RULE       SINCE   GUARD                                                   WHERE
              1.5.0     1.4.0      10%     50%,100%   Rolling   3/120 (2.5%)   9/9,000 (0.1%)   41ms      40ms      to-1.5.0   -       window 50, hold 30s, from 3 failures, +2%, latency x2   vendor=Contoso,firmware<2.0
              1.6.0     1.4.0      5%      -          Shadow    -              -                -         -         to-1.6.0   -       -                                                       all
              1.5.0 waits for: 24 of 50 tasks of this step have ended
              1.6.0 compared 1,200 reads, 1,190 of them alike; 3 not repeated; differences: sengu rollout report
              VERSION   NEW FAILED   OLD FAILED     NEW P90   OLD P90   HELD   CELL
              1.5.0     3/3 (100%)   0/90 (0%)      -         -         held   vendor=Contoso,firmware=1.9,action=observe
              1.5.0     0/117 (0%)   9/800 (1.1%)   41ms      -         -      vendor=Contoso,firmware=1.8,action=observe
              Rolled back
                1.5.0 on vendor=Contoso,firmware=1.9,action=observe: 3 of 3 tasks failed (the version in use: 0 of 90; 2.0 % more are borne)
              Moved
                13:41:00 promoted 1.5.0: gets 10% of vendor=Contoso,firmware<2.0
                13:42:48 cell-rolled-back 1.5.0: cell goes back to 1.4.0
            --- report
            redfish@1.6.0 beside 1.4.0: 1,200 compared, 1,190 alike, 3 not repeated
              COUNT   FIELD                                        IN USE   NEW     TARGET           CELL
              10      reading temperature_celsius{sensor="CPU1"}   41       105.8   bmc-7\u{1b}[2J   vendor=Contoso,firmware=1.9,action=observe
            --- list
            NAME      VERSION   PHASE     HELD   MOVED   ROLLOUT
            redfish   1.4.0     Rolling   1      -       1.5.0 gets 10% of vendor=Contoso,firmware<2.0; 1.6.0 shadows 5% of all
            pdu       1.0.0     -         0      -       -
            NAME      VERSION   PHASE     HELD   MOVED   ROLLOUT                                                            POOL     FOLLOWS   LAST
            redfish   1.4.0     Rolling   1      -       1.5.0 gets 10% of vendor=Contoso,firmware<2.0; 1.6.0 shadows 5% of all   warm=2   -         -
            pdu       1.0.0     -         0      -       -                                                                  -        sengu     -
        "#]].assert_eq(&out);
    }

    #[test]
    fn a_release_is_described() {
        let mut page = Page {
            out: String::new(),
            paint: Paint { on: false },
        };
        describe(&mut page, &release());
        expect_test::expect![[r#"
            Name:         redfish
            Kind:         Release
            Labels:       -
            Revision:     41
            Version:      1.4.0
            Before:       1.4.0 (sengu rollback)
            Pool:
              warm:  2
            Rules:
              VERSION   REPLACES   SHARE   NEXT       PHASE     NEW FAILED     OLD FAILED       NEW P90   OLD P90   RULE       SINCE   GUARD                                                   WHERE
              1.5.0     1.4.0      10%     50%,100%   Rolling   3/120 (2.5%)   9/9,000 (0.1%)   41ms      40ms      to-1.5.0   -       window 50, hold 30s, from 3 failures, +2%, latency x2   vendor=Contoso,firmware<2.0
              1.6.0     1.4.0      5%      -          Shadow    -              -                -         -         to-1.6.0   -       -                                                       all
            Waits for:    24 of 50 tasks of this step have ended
            Cells:
              VERSION   NEW FAILED   OLD FAILED     NEW P90   OLD P90   HELD   CELL
              1.5.0     3/3 (100%)   0/90 (0%)      -         -         held   vendor=Contoso,firmware=1.9,action=observe
              1.5.0     0/117 (0%)   9/800 (1.1%)   41ms      -         -      vendor=Contoso,firmware=1.8,action=observe
              Rolled back
                1.5.0 on vendor=Contoso,firmware=1.9,action=observe: 3 of 3 tasks failed (the version in use: 0 of 90; 2.0 % more are borne)
            redfish@1.6.0 beside 1.4.0: 1,200 compared, 1,190 alike, 3 not repeated
              COUNT   FIELD                                        IN USE   NEW     TARGET           CELL
              10      reading temperature_celsius{sensor="CPU1"}   41       105.8   bmc-7\u{1b}[2J   vendor=Contoso,firmware=1.9,action=observe
              Moved
                13:41:00 promoted 1.5.0: gets 10% of vendor=Contoso,firmware<2.0
                13:42:48 cell-rolled-back 1.5.0: cell goes back to 1.4.0
        "#]].assert_eq(&page.out);
    }

    #[test]
    fn what_moved_is_told_in_one_line() {
        let all = json!({"metadata":{"name":"redfish"},"spec":{"version":"1.5.0"}});
        let mut lines = vec![
            moved(&release(), "1.5.0", "vendor=Contoso,firmware<2.0"),
            moved(&release(), "1.6.0", ""),
            moved(&all, "1.5.0", ""),
        ];
        let mut settled = release();
        settled["spec"]["rules"][0]["steps"] = json!([]);
        settled["spec"]["rules"][0]["guard"] = Value::Null;
        settled["status"]["rules"][0]["phase"] = json!("Settled");
        lines.push(moved(&settled, "1.5.0", "vendor=Contoso,firmware<2.0"));
        expect_test::expect![[r#"
            release/redfish: 1.5.0 gets 10% of vendor=Contoso,firmware<2.0 (guarded, then 50%, 100%; rest 1.4.0 and 1 other rule)
            release/redfish: 1.6.0 shadows 5% of all (rest 1.4.0 and 1 other rule)
            release/redfish: all run 1.5.0
            release/redfish: 1.5.0 gets 10% of vendor=Contoso,firmware<2.0 (nobody watches; settled; rest 1.4.0 and 1 other rule)"#]].assert_eq(&lines.join("\n"));
    }
}
