//! Execution environments as people see them: where each stands, what it can run, what its pools do.

use super::describe::{self, Page};
use super::views::{self, number, or_dash, pairs, scalar, text};
use crate::output::{self, Cell, Table, Tone};
use serde_json::Value;

pub const HEADS: &[&str] = &[
    "NAME", "STATUS", "ZONE", "VERSION", "SLOTS", "SEEN", "RUNTIMES",
];
pub const HEADS_WIDE: &[&str] = &["LABELS", "WORKERS"];

/// Announcement of a Wee record: its status.
pub fn announcement(wee: &Value) -> &Value {
    wee.get("status").unwrap_or(&Value::Null)
}

pub fn pools(announcement: &Value) -> &[Value] {
    announcement
        .get("pools")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

pub fn instances(announcement: &Value) -> u64 {
    let pools = pools(announcement).iter();
    pools.map(|p| number(p, "/instances")).sum()
}

/// `ready`, `cordoned`, `draining`, `drained` or `gone`, of a Wee record.
pub fn status(wee: &Value) -> (&'static str, Tone) {
    let yes = |pointer: &str| wee.pointer(pointer) == Some(&Value::Bool(true));
    let a = announcement(wee);
    match () {
        () if yes("/status/gone") || a.get("pools").is_none() => ("gone", Tone::Bad),
        () if yes("/spec/drained") && (instances(a) > 0 || !yes("/status/spec/drained")) => {
            ("draining", Tone::Warn)
        }
        () if yes("/spec/drained") => ("drained", Tone::Warn),
        () if yes("/spec/cordoned") => ("cordoned", Tone::Warn),
        () => ("ready", Tone::Good),
    }
}

pub fn row(wide: bool, w: &Value) -> Vec<Cell> {
    let a = announcement(w);
    let pools = pools(a);
    let sum = |key: &str| pools.iter().map(|p| number(p, key)).sum::<u64>();
    let (status, tone) = status(w);
    let mut row = vec![
        Cell::new(text(w, "/metadata/name")),
        Cell::new(status).tone(tone),
        or_dash(text(a, "/zone")),
        or_dash(text(a, "/sengu_version")),
        Cell::new(format!("{}/{}", sum("/slots_busy"), sum("/slots_max"))),
        Cell::new(views::age_at(a, "/at")),
        or_dash(text(a, "/runtimes")),
    ];
    if wide {
        let workers = pools.iter().map(|p| {
            let broken = if text(p, "/broken").is_empty() {
                ""
            } else {
                " (broken)"
            };
            format!("{}@{}{broken}", text(p, "/kind"), text(p, "/version"))
        });
        row.push(Cell::new(pairs(a.get("labels"))));
        row.push(or_dash(workers.collect::<Vec<_>>().join(",")));
    }
    row
}

pub fn describe(page: &mut Page, item: &Value) {
    describe::head(page, item);
    let a = announcement(item);
    let (status, tone) = status(item);
    page.toned("Status", status, tone);
    page.line("Zone", text(a, "/zone"));
    page.line("Version", text(a, "/sengu_version"));
    page.line("Its labels", pairs(a.get("labels")).trim_start_matches('-'));
    if a.get("embedded") == Some(&Value::Bool(true)) {
        page.line(
            "Process",
            "that of logic: it is upgraded by starting sengu again",
        );
    }
    page.line("Runtimes", text(a, "/runtimes"));
    let isolation = a.get("isolation").and_then(Value::as_array);
    for (i, line) in isolation.into_iter().flatten().enumerate() {
        page.line(if i == 0 { "Isolation" } else { "" }, scalar(line));
    }
    page.line("Seen", describe::stamp(a, "/at"));
    page.heading("Pools");
    page.table(pools_table(pools(a)).indent(2));
    for pool in pools(a) {
        let name = format!("{}@{}", text(pool, "/kind"), text(pool, "/version"));
        let broken = text(pool, "/broken");
        if !broken.is_empty() {
            page.toned(&name, format!(" {broken}"), Tone::Bad);
        }
        let complaints = pool.get("complaints").and_then(Value::as_array);
        for complaint in complaints.into_iter().flatten() {
            page.toned(&name, format!(" {}", scalar(complaint)), Tone::Warn);
        }
    }
}

pub fn pools_table(pools: &[Value]) -> Table {
    let heads = [
        "KIND",
        "VERSION",
        "RUNTIME",
        "INSTANCES",
        "SLOTS",
        "ENDED",
        "FAILED",
        "RESTARTS",
        "STATE",
    ];
    let mut table = Table::new(&heads);
    for p in pools {
        let broken = text(p, "/broken");
        let (state, tone) = if broken.is_empty() {
            ("ready".to_owned(), Tone::Good)
        } else {
            (broken, Tone::Bad)
        };
        let n = |pointer: &str| Cell::new(output::thousands(number(p, pointer)));
        table.row(vec![
            text(p, "/kind").into(),
            text(p, "/version").into(),
            or_dash(text(p, "/runtime")),
            n("/instances"),
            format!("{}/{}", number(p, "/slots_busy"), number(p, "/slots_max")).into(),
            n("/ended"),
            n("/failed"),
            n("/restarts"),
            Cell::new(state).tone(tone),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;
    use serde_json::json;

    fn wee(name: &str, spec: Value, known: Value, instances: u64) -> Value {
        json!({"kind":"Wee","metadata":{"name":name},"spec":spec,"status":{"name":name,"zone":"tyo1",
            "labels":{"rack":"r1"},"spec":known,"sengu_version":"0.1.0","runtimes":["process","wasm"],
            "isolation":["cgroup v2"],"pools":[{"kind":"pdu","version":"1.5.0","runtime":"wasm",
            "instances":instances,"slots_max":8,"slots_busy":3,"complaints":[]}]}})
    }

    #[test]
    fn where_an_execution_environment_stands() {
        let drained = json!({"cordoned":true,"drained":true});
        let wees = [
            wee("a", json!({}), json!({}), 1),
            wee("b", json!({"cordoned":true}), json!({}), 1),
            wee("c", drained.clone(), drained.clone(), 1),
            wee("d", drained.clone(), drained.clone(), 0),
            // It has not heard of it yet, so it may still start one.
            wee("e", drained, json!({}), 0),
            json!({"kind":"Wee","metadata":{"name":"f"},"spec":{},"status":{"gone":true}}),
        ];
        let mut page = String::new();
        for wide in [false, true] {
            let mut table = views::table(super::super::nouns::Noun::Wee, wide);
            wees.iter().for_each(|w| table.row(row(wide, w)));
            page += &table.take(Paint { on: false });
        }
        expect_test::expect![[r#"
            NAME   STATUS     ZONE   VERSION   SLOTS   SEEN   RUNTIMES
            a      ready      tyo1   0.1.0     3/8     -      process,wasm
            b      cordoned   tyo1   0.1.0     3/8     -      process,wasm
            c      draining   tyo1   0.1.0     3/8     -      process,wasm
            d      drained    tyo1   0.1.0     3/8     -      process,wasm
            e      draining   tyo1   0.1.0     3/8     -      process,wasm
            f      gone       -      -         0/0     -      -
            NAME   STATUS     ZONE   VERSION   SLOTS   SEEN   RUNTIMES       LABELS    WORKERS
            a      ready      tyo1   0.1.0     3/8     -      process,wasm   rack=r1   pdu@1.5.0
            b      cordoned   tyo1   0.1.0     3/8     -      process,wasm   rack=r1   pdu@1.5.0
            c      draining   tyo1   0.1.0     3/8     -      process,wasm   rack=r1   pdu@1.5.0
            d      drained    tyo1   0.1.0     3/8     -      process,wasm   rack=r1   pdu@1.5.0
            e      draining   tyo1   0.1.0     3/8     -      process,wasm   rack=r1   pdu@1.5.0
            f      gone       -      -         0/0     -      -              -         -
        "#]]
        .assert_eq(&page);
    }
}
