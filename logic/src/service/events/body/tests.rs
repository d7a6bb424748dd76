//! Topics and bodies, as tables.

use super::*;
use sengu_model::task::{Ending, Priority, TaskState};
use sengu_model::{Done, Effect, Metadata, TaskId, Uid};
use sengu_store::Position;

const ALL: usize = usize::MAX;

fn task(target: &str) -> TaskView {
    TaskView {
        id: TaskId(5),
        state: TaskState::Ended,
        target: target.to_owned(),
        target_uid: Uid(7),
        kind: "redfish".to_owned(),
        action: "power.on".to_owned(),
        effect: Effect::Probe,
        params: json!({"a": 1}),
        run: None,
        frames: false,
        origin: "person".to_owned(),
        priority: Priority::People,
        attempt: 1,
        created_at: Time(0),
        not_before: None,
        ending: Some(Ending {
            outcome: Outcome::Done(Done {
                changed: true,
                before: Some(json!("off")),
                after: Some(json!("on")),
                result: Some(json!("x".repeat(10_000))),
            }),
            started_at: None,
            ended_at: Time(1_000),
            attempts: 1,
            wee: None,
            instance: None,
            digest: None,
            chosen: None,
            readings: Some(json!([1])),
            facts: Some(json!({"b": 2})),
            history: Vec::new(),
        }),
    }
}

fn at(told: &Told) -> String {
    told.topic.encoded("sengu", '/')
}

fn json_of(told: &Told) -> Value {
    serde_json::from_slice(&told.body).unwrap()
}

#[test]
fn a_result_is_told_by_kind_zone_and_target() {
    let position: Position = 12;
    let table = [
        ("t0", "tyo1", "sengu/v1/result/redfish/tyo1/t0"),
        ("t0", "", "sengu/v1/result/redfish/-/t0"),
        (
            "a/+#b",
            "*.>",
            "sengu/v1/result/redfish/%2A.%3E/a%2F%2B%23b",
        ),
    ];
    for (target, zone, topic) in table {
        let told = result(position, task(target), zone, ALL).unwrap();
        assert_eq!((at(&told).as_str(), told.keep), (topic, Keep::No));
        let event = json_of(&told);
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], "sengu.task.ended.v1");
        assert_eq!(event["source"], "/sengu");
        assert_eq!(event["id"], format!("{}-12", TaskId(5)));
        assert_eq!(event["subject"], target);
        assert_eq!(event["time"], Time(1_000).to_string());
        assert_eq!(event["data"]["ending"]["outcome"]["after"], "on");
        assert_eq!(event.get("truncated"), None);
    }
}

#[test]
fn what_the_broker_does_not_take_is_told_without_its_large_parts() {
    let told = result(1, task("t0"), "z", 2_000).unwrap();
    let event = json_of(&told);
    assert_eq!(event["truncated"], true);
    let ending = &event["data"]["ending"];
    assert_eq!(ending["outcome"]["changed"], true);
    for part in ["readings", "facts"] {
        assert_eq!(ending.get(part), None, "{part}");
    }
    assert_eq!(ending["outcome"].get("result"), None);
    assert!(
        result(1, task("t0"), "z", 100).is_none(),
        "nothing of it fits"
    );
    let large = Record {
        spec: json!({"x": "y".repeat(5_000)}),
        ..a_record("Target")
    };
    let event = json_of(&record(put(large), 1_000).unwrap());
    assert_eq!(event["truncated"], true);
    assert_eq!(event["data"]["metadata"]["name"], "n");
}

fn a_record(kind: &str) -> Record {
    Record {
        api_version: sengu_model::record::API_VERSION.to_owned(),
        kind: kind.to_owned(),
        metadata: Metadata {
            name: "n".to_owned(),
            ..Metadata::default()
        },
        spec: json!({"address": "a"}),
        status: json!({"readings": [1], "facts": {"c": 3}}),
    }
}

fn put(record: Record) -> Shown {
    Shown {
        kind: record.kind.clone(),
        name: record.metadata.name.clone(),
        revision: 9,
        record: Some(record),
    }
}

#[test]
fn a_change_is_told_by_kind_and_name() {
    let told = record(put(a_record("Target")), ALL).unwrap();
    assert_eq!(at(&told), "sengu/v1/record/target/n");
    let event = json_of(&told);
    assert_eq!(event["type"], "sengu.record.put.v1");
    assert_eq!(event["id"], "revision-9");
    assert_eq!(event["subject"], "Target/n");
    assert_eq!(
        event["data"]["status"],
        json!({"facts": {"c": 3}}),
        "readings are told apart"
    );
    let gone = Shown {
        record: None,
        ..put(a_record("Run"))
    };
    let told = record(gone, ALL).unwrap();
    assert_eq!(at(&told), "sengu/v1/record/run/n");
    let event = json_of(&told);
    assert_eq!(event["type"], "sengu.record.delete.v1");
    assert_eq!(
        event["data"],
        json!({"kind": "Run", "metadata": {"name": "n"}})
    );
    let event = json_of(&gap(3, 8));
    assert_eq!(
        event["data"],
        json!({"of": "record", "after": 3, "oldest": 8})
    );
}

#[test]
fn a_reading_is_one_level_whatever_its_labels_are() {
    let plain = Reading::new("power_watts", 312.5, "W");
    let labelled = Reading::new("t", 1.0, "")
        .label("sensor", "cpu 1")
        .label("a", "b");
    let table = [
        (plain.clone(), "power_watts"),
        (labelled, "t{a=b,sensor=cpu%201}"),
        (Reading::new("", 1.0, ""), "-"),
        (Reading::new("t", 1.0, "").label("a/b", "#"), "t{a%2Fb=%23}"),
    ];
    let of = Of {
        uid: Uid(7),
        target: "pdu.1",
        kind: "snmp",
        zone: "tyo1",
        at: Time(5),
    };
    for (one, last) in table {
        let told = reading(of, &one);
        assert_eq!(
            at(&told),
            format!("sengu/v1/reading/snmp/tyo1/pdu.1/{last}")
        );
        assert_eq!(told.keep, Keep::Latest);
        let level = reading_level(&one);
        assert_eq!(
            no_reading("snmp", "tyo1", "pdu.1", &level).topic,
            told.topic
        );
    }
    let event = json_of(&reading(of, &plain));
    let data = json!({"target": "pdu.1", "kind": "snmp", "zone": "tyo1", "name": "power_watts",
        "value": 312.5, "unit": "W"});
    assert_eq!(
        (&event["data"], &event["id"]),
        (&data, &json!("7-5-power_watts"))
    );
}

#[test]
fn no_two_readings_have_one_level() {
    let t = |labels: &[(&str, &str)]| {
        let reading = Reading::new("t", 0.0, "");
        let label = |r: Reading, (k, v): &(&str, &str)| r.label(*k, *v);
        reading_level(&labels.iter().fold(reading, label))
    };
    let long = "x".repeat(300);
    let longer = format!("{long}y");
    let levels = [
        t(&[("a", "1,b=2")]),
        t(&[("a", "1"), ("b", "2")]),
        t(&[("a", "1\\"), ("b", "2")]),
        t(&[("a", &long)]),
        t(&[("a", &longer)]),
        t(&[("\u{e9}".repeat(200).as_str(), "")]),
        t(&[]),
    ];
    for (n, level) in levels.iter().enumerate() {
        assert!(level.len() <= LEVEL_BYTES_MAX, "{level}");
        assert!(!levels[..n].contains(level), "{level}");
    }
}
