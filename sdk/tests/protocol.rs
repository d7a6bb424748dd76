//! The published schema of the protocol holds for what the model writes and reads, and for a worker in another language.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use jsonschema::Validator;
use sengu_sdk::testing::Lines;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

const SCHEMA: &str = include_str!("../../docs/reference/worker-protocol.schema.json");
const TASK: &str = include_str!("../../model/src/wire/golden/v1-task.json");
const FROM_WORKER: &str = include_str!("../../model/src/wire/golden/v1-from-worker.jsonl");

/// The schema of one direction.
fn schema(direction: &str) -> Validator {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    schema.as_object_mut().unwrap().remove("anyOf");
    schema["$ref"] = json!(format!("#/$defs/{direction}"));
    jsonschema::draft202012::new(&schema).unwrap()
}

fn check(schema: &Validator, line: &Value) {
    let wrong: Vec<String> = schema.iter_errors(line).map(|e| e.to_string()).collect();
    assert!(wrong.is_empty(), "{line}: {wrong:?}");
}

#[test]
fn golden_lines_are_valid() {
    check(&schema("to_worker"), &serde_json::from_str(TASK).unwrap());
    let from = schema("from_worker");
    for line in FROM_WORKER.lines() {
        check(&from, &serde_json::from_str(line).unwrap());
    }
}

#[test]
fn every_outcome_and_code_of_the_model_is_in_the_schema() {
    use sengu_sdk::{Failure, FailureCode, Outcome};
    let why = || "x".to_owned();
    let mut outcomes = vec![
        Outcome::changed(json!(1), json!(2)),
        Outcome::result(false, json!({})),
        Outcome::Failed(Failure::busy("m", 5).with_detail(json!({"status": 503}))),
        Outcome::Unknown { why: why() },
        Outcome::Cancelled { why: why() },
        Outcome::Expired { why: why() },
    ];
    outcomes.extend(FailureCode::ALL.map(|code| Outcome::failed(code, "m")));
    let from = schema("from_worker");
    for outcome in outcomes {
        let id = sengu_sdk::TaskId(7);
        let line = json!({"type": "outcome", "id": id, "fence": "1.1", "outcome": outcome});
        check(&from, &line);
    }
}

#[test]
fn wrong_lines_are_refused() {
    let from = schema("from_worker");
    let table = [
        json!({"type": "hello", "protocol": 2, "worker": "a", "version": "1.0.0", "slots": 1}),
        json!({"type": "hello", "protocol": 1, "worker": "a", "version": "1.0.0", "slots": 0}),
        json!({"type": "outcome", "id": "t-0000000000007", "fence": "1.1", "outcome": {"status": "fine"}}),
        json!({"type": "outcome", "id": "t-0000000000007", "fence": "1.1", "outcome": {"status": "failed"}}),
        json!({"type": "outcome", "id": "t-0000000000007", "outcome": {"status": "done"}}),
        json!({"type": "reading", "id": "t-0000000000007", "readings": [{"name": "a", "value": "1"}]}),
        json!({"type": "log", "id": "7", "level": "info", "message": "m"}),
        json!({"type": "news"}),
    ];
    for line in table {
        assert!(!from.is_valid(&line), "{line}");
    }
}

#[test]
fn a_worker_in_another_language_keeps_the_protocol() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../workers/foreign");
    let manifest = std::fs::read_to_string(format!("{folder}/worker.toml")).unwrap();
    let manifest = sengu_sdk::Manifest::parse(&manifest).unwrap();
    // As the process runtime does it: the program is in the folder, the working directory is another.
    let program = format!("{folder}/{}", manifest.command[0]);
    let mut command = Command::new(program);
    command.current_dir("/").env("SENGU_WORKER_FOLDER", folder);
    let mut worker = Lines::start(&mut command);
    let (to, from) = (schema("to_worker"), schema("from_worker"));
    let next = |worker: &Lines| loop {
        let line = worker.next(Duration::from_secs(20)).expect("a line");
        check(&from, &line);
        if line["type"] != "beat" {
            return line;
        }
    };
    let hello = next(&worker);
    assert_eq!(hello["worker"], manifest.name);
    assert_eq!(hello["version"], manifest.version);
    assert_eq!(hello["slots"], manifest.slots);
    let give = |worker: &mut Lines, action: &str, params: Value| {
        let task = json!({
            "type": "task", "id": "t-0000000000007", "fence": "3.1", "action": action, "params": params,
            "target": {"name": "a", "address": "b"}, "timeout_ms": 1000,
        });
        check(&to, &task);
        worker.send(&task);
    };
    give(&mut worker, "observe", json!({}));
    assert_eq!(next(&worker)["readings"][0]["name"], "hello_up");
    let outcome = next(&worker);
    assert_eq!(
        (&outcome["fence"], &outcome["outcome"]["status"]),
        (&json!("3.1"), &json!("done"))
    );
    worker.send(&json!({"type": "news", "of": "a later protocol"}));
    give(&mut worker, "greet", json!({"name": "Ise"}));
    assert_eq!(next(&worker)["outcome"]["result"], "hello, Ise");
    give(&mut worker, "fly", json!({}));
    assert_eq!(next(&worker)["outcome"]["code"], "refused");
    worker.send(&json!({"type": "drain"}));
    assert!(worker.close(Duration::from_secs(10)).success());
}
