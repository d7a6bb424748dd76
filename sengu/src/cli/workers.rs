//! Versions of workers as people see them: what each is, what its Release sends to it, and how it does.

use super::describe::{self, Page};
use super::views::{self, number, or_dash, scalar, text};
use crate::client::{Client, ClientError};
use crate::output::{self, Cell, Table, Tone};
use sengu_model::problem::{Code, Problem};
use sengu_model::selector::compare_versions;
use serde_json::Value;
use std::borrow::Cow;

pub const HEADS: &[&str] = &[
    "KIND",
    "VERSION",
    "DIGEST",
    "INSTANCES",
    "SLOTS",
    "QUEUE",
    "FAILED",
    "P50",
    "P90",
    "GETS",
];
pub const HEADS_WIDE: &[&str] = &["TARGETS", "RUNTIMES", "ORIGIN", "SIZE", "ACTIONS"];

/// All versions of all workers, by kind and then by age of the version.
///
/// # Errors
/// When the server does not answer.
pub async fn list(client: &Client) -> crate::client::Result<Vec<Value>> {
    let mut versions: Vec<Value> = client.get("/v1/workers", &[]).await?;
    versions.sort_by(|a, b| {
        let by_version = || compare_versions(&text(a, "/version"), &text(b, "/version"));
        text(a, "/kind")
            .cmp(&text(b, "/kind"))
            .then_with(by_version)
    });
    Ok(versions)
}

/// Those that are named: a kind means all its versions. A name without any is an error, as for every other object.
///
/// # Errors
/// `not_found`.
pub fn named(versions: Vec<Value>, names: &[String]) -> Result<Vec<Value>, ClientError> {
    let is = |v: &Value, name: &str| text(v, "/name") == name || text(v, "/kind") == name;
    for name in names {
        if !versions.iter().any(|v| is(v, name)) {
            let what = format!("there is no worker {name:?}");
            let problem = Problem::new(Code::NotFound, what).hint("sengu get workers");
            return Err(ClientError::Problem(Box::new(problem)));
        }
    }
    let wanted = |v: &Value| names.is_empty() || names.iter().any(|name| is(v, name));
    Ok(versions.into_iter().filter(wanted).collect())
}

/// Value of a selector key of a version.
pub fn value_of<'a>(version: &'a Value, key: &str) -> Option<Cow<'a, str>> {
    if !["name", "kind", "version", "digest", "origin"].contains(&key) {
        return None;
    }
    version.get(key).map(|v| Cow::Owned(views::scalar(v)))
}

/// Execution environments that cannot run a version, each with the reason.
pub fn broken(version: &Value) -> Vec<(String, String)> {
    let broken = version.get("broken").and_then(Value::as_object);
    let pair = |(wee, why): (&String, &Value)| (wee.clone(), scalar(why));
    broken.into_iter().flatten().map(pair).collect()
}

pub fn row(wide: bool, v: &Value) -> Vec<Cell> {
    let instances = number(v, "/instances");
    let broken = broken(v).len();
    let instances = match (instances, broken) {
        (n, 0) => Cell::new(output::thousands(n)),
        (0, _) => Cell::new("broken").tone(Tone::Bad),
        (n, b) => Cell::new(format!("{n}, broken in {b}")).tone(Tone::Bad),
    };
    let slots = format!("{}/{}", number(v, "/slotsBusy"), number(v, "/slots"));
    let mut row = vec![
        Cell::new(text(v, "/kind")),
        Cell::new(text(v, "/version")),
        Cell::new(views::short_digest(&text(v, "/digest"))),
        instances,
        Cell::new(slots),
        Cell::new(output::thousands(number(v, "/inFlight"))),
        views::failed(number(v, "/failed"), number(v, "/ended")),
        views::latency(v, "/p50Ms"),
        views::latency(v, "/p90Ms"),
        or_dash(gets(v)),
    ];
    if wide {
        row.push(Cell::new(output::thousands(number(v, "/targets"))));
        row.push(or_dash(text(v, "/runtimes")));
        row.push(or_dash(text(v, "/origin")));
        row.push(Cell::new(size(number(v, "/bytes"))));
        row.push(or_dash(text(v, "/actions")));
    }
    row
}

/// What the Release sends to a version.
fn gets(version: &Value) -> String {
    let gets = version.get("gets").and_then(Value::as_array);
    let gets: Vec<String> = gets.into_iter().flatten().map(scalar).collect();
    gets.join("; ")
}

/// `1.4 MiB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// What keeps versions from being run, one line each, for stderr.
pub fn complaints(versions: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for version in versions {
        let name = text(version, "/name");
        for (wee, why) in broken(version) {
            let line = format!("{name} cannot be run in wee/{wee}: {why}");
            lines.push(output::safe(&line));
        }
    }
    lines
}

/// Manifest of a Worker record.
pub fn manifest(worker: &Value) -> &Value {
    worker.get("spec").unwrap_or(&Value::Null)
}

/// Actions of a Worker record that people may ask for.
pub fn actions(worker: &Value) -> Vec<&Value> {
    let list = manifest(worker).get("action").and_then(Value::as_array);
    let all = list.map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .filter(|a| a.get("internal") != Some(&Value::Bool(true)))
        .collect()
}

/// The version that is meant by `name`: one with a version, or what the Release of a kind names.
///
/// # Errors
/// When the server does not answer or knows none.
pub async fn resolve(client: &Client, name: &str) -> anyhow::Result<String> {
    if name.contains('@') {
        return Ok(name.to_owned());
    }
    let path = super::nouns::Noun::Release.path(name);
    match client.get::<Value>(&path, &[]).await {
        Ok(release) => Ok(format!("{name}@{}", text(&release, "/spec/version"))),
        Err(ClientError::Problem(p)) if p.status == 404 => {
            // In the words of what was asked for.
            let one = named(Vec::new(), &[name.to_owned()]);
            Err(one.err().map_or_else(|| p.into(), anyhow::Error::from))
        }
        Err(e) => Err(e.into()),
    }
}

/// Description of one version; `others` are all versions known.
pub fn describe(page: &mut Page, item: &Value, others: &[Value]) {
    describe::head(page, item);
    let name = text(item, "/metadata/name");
    let m = manifest(item);
    page.line("Description", text(m, "/description"));
    page.line("Version", text(m, "/version"));
    page.line("Digest", text(item, "/status/digest"));
    page.line("Size", size(number(item, "/status/bytes")));
    page.line("Origin", text(item, "/status/origin"));
    let view = others.iter().find(|v| text(v, "/name") == name);
    if let Some(view) = view {
        page.line("Runtimes", text(view, "/runtimes"));
        page.line("Gets", gets(view));
        page.line("Targets", output::thousands(number(view, "/targets")));
        page.line("Instances", output::thousands(number(view, "/instances")));
        let slots = format!(
            "{} of {} busy",
            number(view, "/slotsBusy"),
            number(view, "/slots")
        );
        page.line("Slots", slots);
        let (failed, ended) = (number(view, "/failed"), number(view, "/ended"));
        page.line(
            "Tasks",
            format!(
                "{} in hand; {} ended, {} of them failed ({})",
                output::thousands(number(view, "/inFlight")),
                output::thousands(ended),
                output::thousands(failed),
                views::ratio(failed, ended)
            ),
        );
        if let (Some(p50), Some(p90)) = (view.get("p50Ms"), view.get("p90Ms")) {
            let span = |v: &Value| output::span(v.as_u64().unwrap_or(0));
            page.line("Latency", format!("{} (9 of 10: {})", span(p50), span(p90)));
        }
    }
    page.line("Slots each", text(m, "/slots"));
    page.line("Address", text(m, "/target/address"));
    page.line("Secret keys", text(m, "/target/secrets"));
    page.line("Identity", text(m, "/target/identity"));
    page.pairs("Limits per target", m.get("limits"));
    page.pairs("Pool", m.get("pool"));
    page.pairs("Resources", m.get("resources"));
    if let Some(view) = view {
        wrongs(page, view);
    }
    page.heading("Actions");
    page.table(describe::actions_table(&actions(item)).indent(2));
    let readings = m.get("reading").and_then(Value::as_array);
    if let Some(readings) = readings.filter(|r| !r.is_empty()) {
        page.heading("Readings");
        let mut table = Table::new(&["READING", "KIND", "UNIT", "HELP"]).indent(2);
        for r in readings {
            table.row(
                ["/name", "/kind", "/unit", "/help"]
                    .map(|p| text(r, p).into())
                    .to_vec(),
            );
        }
        page.table(table);
    }
    let kind = text(m, "/name");
    let mine: Vec<&Value> = others.iter().filter(|v| text(v, "/kind") == kind).collect();
    if mine.len() > 1 {
        page.heading("Versions");
        let mut table = Table::new(&["VERSION", "DIGEST", "FAILED", "GETS"]).indent(2);
        for v in mine {
            table.row(vec![
                text(v, "/version").into(),
                views::short_digest(&text(v, "/digest")).into(),
                views::failed(number(v, "/failed"), number(v, "/ended")),
                or_dash(gets(v)),
            ]);
        }
        page.table(table);
    }
}

/// Why it cannot be run, and what its instances did wrong, by execution environment.
fn wrongs(page: &mut Page, view: &Value) {
    let broken = broken(view);
    if !broken.is_empty() {
        page.heading("Cannot be run");
        for (wee, why) in broken {
            page.toned(&format!("  wee/{wee}"), why, Tone::Bad);
        }
    }
    let complaints = view.get("complaints").and_then(Value::as_object);
    if let Some(complaints) = complaints.filter(|c| !c.is_empty()) {
        page.heading("Complaints");
        for (wee, lines) in complaints {
            for line in lines.as_array().into_iter().flatten() {
                page.toned(&format!("  wee/{wee}"), scalar(line), Tone::Warn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;
    use serde_json::json;

    fn versions() -> Vec<Value> {
        vec![
            json!({"name":"redfish@1.4.0","kind":"redfish","version":"1.4.0","bytes":1_500_000,
                "digest":"sha256:aaaaaaaaaaaabbbb","origin":"bundled","runtimes":["process"],
                "actions":["observe","power.set"],"gets":["the rest"],"targets":1000,"instances":2,"slots":64,
                "slotsBusy":9,"inFlight":12,"ended":1000,"failed":0,"p50Ms":12,"p90Ms":40}),
            json!({"name":"redfish@1.5.0","kind":"redfish","version":"1.5.0","bytes":900,
                "digest":"sha256:ccccccccccccdddd","origin":"pushed","runtimes":["process","wasm"],
                "actions":["observe"],"gets":["10% of vendor=Contoso, watched"],"targets":1000,"instances":0,
                "slots":0,"slotsBusy":0,"inFlight":0,"ended":40,"failed":1,
                "broken":{"edge":"hello: none within 10 s\u{1b}[31m"},"complaints":{}}),
        ]
    }

    #[test]
    fn versions_as_a_table() {
        let mut page = String::new();
        for wide in [false, true] {
            let mut table = views::table(super::super::nouns::Noun::Worker, wide);
            versions().iter().for_each(|v| table.row(row(wide, v)));
            page += &table.take(Paint { on: false });
        }
        page += &complaints(&versions()).join("\n");
        expect_test::expect![[r#"
            KIND      VERSION   DIGEST         INSTANCES   SLOTS   QUEUE   FAILED   P50    P90    GETS
            redfish   1.4.0     aaaaaaaaaaaa   2           9/64    12      0%       12ms   40ms   the rest
            redfish   1.5.0     cccccccccccc   broken      0/0     0       2.5%     -      -      10% of vendor=Contoso, watched
            KIND      VERSION   DIGEST         INSTANCES   SLOTS   QUEUE   FAILED   P50    P90    GETS                             TARGETS   RUNTIMES       ORIGIN    SIZE      ACTIONS
            redfish   1.4.0     aaaaaaaaaaaa   2           9/64    12      0%       12ms   40ms   the rest                         1,000     process        bundled   1.4 MiB   observe,power.set
            redfish   1.5.0     cccccccccccc   broken      0/0     0       2.5%     -      -      10% of vendor=Contoso, watched   1,000     process,wasm   pushed    900 B     observe
            redfish@1.5.0 cannot be run in wee/edge: hello: none within 10 s\u{1b}[31m"#]].assert_eq(&page);
    }

    #[test]
    fn a_kind_means_all_its_versions() {
        let found = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            named(versions(), &names).map(|v| v.len()).ok()
        };
        assert_eq!(found(&[]), Some(2));
        assert_eq!(found(&["redfish"]), Some(2));
        assert_eq!(found(&["redfish@1.5.0"]), Some(1));
        assert_eq!(found(&["redfish@1.5.0", "pdu"]), None);
    }

    #[test]
    fn a_version_is_described_with_what_keeps_it_from_running() {
        let record = json!({"kind":"Worker","metadata":{"name":"redfish@1.5.0"},
            "spec":{"name":"redfish","version":"1.5.0","slots":8,
                "action":[{"name":"observe","effect":"read","timeout_ms":30000},{"name":"p","internal":true}]},
            "status":{"digest":"sha256:ccccccccccccdddd","bytes":900,"origin":"pushed"}});
        let mut page = Page {
            out: String::new(),
            paint: Paint { on: false },
        };
        describe(&mut page, &record, &versions());
        expect_test::expect![[r#"
            Name:         redfish@1.5.0
            Kind:         Worker
            Labels:       -
            Version:      1.5.0
            Digest:       sha256:ccccccccccccdddd
            Size:         900 B
            Origin:       pushed
            Runtimes:     process,wasm
            Gets:         10% of vendor=Contoso, watched
            Targets:      1,000
            Instances:    0
            Slots:        0 of 0 busy
            Tasks:        0 in hand; 40 ended, 1 of them failed (2.5%)
            Slots each:   8
            Cannot be run:
              wee/edge:   hello: none within 10 s\u{1b}[31m
            Actions:
              ACTION    EFFECT   TIMEOUT   PARAMETERS   DESCRIPTION
              observe   read     30.0s     -
            Versions:
              VERSION   DIGEST         FAILED   GETS
              1.4.0     aaaaaaaaaaaa   0%       the rest
              1.5.0     cccccccccccc   2.5%     10% of vendor=Contoso, watched
        "#]]
        .assert_eq(&page.out);
    }
}
