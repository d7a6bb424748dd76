//! Releases as their users meet them: what is pushed, which version does what, and what a bad one can do.

#![allow(clippy::unwrap_used)] // a test may

mod support;

use sengu_logic::releases::{Promote, Rollback};
use sengu_model::problem::Code;
use sengu_model::quantity::{Duration as Long, Share};
use sengu_model::release::Guard;
use sengu_model::{FailureCode, Outcome, TaskId};
use serde_json::{Value, json};
use std::sync::Arc;
use support::fleet::{Answer, Came, Fleet, image, push, release_when};
use support::{Bench, done};

/// Targets of even number have firmware 1.9, the others 2.1.
fn firmware(came: &Came) -> &'static str {
    let number: usize = came.target[1..].parse().unwrap();
    if number.is_multiple_of(2) {
        "1.9"
    } else {
        "2.1"
    }
}

fn facts(came: &Came) -> Value {
    json!({"vendor": "Contoso", "model": "M1", "firmware": firmware(came)})
}

fn all_well() -> Arc<Answer> {
    Arc::new(|came| (done(), facts(came)))
}

/// 1.1.0 fails where `bad` says so.
fn bad_where(bad: fn(&Came) -> bool) -> Arc<Answer> {
    Arc::new(move |came| {
        let fails = came.version == "1.1.0" && bad(came);
        let refused = Outcome::failed(FailureCode::BadReply, "no Chassis");
        (if fails { refused } else { done() }, facts(came))
    })
}

fn promote(version: &str) -> Promote {
    Promote {
        version: version.to_owned(),
        guard: Some(Guard {
            hold: Long { ms: 100 },
            ..Guard::default()
        }),
        ..Promote::default()
    }
}

async fn observe_all(bench: &Bench, targets: usize) -> Vec<TaskId> {
    let names: Vec<String> = (0..targets).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.create("observe", &names).await
}

async fn all_ended(bench: &Bench, tasks: &[TaskId]) -> Vec<String> {
    let mut words = Vec::new();
    for task in tasks {
        words.push(bench.ended(*task).await);
    }
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_pushed_once_and_never_changes() {
    let bench = Bench::new(64, 1).await;
    let first = push(&bench, image("1.1.0", "a")).await.unwrap();
    assert!(first.created && !first.first);
    assert_eq!(first.name, "toy@1.1.0");
    assert!(!push(&bench, image("1.1.0", "a")).await.unwrap().created);
    let other = push(&bench, image("1.1.0", "b")).await.unwrap_err();
    assert_eq!(other.code, Code::VersionExists);
    let (tar, _) = image("1.2.0", "a");
    let lied = push(&bench, (tar, format!("sha256:{}", "0".repeat(64)))).await;
    assert_eq!(lied.unwrap_err().code, Code::DigestMismatch);
    let junk = bytes::Bytes::from_static(b"no tar");
    let digest = "sha256:d2f5bc73ae1a9dea4b7a8f1b0ed3f1c02f2f4d5f5a3f0f3ec65a0d5e2d8d0d7b";
    let junk = push(&bench, (junk, digest.to_owned())).await.unwrap_err();
    assert_eq!(junk.code, Code::DigestMismatch);
    let worker = bench.logic.record("Worker", "toy@1.1.0").unwrap();
    assert_eq!(worker.status["origin"], "pushed");
    // What was known before is what runs until somebody promotes.
    let release = bench.logic.record("Release", "toy").unwrap();
    assert_eq!(release.spec["version"], "1.0.0");

    // It is still there after a restart, and can be deleted as long as nothing names it.
    let bench = bench.restart().await;
    assert!(bench.logic.record("Worker", "toy@1.1.0").is_some());
    bench.logic.promote("toy", promote("1.1.0")).await.unwrap();
    let used = bench.logic.delete("Worker", "toy@1.1.0", None).await;
    assert_eq!(used.unwrap_err().code, Code::InUse);
    bench
        .logic
        .rollback("toy", Rollback::default())
        .await
        .unwrap();
    bench
        .logic
        .delete("Worker", "toy@1.1.0", None)
        .await
        .unwrap();
    assert!(bench.logic.record("Worker", "toy@1.1.0").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_kind_needs_no_restart() {
    let bench = Bench::new(64, 1).await;
    let manifest = b"name = \"lamp\"\nversion = \"1.0.0\"\nprotocol = 1\ncommand = [\"x\"]\nslots = 1\n[[action]]\nname = \"observe\"\neffect = \"read\"\n";
    let mut packer = sengu_model::image::Packer::new(Vec::new());
    packer
        .file("worker.toml", false, manifest.len() as u64, &manifest[..])
        .unwrap();
    let (tar, _, digest) = packer.finish().unwrap();
    let pushed = push(&bench, (tar.into(), digest)).await.unwrap();
    assert!(pushed.first);
    bench.apply(&support::target("l1", "default", "lamp")).await;
    let task = bench.create("observe", &["l1"]).await[0];
    let why = bench.logic.why_task(task).await.unwrap();
    assert!(why.sentence.contains("lamp@1.0.0"), "{}", why.sentence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_the_targets_gets_it_and_always_the_same_ones() {
    let bench = Bench::new(64, 200).await;
    let fleet = Fleet::serve(&bench, &["1.0.0", "1.1.0"], 0, all_well()).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    let wanted = Promote {
        share: Some(Share::Percent(30.0)),
        unguarded: true,
        ..promote("1.1.0")
    };
    bench.logic.promote("toy", wanted).await.unwrap();
    for _ in 0..3 {
        all_ended(&bench, &observe_all(&bench, 200).await).await;
    }
    let met = fleet.targets_of("1.1.0");
    assert!((35..=85).contains(&met), "{met} of 200 targets at 30 %");
    assert_eq!(fleet.targets_of("1.0.0") + met, 200, "no target met both");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_takes_the_bad_cell_back_and_the_rest_goes_on() {
    let bench = Bench::new(64, 200).await;
    let answer = bad_where(|came| firmware(came) == "1.9");
    let fleet = Fleet::serve(&bench, &["1.0.0", "1.1.0"], 0, answer).await;
    // The facts must be known before cells can be told apart.
    all_ended(&bench, &observe_all(&bench, 200).await).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    bench.logic.promote("toy", promote("1.1.0")).await.unwrap();
    for _ in 0..4 {
        all_ended(&bench, &observe_all(&bench, 200).await).await;
    }
    let (spec, status) =
        release_when(&bench, |_, status| status["rules"][0]["phase"] == "Settled").await;
    assert_eq!(spec["rules"][0]["version"], "1.1.0");
    let held = status["held"].as_array().unwrap();
    assert_eq!(held.len(), 1, "{status}");
    assert_eq!(held[0]["cell"]["firmware"], "1.9");
    assert!(
        held[0]["why"].as_str().unwrap().contains("tasks failed"),
        "{status}"
    );
    let bad = {
        let came = fleet.came.lock();
        came.iter()
            .filter(|c| c.version == "1.1.0" && firmware(c) == "1.9")
            .count()
    };
    assert!(bad <= 30, "{bad} tasks met the bad version");
    // What was taken back stays with the old version, the others have the new one.
    let before = fleet.came.lock().len();
    let words = all_ended(&bench, &observe_all(&bench, 200).await).await;
    assert!(words.iter().all(|w| w == "done"), "{words:?}");
    for came in &fleet.came.lock()[before..] {
        let expected = if firmware(came) == "1.9" {
            "1.0.0"
        } else {
            "1.1.0"
        };
        assert_eq!(came.version, expected, "{came:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_all_its_tasks_reaches_one_target_in_a_hundred_at_most() {
    let bench = Bench::new(64, 10_000).await;
    let fleet = Fleet::serve(&bench, &["1.0.0", "1.1.0"], 1, bad_where(|_| true)).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    // Not even asked to be careful: all targets at once.
    bench.logic.promote("toy", promote("1.1.0")).await.unwrap();
    let tasks = observe_all(&bench, 10_000).await;
    let (spec, status) = release_when(&bench, |spec, _| spec.get("rules").is_none()).await;
    assert_eq!(spec["version"], "1.0.0");
    let last = status["history"].as_array().unwrap().last().unwrap();
    assert_eq!(last["what"], "rolled-back", "{status}");
    let words = all_ended(&bench, &tasks).await;
    let met = fleet.targets_of("1.1.0");
    assert!(met <= 100, "{met} of 10,000 targets met it");
    assert_eq!(words.iter().filter(|w| *w == "done").count(), 10_000 - met);
}

/// What wakes who looks must come when the Release is in force, not when its record is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_is_looked_at_though_nothing_else_happens() {
    let bench = Bench::new(64, 0).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    bench.logic.promote("toy", promote("1.1.0")).await.unwrap();
    let waits = |status: &Value| {
        let waits = status["rules"][0]["waitsFor"].as_str();
        waits.is_some_and(|waits| !waits.is_empty())
    };
    release_when(&bench, |_, status| waits(status)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_follow_by_themselves_and_the_last_one_settles() {
    let bench = Bench::new(64, 300).await;
    let _fleet = Fleet::serve(&bench, &["1.0.0", "1.1.0"], 0, all_well()).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    let wanted = Promote {
        share: Some(Share::Percent(10.0)),
        steps: vec![Share::Percent(50.0), Share::Percent(100.0)],
        guard: Some(Guard {
            window: 10,
            hold: Long { ms: 100 },
            ..Guard::default()
        }),
        ..promote("1.1.0")
    };
    bench.logic.promote("toy", wanted).await.unwrap();
    for _ in 0..40 {
        all_ended(&bench, &observe_all(&bench, 300).await).await;
        if bench.logic.record("Release", "toy").unwrap().spec["version"] == "1.1.0" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let (_, status) = release_when(&bench, |spec, _| spec["version"] == "1.1.0").await;
    let words: Vec<&str> = status["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["what"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["promoted", "stepped", "stepped", "settled"]);
    // And at once back.
    bench
        .logic
        .rollback("toy", Rollback::default())
        .await
        .unwrap();
    assert_eq!(
        bench.logic.record("Release", "toy").unwrap().spec["version"],
        "1.0.0"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_promotions_at_once_one_wins_and_the_other_is_told() {
    let bench = Bench::new(64, 1).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    push(&bench, image("1.2.0", "a")).await.unwrap();
    let revision = bench
        .logic
        .record("Release", "toy")
        .unwrap()
        .metadata
        .revision;
    let both = ["1.1.0", "1.2.0"].map(|version| Promote {
        revision,
        ..promote(version)
    });
    let [first, second] = both;
    let (first, second) = tokio::join!(
        bench.logic.promote("toy", first),
        bench.logic.promote("toy", second)
    );
    let codes: Vec<Code> = [first, second]
        .into_iter()
        .filter_map(Result::err)
        .map(|p| p.code)
        .collect();
    assert_eq!(codes, [Code::Conflict]);
    // Without a revision it is told what is on its way.
    let third = bench.logic.promote("toy", promote("1.2.0")).await;
    let fourth = bench.logic.promote("toy", promote("1.1.0")).await;
    let codes: Vec<Code> = [third, fourth]
        .into_iter()
        .filter_map(Result::err)
        .map(|p| p.code)
        .collect();
    assert_eq!(codes, [Code::RolloutInProgress]);
    let unknown = bench
        .logic
        .promote("toy", promote("9.9.9"))
        .await
        .unwrap_err();
    assert!(matches!(
        unknown.code,
        Code::UnknownVersion | Code::RolloutInProgress
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_is_honoured_or_refused() {
    let bench = Bench::new(64, 4).await;
    let fleet = Fleet::serve(&bench, &["1.0.0", "1.1.0"], 0, all_well()).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    let task = bench
        .create_with(json!({"action": "observe", "targets": ["t0"], "version": "1.1.0"}))
        .await[0];
    assert_eq!(bench.ended(task).await, "done");
    assert_eq!(fleet.came.lock()[0].version, "1.1.0");
    let explained = bench.logic.task(task).await.unwrap().ending.unwrap();
    assert_eq!(explained.chosen.unwrap(), "the task is pinned to 1.1.0");
    let request = json!({"action": "observe", "targets": ["t0"], "version": "7.0.0"});
    let request = serde_json::from_value(request).unwrap();
    let refused = bench.logic.create_tasks(request).await.unwrap_err();
    assert_eq!(refused.code, Code::UnknownVersion);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_ready_nowhere_gets_no_task_and_is_taken_back_when_it_does_not_come_up() {
    let bench = Bench::new(64, 20).await;
    let fleet = Fleet::serve(&bench, &["1.0.0"], 0, all_well()).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    bench.logic.promote("toy", promote("1.1.0")).await.unwrap();
    all_ended(&bench, &observe_all(&bench, 20).await).await;
    assert_eq!(fleet.targets_of("1.0.0"), 20);
    let pool = |version: &str, broken: Option<&str>| {
        json!({"kind": "toy", "version": version, "digest": "", "slots_max": 64, "slots_busy": 0, "instances": 0,
            "restarts": 5, "ended": 0, "failed": 0, "complaints": [], "broken": broken})
    };
    let pools = [
        pool("1.0.0", None),
        pool("1.1.0", Some("5 crashes in a row")),
    ];
    bench.announce_pools("default", &pools).await;
    let (spec, status) = release_when(&bench, |spec, _| spec.get("rules").is_none()).await;
    assert_eq!(spec["version"], "1.0.0");
    let last = status["history"].as_array().unwrap().last().unwrap();
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .contains("5 crashes in a row"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_flips_under_load_lose_nothing_and_repeat_nothing() {
    let bench = Bench::new(64, 50).await;
    let fleet = Fleet::serve(&bench, &["1.0.0", "1.1.0"], 0, all_well()).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    let mut tasks = Vec::new();
    for flip in 0..200 {
        let version = if flip % 2 == 0 { "1.1.0" } else { "1.0.0" };
        let wanted = Promote {
            unguarded: true,
            replace: true,
            ..promote(version)
        };
        bench.logic.promote("toy", wanted).await.unwrap();
        let target = format!("t{}", flip % 50);
        tasks.extend(bench.create("fire", &[&target]).await);
        tasks.extend(bench.create("observe", &[&target]).await);
    }
    let words = all_ended(&bench, &tasks).await;
    assert!(words.iter().all(|w| w == "done"), "{words:?}");
    let times = fleet.times();
    assert!(tasks.iter().all(|task| times[task] == 1), "each came once");
    assert!(fleet.targets_of("1.0.0") > 0 && fleet.targets_of("1.1.0") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_compares_reads_and_changes_nothing() {
    let bench = Bench::new(64, 20).await;
    let answer: Arc<Answer> = Arc::new(|came| {
        let power = if came.version == "1.1.0" && firmware(came) == "1.9" {
            "Off"
        } else {
            "On"
        };
        let mut facts = facts(came);
        facts["power"] = json!(power);
        (done(), facts)
    });
    let fleet = Fleet::serve(&bench, &["1.0.0", "1.1.0"], 0, answer).await;
    all_ended(&bench, &observe_all(&bench, 20).await).await;
    push(&bench, image("1.1.0", "a")).await.unwrap();
    let wanted = Promote {
        shadow: true,
        ..promote("1.1.0")
    };
    bench.logic.promote("toy", wanted).await.unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    for name in &names {
        let read = bench.create("observe", &[name]).await;
        let write = bench.create("set", &[name]).await;
        all_ended(&bench, &[read[0], write[0]]).await;
    }
    let (_, status) = release_when(&bench, |_, status| {
        status["rules"][0]["shadow"]["compared"].as_u64() >= Some(20)
    })
    .await;
    let shadow = &status["rules"][0]["shadow"];
    assert_eq!(shadow["same"], 10, "{shadow}");
    assert_eq!(
        shadow["differences"].as_array().unwrap().len(),
        1,
        "{shadow}"
    );
    assert_eq!(shadow["differences"][0]["field"], "fact.power");
    assert_eq!(shadow["differences"][0]["count"], 10);
    let came = fleet.came.lock();
    assert!(
        came.iter()
            .all(|c| c.version == "1.0.0" || c.action == "observe"),
        "it only reads"
    );
    drop(came);
    let t0 = bench.logic.record("Target", "t0").unwrap();
    assert_eq!(
        t0.status["facts"]["power"], "On",
        "what a shadow reads is told nobody else"
    );
}
