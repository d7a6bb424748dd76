//! What those who look are shown: it is what happened, in the form and at the pace that was promised.

mod support;

use sengu_model::wire::envelope::Event;
use sengu_model::{Class, FailureCode, Outcome};
use serde_json::{Value, json};
use std::time::Duration;
use support::http::{follow, get};
use support::{Bench, done, until};

fn placed(name: &str, rack: &str, unit: u32) -> String {
    format!(
        "apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: {name}, labels: {{site: tyo, row: a, rack: {rack}, unit: \"{unit}\"}}}}\n\
         spec: {{kind: toy, address: a}}\n"
    )
}

async fn racks(bench: &Bench) {
    let all = [
        placed("a1", "r1", 1),
        placed("a2", "r1", 2),
        placed("a3", "r2", 1),
    ];
    bench.apply(&all.join("---\n")).await;
}

fn unreachable() -> Outcome {
    Outcome::failed(FailureCode::Unreachable, "no answer")
}

async fn observe(bench: &mut Bench, target: &str, more: Value) {
    let task = bench.create("observe", &[target]).await[0];
    let sent = bench.take(Class::Observe).await;
    bench.report(&sent, Event::Ended, more).await;
    bench.ended(task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_counts_what_changed_and_those_who_look_share_it() {
    let mut bench = Bench::new(8, 2).await;
    racks(&bench).await;
    let first = get(&bench.logic, "/v1/overview").await;
    assert_eq!(first["targets"]["total"], 5);
    assert_eq!(first["targets"]["unknown"], 5);
    assert_eq!(first["history"]["ended"].as_array().unwrap().len(), 120);
    assert_eq!(first["wees"][0]["state"], "ready");
    assert_eq!(first["zones"][0]["targets"], 5);
    let mut watch = follow(&bench.logic, "/v1/overview/watch").await;
    watch.next_of("overview").await;

    observe(&mut bench, "t0", json!({"outcome": done()})).await;
    let refused = Outcome::failed(FailureCode::AuthFailed, "wrong password");
    observe(&mut bench, "t1", json!({"outcome": refused})).await;
    let seen = loop {
        let seen = watch.next_of("overview").await;
        if seen["tasks"]["ended"] == 2 && seen["targets"]["quarantined"] == 1 {
            break seen;
        }
    };
    assert_eq!(seen["targets"]["reachable"], 1);
    assert_eq!(seen["targets"]["unreachable"], 1);
    assert_eq!(seen["targets"]["failing"], 1);
    assert_eq!(seen["targets"]["byKind"][0]["quarantined"], 1);
    for selector in ["failing", "quarantined"] {
        let path = format!("/v1/records/Target?selector={selector}%3Dtrue");
        let found = get(&bench.logic, &path).await;
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
        assert_eq!(found["items"][0]["metadata"]["name"], "t1");
    }
    assert_eq!(seen["history"]["ended"][119], 2);
    assert_eq!(seen["history"]["notDone"][119], 1);
    // Many who ask at once are told the same.
    let all = futures::future::join_all((0..20).map(|_| bench.logic.overview())).await;
    assert!(all.iter().all(|shot| shot.number == all[0].number));

    bench.logic.uncordon("t1").await.unwrap();
    bench.logic.delete("Target", "t0", None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_000)).await; // the overview is at most this old
    let last = get(&bench.logic, "/v1/overview").await;
    assert_eq!(last["targets"]["quarantined"], 0);
    assert_eq!(last["targets"]["total"], 4);
    assert_eq!(last["targets"]["reachable"], 0);
    // What is counted is what a restart finds.
    let bench = bench.restart().await;
    let again = get(&bench.logic, "/v1/overview").await;
    assert_eq!(
        again["targets"],
        json!({
            "total": 4, "reachable": 0, "unreachable": 1, "unknown": 3, "quarantined": 0, "maintenance": 0, "failing": 0,
            "byKind": [{"kind": "toy", "total": 4, "reachable": 0, "unreachable": 1, "unknown": 3, "quarantined": 0,
                "maintenance": 0, "failing": 0}],
            "byZone": [{"zone": "default", "total": 4, "reachable": 0, "unreachable": 1, "unknown": 3, "quarantined": 0,
                "maintenance": 0, "failing": 0}],
        })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_shows_runs_and_what_is_wrong() {
    let mut bench = Bench::new(8, 3).await;
    let spec = json!({"action": "set", "selector": "kind=toy", "batch": "2"});
    let spec = serde_json::from_value(spec).unwrap();
    let run = bench.logic.create_run(spec).await.unwrap().metadata.name;
    bench.take(Class::Control).await;
    bench.take(Class::Control).await;
    bench
        .apply(&support::target("far", "elsewhere", "toy"))
        .await;
    let seen = get(&bench.logic, "/v1/overview").await;
    let shown = &seen["runs"][0];
    assert_eq!(shown["name"], run);
    assert_eq!(shown["counts"]["active"], 2);
    assert_eq!(shown["counts"]["held"], 1);
    assert_eq!(seen["tasks"]["sent"], 2);
    // A store that is slow for a moment may stand before it.
    let trouble = seen["trouble"].as_array().unwrap();
    let trouble = trouble.iter().find(|t| t["code"] == "zoneEmpty").unwrap();
    assert_eq!(trouble["level"], "error");
    let text = "zone elsewhere has 1 targets and no execution environment";
    assert_eq!(trouble["text"], text);
    assert_eq!(
        trouble["facts"],
        json!({"zone": "elsewhere", "targets": "1"})
    );
    // A program reads the same of a task that waits.
    let task = bench.create("set", &["far"]).await[0];
    let why = get(&bench.logic, &format!("/v1/why/task/{task}")).await;
    assert_eq!(
        why["sentence"],
        "No execution environment is in zone elsewhere."
    );
    assert_eq!(why["code"], "taskNoWee");
    assert_eq!(why["facts"], json!({"zone": "elsewhere"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racks_and_tiles_show_where_targets_stand_and_how_they_are() {
    let mut bench = Bench::new(8, 0).await;
    racks(&bench).await;
    bench.create("observe", &["a2"]).await;
    let sent = bench.take(Class::Observe).await;
    bench.end(&sent, &unreachable()).await;
    until("it is known that it does not answer", async || {
        get(&bench.logic, "/v1/racks").await["items"][0]["unreachable"] == 1
    })
    .await;
    let racks = get(&bench.logic, "/v1/racks").await;
    assert_eq!(
        racks,
        json!({"truncated": false, "items": [
            {"site": "tyo", "row": "a", "rack": "r1", "targets": 2, "unreachable": 1, "quarantined": 0, "failing": 1},
            {"site": "tyo", "row": "a", "rack": "r2", "targets": 1, "unreachable": 0, "quarantined": 0, "failing": 0},
        ]})
    );
    let tiles = get(&bench.logic, "/v1/tiles?selector=site%3Dtyo").await;
    assert_eq!(tiles["total"], 3);
    assert_eq!(tiles["racks"], json!(["r1", "r2"]));
    let columns = &tiles["tiles"];
    assert_eq!(columns["name"], json!(["a1", "a2", "a3"]));
    assert_eq!(columns["rack"], json!([0, 0, 1]));
    assert_eq!(columns["unit"], json!(["1", "2", "1"]));
    assert_eq!(columns["state"], "?u?");
    let some = get(&bench.logic, "/v1/tiles?limit=2&colour=rack").await;
    assert_eq!(some["truncated"], true);
    assert_eq!(some["total"], 3);
    assert_eq!(some["tiles"]["word"], json!([0, 0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiles_follow_what_changes_and_tell_when_others_match() {
    let mut bench = Bench::new(8, 0).await;
    racks(&bench).await;
    let path = "/v1/tiles/watch?selector=site%3Dtyo&colour=temperature_celsius";
    let mut watch = follow(&bench.logic, path).await;
    let whole = watch.next_of("tiles").await;
    assert_eq!(whole["tiles"]["value"], json!([null, null, null]));
    let readings = json!([
        {"name": "temperature_celsius", "value": 20.5, "unit": "Cel", "labels": {"sensor": "a"}},
        {"name": "temperature_celsius", "value": 41.0, "unit": "Cel", "labels": {"sensor": "b"}},
        {"name": "power_watts", "value": 300.0},
    ]);
    observe(
        &mut bench,
        "a3",
        json!({"outcome": done(), "readings": readings}),
    )
    .await;
    let changed = watch.next_of("changed").await;
    assert_eq!(changed, json!({"i": [2], "state": "r", "value": [41.0]}));
    assert!(
        watch.is_quiet(Duration::from_millis(700)).await,
        "nothing changed"
    );
    // A change is in hand, and over.
    let task = bench.create("set", &["a1"]).await[0];
    let sent = bench.take(Class::Control).await;
    assert_eq!(watch.next_of("changed").await["state"], "b");
    bench.end(&sent, &done()).await;
    bench.ended(task).await;
    assert_eq!(watch.next_of("changed").await["state"], "r");
    bench.apply(&placed("a4", "r9", 1)).await;
    assert_eq!(watch.next().await.0, "stale");
    let again = get(&bench.logic, "/v1/tiles?colour=temperature_celsius").await;
    assert_eq!(again["unit"], "Cel");
    assert_eq!(again["tiles"]["value"], json!([null, null, 41.0, null]));
    let exact = "/v1/tiles?colour=temperature_celsius%7Bsensor%3D%22a%22%7D";
    assert_eq!(get(&bench.logic, exact).await["tiles"]["value"][2], 20.5);
    let history = get(&bench.logic, "/v1/targets/a3/history").await;
    assert_eq!(history["readings"].as_array().unwrap().len(), 3);
    assert_eq!(history["readings"][0]["value"], json!([300.0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grid_of_a_run_follows_its_tasks() {
    let mut bench = Bench::new(8, 3).await;
    let spec = json!({"action": "set", "selector": "kind=toy", "batch": "2"});
    let spec = serde_json::from_value(spec).unwrap();
    let run = bench.logic.create_run(spec).await.unwrap().metadata.name;
    let (first, second) = (
        bench.take(Class::Control).await,
        bench.take(Class::Control).await,
    );
    let grid = get(&bench.logic, &format!("/v1/runs/{run}/grid")).await;
    assert_eq!(grid["targets"], json!(["t0", "t1", "t2"]));
    assert_eq!(grid["batch"], json!([1, 1, 2]));
    assert_eq!(grid["state"], "aah");
    let mut watch = follow(&bench.logic, &format!("/v1/runs/{run}/grid/watch")).await;
    let mut state: Vec<char> = {
        let whole = watch.next_of("grid").await;
        whole["state"].as_str().unwrap().chars().collect()
    };
    bench.end(&first, &done()).await;
    bench
        .end(&second, &Outcome::failed(FailureCode::Refused, "no"))
        .await;
    let third = bench.take(Class::Control).await;
    bench.end(&third, &done()).await;
    let mut phase = Value::Null;
    while state != ['d', 'f', 'd'] || phase != "Failed" {
        let (event, data) = watch.next().await;
        match event.as_str() {
            "run" => phase = data["phase"].clone(),
            "changed" => {
                let letters = data["state"].as_str().unwrap().chars();
                for (at, letter) in data["i"].as_array().unwrap().iter().zip(letters) {
                    state[at.as_u64().unwrap() as usize] = letter;
                }
            }
            other => panic!("{other}"),
        }
    }
    // Given other tasks, it is told anew.
    bench.logic.retry_run(&run, false).await.unwrap();
    let sent = bench.take(Class::Control).await;
    bench.end(&sent, &done()).await;
    let anew = watch.next_of("grid").await;
    assert_eq!(anew["targets"].as_array().unwrap().len(), 3);
    let status = bench.run_when(&run, &["Succeeded"]).await;
    assert_eq!(status["counts"]["done"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_come_newest_first_and_page_to_the_end_without_secrets() {
    let bench = Bench::new(8, 3).await;
    let secret = "apiVersion: sengu/v1\nkind: Secret\nmetadata: {name: s}\nspec: {data: {password: hunter2}}\n";
    bench.apply(secret).await;
    bench.logic.delete("Target", "t1", None).await.unwrap();
    let all = get(&bench.logic, "/v1/changes?limit=1000").await;
    assert_eq!(all["items"][0]["op"], "delete");
    assert_eq!(all["items"][0]["name"], "t1");
    assert_eq!(all["items"][1]["record"]["spec"]["data"]["password"], "***");
    assert!(!all.to_string().contains("hunter2"));
    let (mut paged, mut before) = (Vec::new(), String::new());
    loop {
        let page = get(&bench.logic, &format!("/v1/changes?limit=1{before}")).await;
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["cursor"].as_u64() {
            Some(cursor) => before = format!("&before={cursor}"),
            None => break,
        }
    }
    assert_eq!(&Value::Array(paged), &all["items"]);
    let one = get(&bench.logic, "/v1/changes?kind=Target&name=t2").await;
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    // Whoever goes on to follow misses nothing, also of what was left out here.
    assert!(one["revision"].as_u64() >= all["items"][0]["revision"].as_u64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_found_by_kind_action_and_origin_page_by_page() {
    let mut bench = Bench::new(0, 2).await;
    let mut wanted = Vec::new();
    for _ in 0..7 {
        wanted.extend(bench.create("set", &["t0"]).await);
        bench.create("observe", &["t1"]).await;
    }
    wanted.reverse();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/tasks?action=set&kind=toy&origin=person&limit=2{cursor}");
        let page = get(&bench.logic, &path).await;
        let items = page["items"].as_array().unwrap();
        found.extend(items.iter().map(|t| t["id"].as_str().unwrap().to_owned()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    assert_eq!(found, wanted);
    let none = get(&bench.logic, "/v1/tasks?kind=other").await;
    assert_eq!(none["items"], json!([]));
    bench.takes_nothing(Class::Control).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_the_interconnect_are_told() {
    let bench = Bench::new(8, 0).await;
    let limits = get(&bench.logic, "/v1/limits").await;
    let lease = limits
        .as_array()
        .unwrap()
        .iter()
        .find(|l| l["name"] == "lease_ms");
    let lease = lease.unwrap();
    assert_eq!(
        (&lease["value"], &lease["unit"]),
        (&json!(20_000), &json!("ms"))
    );
    assert!(lease["why"].as_str().unwrap().starts_with("A started task"));
    let version = get(&bench.logic, "/v1/version").await;
    assert_eq!(
        version["interconnect"],
        json!({"engine": "embedded", "connected": true})
    );
    assert_eq!(version["eventsTo"], json!([]));
    until("the environment is shown", async || {
        !bench.logic.shared.wees.read().is_empty()
    })
    .await;
}
