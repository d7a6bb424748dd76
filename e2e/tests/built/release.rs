//! A new driver is released to a fleet that works: by share, watched, taken back by itself where it is bad. The rest of
//! the fleet must not notice.
//!
//! Who is in a share is drawn: 10 % of 40 targets are nobody once in 70 runs. First shares are large enough that this
//! happens less than once in 100,000.

use sengu_e2e::release::{by_version, history, version_of};
use sengu_e2e::{Fleet, Image, Instance, Value, fleet, json, s, until};
use std::time::{Duration, Instant};

/// The firmware that the bad version fails on: that of one vendor of the twins.
const BAD_FIRMWARE: &str = "3.14.1";
const BAD_VENDOR: &str = "Northwind";

/// A redfish worker that fails where the firmware is that one.
pub fn bad_driver(sengu: &Instance) -> Image {
    let fact = format!("firmware={BAD_FIRMWARE}");
    let image = Image::shipped(&sengu.beside(""), "redfish", "1.5.0", &["--fail", &fact]);
    sengu.push(&image);
    image
}

fn vendor(sengu: &Instance, target: &Value) -> String {
    let name = target["target"].as_str().unwrap();
    let record = sengu.api.get(&format!("/v1/records/Target/{name}"));
    let vendor = record["status"]["facts"]["vendor"].as_str();
    vendor.unwrap_or_else(|| panic!("{record}")).to_owned()
}

fn settled(release: &Value) -> bool {
    let rules = release["status"]["rules"].as_array().unwrap();
    rules.iter().all(|r| r["phase"] == "Settled")
}

#[test]
fn a_driver_that_fails_on_one_firmware_goes_back_there_by_itself_and_the_rest_gets_it() {
    let sengu = Instance::start();
    let fleet = Fleet::new().with("redfish", 60, &[]);
    fleet.apply(&sengu);
    // Facts are known before cells can be told apart.
    let first = sengu.observe_all("redfish", s(20));
    assert_eq!(by_version(&first), [("1.0.0 done".to_owned(), 60)].into());
    bad_driver(&sengu);
    let pushed = sengu.version("redfish@1.5.0").unwrap();
    assert_eq!(pushed["origin"], "pushed", "{pushed}");
    // Nothing is moved by a push.
    assert_eq!(sengu.release("redfish")["spec"]["version"], "1.0.0");

    sengu.promote("redfish@1.5.0", &["--steps", "20%,50%,100%"]);
    let mut tasks: Vec<Value> = Vec::new();
    let release = sengu.release_when(
        "redfish",
        "the good part settles",
        s(40),
        || tasks.append(&mut sengu.observe_all("redfish", s(20))),
        settled,
    );
    println!("{:?} {:?}", history(&release), by_version(&tasks));
    let held = release["status"]["held"].as_array().unwrap();
    assert!(!held.is_empty(), "{release:#}");
    for held in held {
        assert_eq!(held["cell"]["firmware"], BAD_FIRMWARE, "{held}");
        assert_eq!(held["version"], "1.5.0");
        let why = held["why"].as_str().unwrap();
        assert!(
            why.contains("tasks failed (the version in use: 0 of"),
            "{why}"
        );
    }
    let words = history(&release);
    assert_eq!(words.first().map(String::as_str), Some("promoted"));
    assert_eq!(words.last().map(String::as_str), Some("settled"));
    assert_eq!(
        words.iter().filter(|w| *w == "stepped").count(),
        2,
        "{words:?}"
    );
    assert!(words.iter().any(|w| w == "cell-rolled-back"), "{words:?}");
    // As a person sees it.
    let shown = sengu
        .cli(&["rollout", "status", "redfish"])
        .expect(0)
        .stdout;
    for word in ["1.5.0", BAD_FIRMWARE, "tasks failed"] {
        assert!(shown.contains(word), "{word}:\n{shown}");
    }

    // Whatever failed was of that firmware and done by that version; it was few.
    let failed: Vec<&Value> = tasks
        .iter()
        .filter(|t| t["ending"]["outcome"]["status"] != "done")
        .collect();
    for task in &failed {
        assert_eq!(version_of(task), "1.5.0", "{task}");
        assert_eq!(vendor(&sengu, task), BAD_VENDOR, "{task}");
    }
    assert!((3..=20).contains(&failed.len()), "{} failed", failed.len());

    // From now on each does what it can.
    let after = sengu.observe_all("redfish", s(20));
    for task in &after {
        let expected = match vendor(&sengu, task) == BAD_VENDOR {
            true => "1.0.0",
            false => "1.5.0",
        };
        assert_eq!(task["ending"]["outcome"]["status"], "done", "{task}");
        assert_eq!(version_of(task), expected, "{task}");
    }
    provenance(&sengu, &after, &pushed);

    // And back, at once.
    let began = Instant::now();
    sengu.cli(&["rollback", "redfish"]).expect(0);
    println!("rolled back in {:?}", began.elapsed());
    let back = sengu.observe_all("redfish", s(20));
    assert_eq!(by_version(&back), [("1.0.0 done".to_owned(), 60)].into());
    sengu.reaped("redfish@1.5.0", s(15));
}

/// Who did it and why is told with the outcome, and by the command line.
fn provenance(sengu: &Instance, tasks: &[Value], pushed: &Value) {
    let task = tasks.iter().find(|t| version_of(t) == "1.5.0").unwrap();
    let ending = &task["ending"];
    assert_eq!(task["kind"], "redfish");
    assert_eq!(ending["digest"], pushed["digest"], "{ending}");
    assert_eq!(ending["wee"], "local", "{ending}");
    let instance = ending["instance"].as_str().unwrap();
    assert!(instance.starts_with("redfish@1.5.0/"), "{instance}");
    let chosen = ending["chosen"].as_str().unwrap();
    assert!(
        chosen.contains("rule to-1.5.0 of release redfish"),
        "{chosen}"
    );
    let id = task["id"].as_str().unwrap();
    let told = sengu.cli(&["explain", "task", id, "-o", "json"]).expect(0);
    let told = told.json();
    for (field, value) in [
        ("version", &json!("1.5.0")),
        ("digest", &pushed["digest"]),
        ("instance", &ending["instance"]),
        ("wee", &ending["wee"]),
        ("why", &ending["chosen"]),
    ] {
        assert_eq!(told[field], *value, "{field}: {told:#}");
    }
    let page = sengu.cli(&["explain", "task", id]).expect(0).stdout;
    assert!(page.contains(chosen) && page.contains("local"), "{page}");
}

#[test]
fn kill_9_in_the_middle_of_a_rollout_and_it_goes_on_where_it_was() {
    let mut sengu = Instance::start();
    let fleet = Fleet::new().with("redfish", 45, &[]);
    fleet.apply(&sengu);
    sengu.observe_all("redfish", s(20));
    bad_driver(&sengu);
    sengu.promote("redfish@1.5.0", &["--steps", "20%,60%,100%"]);
    let stands = |release: &Value, wanted: &str| history(release).iter().any(|w| w == wanted);
    let before = sengu.release_when(
        "redfish",
        "a cell went back and a step was made",
        s(30),
        || {
            sengu.observe_all("redfish", s(20));
        },
        |release| stands(release, "stepped") && stands(release, "cell-rolled-back"),
    );
    // With tasks in hand.
    let run = sengu.run(&json!({"action": "observe", "selector": "kind=redfish"}));
    sengu.kill();
    sengu.up();
    let over = sengu.over(&run, s(60));
    let counts = &over["status"]["counts"];
    let count = |what: &str| counts[what].as_u64().unwrap();
    assert_eq!(count("done") + count("failed"), 45, "{over}");
    let after = sengu.release_when(
        "redfish",
        "it settles",
        s(40),
        || {
            sengu.observe_all("redfish", s(20));
        },
        settled,
    );
    // What was known is known: it began no step again, and what went back stayed there.
    let (old, new) = (history(&before), history(&after));
    println!("{old:?} then {new:?}");
    assert_eq!(new[..old.len()], old[..]);
    assert_eq!(new.iter().filter(|w| *w == "promoted").count(), 1);
    assert_eq!(new.iter().filter(|w| *w == "stepped").count(), 2);
    let held = |release: &Value| {
        let held = release["status"]["held"].as_array().unwrap().clone();
        held.iter()
            .map(|h| h["cell"].to_string())
            .collect::<Vec<_>>()
    };
    let (old, new) = (held(&before), held(&after));
    assert_eq!(new[..old.len()], old[..]);
    assert!(
        new.iter().all(|cell| cell.contains(BAD_FIRMWARE)),
        "{new:?}"
    );
}

#[test]
fn a_shadow_reads_beside_the_version_in_use_reports_differences_and_writes_nothing() {
    let sengu = Instance::start();
    let mut fleet = Fleet::new().with("redfish", 12, &[]);
    fleet.apply(&sengu);
    sengu.observe_all("redfish", s(20));
    bad_driver(&sengu);
    sengu.promote("redfish@1.5.0", &["--shadow", "--no-guard"]);
    for _ in 0..2 {
        let tasks = sengu.observe_all("redfish", s(20));
        assert_eq!(by_version(&tasks), [("1.0.0 done".to_owned(), 12)].into());
    }
    let run = sengu.run(&json!({"action": "power.cycle", "selector": "kind=redfish"}));
    assert_eq!(sengu.over(&run, s(40))["status"]["counts"]["done"], 12);
    for (name, effects) in fleet.effects() {
        assert_eq!(effects["power.cycle"], 1, "{name}: {effects:?}");
    }
    let report = until("the shadow has read", s(15), || {
        let ran = sengu.cli(&["rollout", "report", "redfish", "-o", "json"]);
        let report = ran.expect(0).json()[0]["shadow"].clone();
        (report["compared"].as_u64()? >= 12).then_some(report)
    });
    println!("{report:#}");
    let differences = report["differences"].as_array().unwrap();
    let outcome: Vec<&Value> = differences
        .iter()
        .filter(|d| d["field"] == "outcome")
        .collect();
    assert!(!outcome.is_empty(), "{report:#}");
    for difference in outcome {
        assert_eq!(difference["cell"]["firmware"], BAD_FIRMWARE);
        assert_eq!(difference["stable"], "done");
    }
    assert!(report["same"].as_u64().unwrap() > 0, "{report:#}");
    // It never was what a target got.
    let tasks = sengu.pages("/v1/tasks?limit=500");
    assert!(tasks.iter().all(|t| version_of(t) == "1.0.0"));
    let page = sengu
        .cli(&["rollout", "report", "redfish"])
        .expect(0)
        .stdout;
    assert!(
        page.contains("outcome") && page.contains(BAD_FIRMWARE),
        "{page}"
    );
}

/// Versions that never come up, or are slow, or eat memory: of each kind a stable one and a bad one.
#[test]
fn a_version_that_crashes_hangs_lies_is_slow_or_leaks_is_taken_back_and_costs_the_stable_one_nothing()
 {
    const TARGETS: u32 = 24;
    const MANNERS: [&str; 6] = ["crash", "hang", "liar", "slow", "leak", "fail"];
    let sengu = Instance::start();
    let mut documents = String::new();
    for manner in MANNERS {
        let good = Image::script(&sengu.beside(""), &format!("toy-{manner}"), "1.0.0", "good");
        let bad = Image::script(&sengu.beside(""), &good.kind, "1.1.0", manner);
        sengu.push(&good);
        sengu.push(&bad);
        documents += &fleet::echo(TARGETS)
            .replace("kind: echo", &format!("kind: {}", good.kind))
            .replace("name: echo", &format!("name: {}", good.kind));
    }
    documents += &fleet::echo(TARGETS);
    sengu.api.yaml(&documents).expect(200);
    let all = |action: &str| {
        let run = sengu.run(&json!({"action": action, "selector": "name", "timeout": "5s"}));
        sengu.over(&run, s(40));
        sengu.pages(&format!("/v1/tasks?run={run}&limit=500"))
    };
    let first = all("observe");
    assert!(
        first
            .iter()
            .all(|t| t["ending"]["outcome"]["status"] == "done")
    );
    for manner in MANNERS {
        sengu.promote(&format!("toy-{manner}@1.1.0"), &["--share", "50%"]);
    }
    let mut tasks = Vec::new();
    let release = |manner: &&str| sengu.api.get(&format!("/v1/records/Release/toy-{manner}"));
    let over = |release: &Value| history(release).last().is_some_and(|w| w == "rolled-back");
    let end = Instant::now() + s(40);
    loop {
        tasks.append(&mut all("observe"));
        let mut open: Vec<Value> = MANNERS.iter().map(release).collect();
        open.retain(|release| !over(release));
        if open.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "still on their way: {open:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let releases: Vec<Value> = MANNERS.iter().map(release).collect();
    for (manner, release) in MANNERS.iter().zip(&releases) {
        let events = release["status"]["history"].as_array().unwrap();
        let why = events.last().unwrap()["message"]
            .as_str()
            .unwrap()
            .to_owned();
        let version = sengu.version(&format!("toy-{manner}@1.1.0")).unwrap();
        println!(
            "{manner}: {why}; broken {}; {}",
            version["broken"], version["complaints"]
        );
        assert_eq!(release["spec"]["version"], "1.0.0", "{release}");
        assert!(release["spec"]["rules"].is_null(), "{release}");
        let told = format!("{why} {} {}", version["broken"], version["complaints"]);
        let words = match *manner {
            "crash" => "no such library",
            "hang" => "hello",
            "liar" => "9.9.9",
            "slow" => "9 of 10 tasks take up to",
            "leak" => "memory limit of 64 MB",
            _ => "tasks failed",
        };
        assert!(told.contains(words), "{manner}: {told}");
    }
    let mut failed = std::collections::BTreeMap::new();
    for task in &tasks {
        if task["ending"]["outcome"]["status"] != "done" {
            *failed.entry(task["kind"].as_str().unwrap()).or_insert(0) += 1;
            let bad = matches!(task["kind"].as_str(), Some("toy-fail" | "toy-leak"));
            assert!(bad && version_of(task) != "1.0.0", "{task}");
        }
    }
    println!("failed: {failed:?} of {}", tasks.len());
    assert!(failed.values().all(|n| *n <= 16), "{failed:?}");
    let after = all("observe");
    assert!(
        after.iter().all(|t| version_of(t) == "1.0.0"),
        "{:?}",
        by_version(&after)
    );
    assert!(
        after
            .iter()
            .all(|t| t["ending"]["outcome"]["status"] == "done")
    );
}

#[test]
fn what_is_in_hand_ends_on_the_version_that_began_it_and_the_pool_goes() {
    const TARGETS: u64 = 20;
    let sengu = Instance::start();
    sengu.api.yaml(&fleet::echo(20)).expect(200);
    let image = Image::shipped(&sengu.beside(""), "echo", "1.1.0", &[]);
    sengu.push(&image);
    sengu.promote("echo@1.1.0", &["--no-guard", "--share", "100%"]);
    until("all go to 1.1.0", s(10), || {
        let task = sengu.task("echo-0001", "noop", json!({}), s(10));
        (version_of(&task) == "1.1.0").then_some(())
    });
    let slow = json!({"action": "once", "params": {"sleep_ms": 2500}, "selector": "kind=echo"});
    let run = sengu.run(&slow);
    until("all are in hand", s(10), || {
        (sengu.api.get("/v1/top")["tasks"]["started"] == TARGETS).then_some(())
    });
    sengu.cli(&["rollback", "echo"]).expect(0);
    let now = sengu.task("echo-0001", "noop", json!({}), s(10));
    assert_eq!(version_of(&now), "1.0.0", "{now}");
    let over = sengu.over(&run, s(20));
    assert_eq!(over["status"]["counts"]["done"], TARGETS, "{over}");
    let tasks = sengu.pages(&format!("/v1/tasks?run={run}&limit=100"));
    assert_eq!(by_version(&tasks), [("1.1.0 done".to_owned(), 20)].into());
    sengu.reaped("echo@1.1.0", s(15));
    assert!(sengu.version("echo@1.0.0").unwrap()["instances"].as_u64() >= Some(1));
}

#[test]
fn roll_back_while_rolling_out_and_it_stays_back() {
    let sengu = Instance::start();
    sengu.api.yaml(&fleet::echo(40)).expect(200);
    sengu.push(&Image::shipped(&sengu.beside(""), "echo", "1.1.0", &[]));
    sengu.observe_all("echo", s(10));
    sengu.promote("echo@1.1.0", &["--steps", "30%,60%,100%", "--hold", "2s"]);
    sengu.release_when(
        "echo",
        "a step was made",
        s(20),
        || {
            sengu.observe_all("echo", s(10));
        },
        |release| history(release).iter().any(|w| w == "stepped"),
    );
    let run = sengu.run(&json!({"action": "noop", "selector": "kind=echo"}));
    sengu.cli(&["rollback", "echo"]).expect(0);
    assert_eq!(sengu.over(&run, s(20))["status"]["counts"]["done"], 40);
    for _ in 0..20 {
        let tasks = sengu.observe_all("echo", s(10));
        assert_eq!(by_version(&tasks), [("1.0.0 done".to_owned(), 40)].into());
    }
    let release = sengu.release("echo");
    assert_eq!(
        history(&release).last().map(String::as_str),
        Some("rolled-back")
    );
    assert!(release["spec"]["rules"].is_null(), "{release}");
}
