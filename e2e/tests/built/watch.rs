//! Following: `/v1/watch` misses no change, `/v1/results` tells each end once, both can be taken up again.

use sengu_e2e::http::Event;
use sengu_e2e::{Instance, fleet, json, s};
use std::collections::BTreeMap;

fn target(name: &str, row: usize) -> String {
    format!(
        "apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: {name}, labels: {{row: r{row}}}}}\n\
         spec: {{kind: echo, address: x}}\n"
    )
}

fn number(event: &Event) -> u64 {
    event.id.parse().expect("the id of an event is its place")
}

#[test]
fn a_watch_from_a_revision_misses_nothing_while_records_change() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 60;
    let sengu = Instance::start();
    let api = &sengu.api;
    let from = api.get("/v1/records/Target")["revision"].as_u64().unwrap();
    let path = format!("/v1/watch?kinds=Target&from={from}");
    // What a follower would hold: label `row` by name.
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    let mut deletions: BTreeMap<String, usize> = BTreeMap::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    // A name of its own each time, one name again and again, and one that goes away.
                    api.yaml(&target(&format!("new-{writer}-{round}"), round))
                        .expect(200);
                    api.yaml(&target(&format!("same-{writer}"), round))
                        .expect(200);
                    if round % 20 == 0 {
                        let name = format!("gone-{writer}-{round}");
                        api.yaml(&target(&name, round)).expect(200);
                        let path = format!("/v1/records/Target/{name}");
                        assert_eq!(api.call("DELETE", &path, &[], b"").status, 204);
                    }
                }
            });
        }
        // Other writers of records move the revision too.
        scope.spawn(move || {
            for round in 0..ROUNDS {
                let text = format!(
                    "apiVersion: sengu/v1\nkind: Secret\nmetadata: {{name: s}}\nspec: {{data: {{k: v{round}}}}}\n"
                );
                api.yaml(&text).expect(200);
            }
        });
        // The connection breaks now and then; the next goes on where it was.
        let mut events = api.events(&path, &[]);
        let (mut last, mut since) = (from, 0);
        let whole = |held: &BTreeMap<String, String>, deletions: &BTreeMap<String, usize>| {
            let end = format!("r{ROUNDS}");
            let same = (0..WRITERS).all(|w| held.get(&format!("same-{w}")) == Some(&end));
            same && held.len() == WRITERS * (ROUNDS + 1)
                && deletions.len() == WRITERS * (ROUNDS / 20)
        };
        while !whole(&held, &deletions) {
            let Some(event) = events.next(s(10)) else {
                panic!(
                    "{} held, {} deleted, last {last}: {held:?}",
                    held.len(),
                    deletions.len()
                );
            };
            assert!(number(&event) > last, "{} after {last}", event.id);
            last = number(&event);
            let name = event.data["metadata"]["name"].as_str().unwrap().to_owned();
            match event.name.as_str() {
                "put" => {
                    let row = event.data["metadata"]["labels"]["row"].as_str().unwrap();
                    held.insert(name, row.to_owned());
                }
                "delete" => {
                    assert!(name.starts_with("gone-"), "told as deleted: {event:?}");
                    held.remove(&name);
                    *deletions.entry(name).or_default() += 1;
                }
                other => panic!("{other}: {event:?}"),
            }
            since += 1;
            if since == 25 {
                since = 0;
                let id = last.to_string();
                events = api.events(&path, &[("last-event-id", &id)]);
            }
        }
    });
}

#[test]
fn every_ended_task_is_told_once_and_resuming_leaves_no_gap() {
    let mut sengu = Instance::start();
    sengu.api.yaml(&fleet::echo(200)).expect(200);
    let mut events = sengu.api.events("/v1/results", &[]);
    let run = sengu.run(&json!({"action": "noop", "selector": "kind=echo", "batch": "25%"}));
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    let (mut last, mut since) = (0, 0);
    while told.len() < 200 {
        let event = events.next(s(10)).expect("every end");
        assert_eq!(event.name, "result");
        assert_eq!(event.data["type"], "sengu.task.ended.v1");
        assert_eq!(event.data["specversion"], "1.0");
        assert!(number(&event) > last);
        last = number(&event);
        let task = &event.data["data"];
        assert_eq!(task["run"], json!(run));
        assert_eq!(task["ending"]["outcome"]["status"], "done", "{task}");
        let times = told
            .entry(task["id"].as_str().unwrap().to_owned())
            .or_default();
        *times += 1;
        assert_eq!(*times, 1, "{task}");
        since += 1;
        if since == 30 {
            since = 0;
            let id = last.to_string();
            events = sengu.api.events("/v1/results", &[("last-event-id", &id)]);
        }
    }
    // Positions outlive the process.
    sengu.kill();
    sengu.up();
    let mut events = sengu.api.events("/v1/results?from=0", &[]);
    let mut again = 0;
    while again < 200 {
        let event = events.next(s(10)).expect("every end once more");
        assert!(told.contains_key(event.data["data"]["id"].as_str().unwrap()));
        again += 1;
    }
    sengu.task("echo-0001", "say", json!({"text": "x"}), s(10));
    let next = events.next(s(10)).expect("the next end");
    assert!(number(&next) > last, "{} after {last}", next.id);
    assert_eq!(next.data["data"]["ending"]["outcome"]["result"], "x");
}

#[test]
fn a_watch_of_an_unknown_kind_is_refused() {
    let sengu = Instance::start();
    let reply = sengu.api.call("GET", "/v1/watch?kinds=Lamp", &[], b"");
    assert_eq!(reply.expect(422)["code"], "unknown_kind");
}
