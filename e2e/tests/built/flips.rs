//! The version of a worker is flipped again and again while tasks go on: none is lost, none fails, none is done twice.

use sengu_e2e::release::by_version;
use sengu_e2e::{Image, Instance, fleet, json, s, under, until};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FLIPS: u32 = 200;
const TARGETS: u32 = 100;
/// Between two runs of the load: changes that must not be repeated, and reads.
const PAUSE: Duration = Duration::from_millis(97);

#[test]
fn two_hundred_flips_under_load_lose_fail_and_double_nothing() {
    let sengu = Instance::start();
    sengu.api.yaml(&fleet::echo(TARGETS)).expect(200);
    sengu.push(&Image::shipped(&sengu.beside(""), "echo", "1.1.0", &[]));
    // One instance is kept of each, as where a new version is expected to come.
    let pool = json!({"apiVersion": "sengu/v1", "kind": "Release", "metadata": {"name": "echo"},
        "spec": {"version": "1.0.0", "pool": {"warm": 1}}});
    sengu.api.yaml(&pool.to_string()).expect(200);
    let load = |over: &AtomicBool| {
        let mut runs = Vec::new();
        while !over.load(Ordering::Relaxed) {
            for action in ["once", "observe"] {
                let spec = json!({"action": action, "selector": "kind=echo"});
                runs.push(sengu.run(&spec));
                std::thread::sleep(PAUSE);
            }
        }
        runs
    };
    let (runs, flips) = under(load, || {
        let began = Instant::now();
        for flip in 0..FLIPS {
            let version = if flip % 2 == 0 { "1.1.0" } else { "1.0.0" };
            let body = json!({"version": version, "unguarded": true, "replace": true});
            let path = "/v1/releases/echo/promote";
            sengu.api.post(path, &body).expect(200);
            std::thread::sleep(Duration::from_millis(20));
        }
        began.elapsed()
    });
    let mut versions: BTreeMap<String, u32> = BTreeMap::new();
    let mut tasks = 0;
    for run in &runs {
        let record = sengu.over(run, s(30));
        let done = record["status"]["counts"]["done"].as_u64();
        assert_eq!(done, Some(u64::from(TARGETS)), "{record}");
        let of_run = sengu.pages(&format!("/v1/tasks?run={run}&limit=500"));
        assert_eq!(of_run.len(), TARGETS as usize, "{run}");
        tasks += of_run.len();
        for task in &of_run {
            // Handed to an instance once, and not again.
            assert_eq!(task["ending"]["attempts"], 1, "{task}");
        }
        for (version, count) in by_version(&of_run) {
            *versions.entry(version).or_default() += count;
        }
    }
    println!("{FLIPS} flips in {flips:?}, {tasks} tasks: {versions:?}");
    assert_eq!(versions.len(), 2, "both versions did some: {versions:?}");
    // Each outcome was told once.
    let mut events = sengu.api.events("/v1/results?from=0", &[]);
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    while told.len() < tasks {
        let event = events.next(s(5)).expect("a result of every task");
        let task = event.data["data"]["id"].as_str().unwrap().to_owned();
        let times = told.entry(task).or_default();
        *times += 1;
        assert_eq!(*times, 1, "told twice: {}", event.data);
    }
    // What the workers themselves counted, over both versions, is what was asked for.
    let ended = until("all is counted", s(10), || {
        let wees = sengu.wees();
        let pools = wees.iter().flat_map(|w| w["pools"].as_array().unwrap());
        let echo = pools.filter(|p| p["kind"] == "echo");
        let ended: u64 = echo.map(|p| p["ended"].as_u64().unwrap()).sum();
        (ended >= tasks as u64).then_some(ended)
    });
    assert_eq!(ended, tasks as u64);
    assert_eq!(sengu.api.get("/v1/version")["store"]["tasksOpen"], 0);
}
