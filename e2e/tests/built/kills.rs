//! `kill -9` of sengu or of its workers at any moment of a run. The twins count what really happened: the oracle.

use sengu_e2e::process::Process;
use sengu_e2e::{Dice, Fleet, Instance, Value, fleet, json, s};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Name of the run, its action, and its targets as the run told them at the end.
pub struct Over {
    pub run: String,
    action: &'static str,
    targets: Vec<Value>,
}

const BMCS: u32 = 140;
const HOSTS: u32 = 120;
const PDUS: u32 = 40;

pub fn devices() -> Fleet {
    Fleet::new()
        .with("redfish", BMCS, &["--latency-ms", "10"])
        .with("ssh", HOSTS, &["--latency-ms", "20"])
        .with("snmp", PDUS, &["--latency-ms", "20"])
}

pub const RUNS: usize = ACTIONS.len();
const ACTIONS: [&str; 4] = ["power.set", "power.cycle", "exec", "outlet.cycle"];

/// One run per effect: idempotent, probe, once (answered at once, and slowly).
pub fn begin(sengu: &Instance) -> Vec<(String, &'static str)> {
    (0..RUNS).map(|number| begin_one(sengu, number)).collect()
}

/// One of them. Each has targets of its own.
pub fn begin_one(sengu: &Instance, number: usize) -> (String, &'static str) {
    let spec = match number {
        0 => {
            json!({"action": "power.set", "params": {"state": "forceOff"}, "selector": "kind=redfish,rack in (r01,r02,r03,r04)", "batch": "50%"})
        }
        1 => {
            json!({"action": "power.cycle", "selector": "kind=redfish,rack in (r05,r06,r07)", "batch": "25%"})
        }
        2 => {
            json!({"action": "exec", "params": {"command": "sleep 0.4"}, "selector": "kind=ssh", "batch": "17%"})
        }
        _ => {
            json!({"action": "outlet.cycle", "params": {"outlet": 2}, "selector": "kind=snmp", "batch": "50%"})
        }
    };
    (sengu.run(&spec), ACTIONS[number])
}

pub fn finish(sengu: &Instance, runs: Vec<(String, &'static str)>, limit: Duration) -> Vec<Over> {
    let end = Instant::now() + limit;
    let over = |(run, action): (String, &'static str)| {
        let left = end.saturating_duration_since(Instant::now());
        let record = sengu.over(&run, left);
        println!("{action}: {}", record["status"]);
        let counts = &record["status"]["counts"];
        let open = ["held", "waiting", "active"].map(|c| counts[c].as_u64().unwrap_or(0));
        assert_eq!(open, [0; 3], "{record}");
        let targets = sengu.run_targets(&run);
        assert_eq!(
            Some(targets.len() as u64),
            record["status"]["targets"].as_u64()
        );
        Over {
            run,
            action,
            targets,
        }
    };
    runs.into_iter().map(over).collect()
}

/// Every target has exactly one outcome, and it is what its device saw.
pub fn honest(sengu: &Instance, fleet: &mut Fleet, runs: &[Over]) {
    let effects = fleet.effects();
    let mut tally: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for over in runs {
        let mut names: Vec<&str> = Vec::new();
        for target in &over.targets {
            let name = target["target"].as_str().unwrap();
            names.push(name);
            assert_eq!(target["state"], "ended", "{} {target}", over.run);
            let status = target["status"].as_str().unwrap().to_owned();
            let seen = |effect: &str| effects[name].get(effect).copied().unwrap_or(0);
            let times = match over.action {
                "power.set" => seen("power.forceOff"),
                "power.cycle" => seen("power.cycle"),
                action => seen(action),
            };
            let right = match (over.action, status.as_str()) {
                // May be done again: in the end it is so.
                ("power.set", "done") => times >= 1,
                // Never twice, and reported done only when it was done.
                ("power.cycle" | "exec" | "outlet.cycle", "done") => times == 1,
                ("power.cycle" | "exec" | "outlet.cycle", "unknown") => times <= 1,
                _ => false,
            };
            assert!(
                right,
                "{} {status} and {times} times: {target}",
                over.action
            );
            *tally.entry((over.action, status)).or_default() += 1;
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a target twice in {}", over.run);
    }
    println!("{tally:?}");
    let open = sengu.pages("/v1/tasks?state=open&limit=100");
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(sengu.api.get("/v1/version")["store"]["tasksOpen"], 0);
    // Each outcome was told once in the stream of results.
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    let mut events = sengu.api.events("/v1/results?from=0", &[]);
    let wanted: usize = runs.iter().map(|r| r.targets.len()).sum();
    while told.len() < wanted {
        let event = events.next(s(5)).expect("a result of every task");
        let task = event.data["data"]["id"].as_str().unwrap().to_owned();
        let times = told.entry(task).or_default();
        *times += 1;
        assert_eq!(*times, 1, "told twice: {}", event.data);
    }
}

fn killed_at(moments_ms: &[u64]) {
    let mut fleet = devices();
    let mut sengu = Instance::start();
    fleet.apply(&sengu);
    let runs = begin(&sengu);
    for moment in moments_ms {
        std::thread::sleep(Duration::from_millis(*moment));
        sengu.kill();
        sengu.up();
    }
    // By itself: nobody asks for anything again.
    let over = finish(&sengu, runs, s(90));
    honest(&sengu, &mut fleet, &over);
}

#[test]
fn kill_9_of_sengu_early_in_a_run_loses_nothing_and_repeats_nothing() {
    let moment = Dice::new().below(300);
    println!("killed after {moment} ms");
    killed_at(&[moment]);
}

#[test]
fn kill_9_of_sengu_again_and_again_in_a_run_loses_nothing_and_repeats_nothing() {
    let mut dice = Dice::new();
    let moments: Vec<u64> = (0..3).map(|_| 200 + dice.below(1_500)).collect();
    println!("killed after {moments:?} ms");
    killed_at(&moments);
}

#[test]
fn kill_9_of_workers_in_a_run_loses_nothing_and_repeats_nothing() {
    let mut dice = Dice::new();
    let mut fleet = devices();
    let sengu = Instance::start();
    fleet.apply(&sengu);
    let runs = begin(&sengu);
    let mut killed = 0;
    for kind in ["redfish", "ssh", "snmp", "redfish", "ssh"] {
        std::thread::sleep(Duration::from_millis(100 + dice.below(500)));
        let workers: Vec<Process> = sengu.workers(kind);
        killed += workers.len();
        workers.iter().for_each(Process::kill);
    }
    assert!(killed > 0, "no worker was there to be killed");
    println!("{killed} workers killed");
    let over = finish(&sengu, runs, s(90));
    honest(&sengu, &mut fleet, &over);
}

#[test]
fn what_was_acknowledged_before_a_kill_9_is_there_after_it_and_whole() {
    const TARGETS: u32 = 30;
    let mut dice = Dice::new();
    let mut sengu = Instance::start();
    sengu.api.yaml(&fleet::echo(TARGETS)).expect(200);
    sengu.api.yaml(&secrets(0)).expect(200);
    let mut kept: u64 = 0;
    for round in 0..3 {
        let after = Duration::from_millis(150 + dice.below(600));
        println!("round {round}: killed after {after:?}");
        let api = sengu.api.clone();
        let json = [("content-type", "application/json")];
        let yaml = [("content-type", "application/yaml")];
        let (runs, records) = std::thread::scope(|scope| {
            // Both go on until there is nobody to ask.
            let runs = scope.spawn(|| {
                let spec = json!({"action": "once", "selector": "kind=echo", "batch": "50%"});
                let spec = spec.to_string();
                let mut names: Vec<String> = Vec::new();
                while let Ok(reply) = api.try_call("POST", "/v1/runs", &json, spec.as_bytes()) {
                    let made = reply.expect(202);
                    names.push(made["metadata"]["name"].as_str().unwrap().to_owned());
                }
                names
            });
            let records = scope.spawn(|| {
                let mut last = kept;
                while let Ok(reply) =
                    api.try_call("POST", "/v1/apply", &yaml, secrets(last + 1).as_bytes())
                {
                    reply.expect(200);
                    last += 1;
                }
                last
            });
            std::thread::sleep(after);
            sengu.kill();
            (runs.join().unwrap(), records.join().unwrap())
        });
        sengu.up();
        // A set is there as a whole: the last acknowledged one, or the one after it.
        let rounds: Vec<String> = (0..20)
            .map(|n| sengu.api.get(&format!("/v1/records/Secret/s{n}")))
            .map(|r| {
                r["metadata"]["labels"]["round"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert!(rounds.iter().all(|r| *r == rounds[0]), "{rounds:?}");
        kept = rounds[0].parse().unwrap();
        let whole = [records, records + 1].contains(&kept);
        assert!(whole, "{kept}, acknowledged {records}");
        // So is a run, also one whose acknowledgement was on its way.
        let all = sengu.pages("/v1/records/Run?limit=100");
        for name in &runs {
            assert!(
                all.iter().any(|r| r["metadata"]["name"] == json!(name)),
                "{name} is lost"
            );
        }
        println!("{} runs acknowledged, {} there", runs.len(), all.len());
        for run in &all {
            let name = run["metadata"]["name"].as_str().unwrap();
            let over = sengu.over(name, s(40));
            let counts = &over["status"]["counts"];
            let count = |what: &str| counts[what].as_u64().unwrap();
            assert_eq!(
                count("done") + count("unknown"),
                u64::from(TARGETS),
                "{over}"
            );
        }
        assert_eq!(sengu.api.get("/v1/version")["store"]["tasksOpen"], 0);
    }
}

/// Twenty records that name the round they were written in.
fn secrets(round: u64) -> String {
    let one = |n| {
        format!(
            "apiVersion: sengu/v1\nkind: Secret\n\
             metadata: {{name: s{n}, labels: {{round: \"{round}\"}}}}\nspec: {{data: {{k: v}}}}\n---\n"
        )
    };
    (0..20).map(one).collect()
}
