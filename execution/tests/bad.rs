//! Workers that behave badly: each is contained, and what it did is named.

mod common;

use common::{House, Said, bad, echo, sealed};
use sengu_model::wire::envelope::Event;
use sengu_model::{Effect, FailureCode, Outcome};
use std::time::Duration;

async fn house_with(name: &str) -> House {
    let house = House::new().await;
    let (manifest, folder) = bad(name);
    house.offer(&manifest, &folder, "sha256:bad").await;
    house
}

/// Runs one task `go` of the bad worker.
async fn go(house: &mut House, name: &str, action: &str) -> Said {
    let ask = house.ask(name, action, Effect::Once);
    house.run(&ask).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logs_is_cut_with_a_mark() {
    let mut house = house_with("flood-logs").await;
    let ask = house.ask("flood-logs", "go", Effect::Once);
    let ended = house.run(&ask).await;
    assert_eq!(ended.event, Event::Ended);
    let logs = house.logs(ask.task);
    let bytes: usize = logs.iter().map(|line| line.message.len()).sum();
    assert!(bytes <= (1 << 20) + 100, "{bytes}");
    assert!(logs.last().unwrap().message.contains("dropped"));
    house.complaint("flood-logs", "a flood of log lines").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_slows_its_maker_and_nobody_else() {
    let mut house = house_with("flood-noise").await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:echo").await;
    let noise = house.ask("flood-noise", "go", Effect::Once);
    house.send(&noise).await;
    house
        .complaint("flood-noise", "invalid line on stdout")
        .await;
    for _ in 0..20 {
        let noop = house.ask("echo", "noop", Effect::Idempotent);
        assert_eq!(house.run(&noop).await.event, Event::Ended);
    }
    // 48 MB at 4 MiB/s: it is still at it.
    assert!(
        !house
            .said
            .iter()
            .any(|s| s.task == noise.task && s.event == Event::Ended)
    );
    assert_eq!(house.end(&noise).await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_signs_of_life_is_not_passed_on() {
    let mut house = house_with("flood-signs").await;
    let ask = house.ask("flood-signs", "go", Effect::Once);
    house.send(&ask).await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:echo").await;
    for _ in 0..20 {
        let noop = house.ask("echo", "noop", Effect::Idempotent);
        assert_eq!(house.run(&noop).await.event, Event::Ended);
    }
    assert_eq!(house.end(&ask).await.event, Event::Ended);
    let task = ask.task;
    let of = |event| {
        house
            .said
            .iter()
            .filter(move |s| s.task == task && s.event == event)
    };
    // Ten per second at most, and the first checkpoints, while 60,000 came in.
    assert!(
        of(Event::Progress).count() < 600,
        "{}",
        of(Event::Progress).count()
    );
    assert!(
        of(Event::Checkpoint).count() < 600 + 64,
        "{}",
        of(Event::Checkpoint).count()
    );
    let last = of(Event::Checkpoint).next_back().unwrap().data.clone();
    assert_eq!(
        last,
        Some(serde_json::json!({"n": 59_999})),
        "the newest is not lost"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_no_frames_are_named_and_skipped() {
    for (name, complaint) in [
        ("garbage", "invalid line on stdout"),
        ("garbage", "unknown frame type: dance"),
        ("long-line", "too long a line"),
        ("foreign", "spoke of a task that is not in its hands"),
        ("foreign", "an outcome with a wrong fence"),
    ] {
        let mut house = house_with(name).await;
        assert_eq!(
            go(&mut house, name, "go").await.event,
            Event::Ended,
            "{name}"
        );
        house.complaint(name, complaint).await;
        house.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_cannot_be_read_is_no_success() {
    let mut house = house_with("odd-outcome").await;
    let ended = go(&mut house, "odd-outcome", "go").await;
    assert!(
        matches!(ended.outcome, Some(Outcome::Unknown { .. })),
        "{ended:?}"
    );
    let read = house.ask("odd-outcome", "go", Effect::Read);
    let code = house.run(&read).await.outcome.and_then(|o| o.code());
    assert_eq!(code, Some(FailureCode::BadReply));
    house.complaint("odd-outcome", "splendid").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liars_are_refused_and_their_tasks_rejected() {
    for (name, why) in [
        ("liar-version", "version 9.9.9, not 1.0.0"),
        ("liar-name", "name somebody-else, not liar-name"),
        ("liar-protocol", "protocol 7, not 1"),
    ] {
        let mut house = house_with(name).await;
        let said = go(&mut house, name, "go").await;
        assert_eq!(said.event, Event::Rejected, "{said:?}");
        assert!(said.why.unwrap().contains(why));
        let broken = |p: &sengu_model::wire::envelope::PoolAnnouncement| p.broken.is_some();
        assert!(
            house
                .pool_until(name, broken)
                .await
                .broken
                .unwrap()
                .contains(why)
        );
        assert_eq!(go(&mut house, name, "go").await.event, Event::Rejected);
        // A mended image is taken up at once.
        let (mut mended, folder) = bad(name);
        mended
            .command
            .splice(3.., ["well".to_owned(), name.to_owned()]);
        house.offer(&mended, &folder, "sha256:good").await;
        house.pool_until(name, |p| p.digest == "sha256:good").await;
        assert_eq!(go(&mut house, name, "go").await.event, Event::Ended);
        house.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_dies_at_birth_breaks_its_pool_with_its_last_words() {
    let mut house = house_with("stillborn").await;
    let said = go(&mut house, "stillborn", "go").await;
    assert_eq!(said.event, Event::Rejected);
    let why = said.why.unwrap();
    assert!(
        why.contains("exit status 4") && why.contains("no licence for cheese"),
        "{why}"
    );
    let pool = house.pool_until("stillborn", |p| p.broken.is_some()).await;
    assert!(pool.restarts >= 1, "{pool:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_without_a_hello_is_killed() {
    let mut house = house_with("no-hello").await;
    let ask = house.ask("no-hello", "go", Effect::Once);
    house.send(&ask).await;
    let complaint = house.complaint("no-hello", "had to be killed").await;
    assert!(complaint.contains("no hello within 10 s"), "{complaint}");
    let said = house.end(&ask).await;
    assert_eq!(said.event, Event::Rejected);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_its_task_and_the_next_runs_on_a_new_instance() {
    let mut house = house_with("exits").await;
    let lost = go(&mut house, "exits", "die").await;
    assert_eq!(
        (lost.event, lost.instance.as_deref()),
        (Event::Lost, Some("exits@1.0.0/1"))
    );
    assert!(lost.why.unwrap().contains("exit status 3"));
    assert!(
        house
            .complaint("exits", "ended by itself")
            .await
            .contains("out of cheese")
    );
    // An outcome already written counts, whatever comes after it.
    let ended = go(&mut house, "exits", "say-and-die").await;
    assert_eq!(
        (ended.event, ended.instance.as_deref()),
        (Event::Ended, Some("exits@1.0.0/2"))
    );
    house.pool_until("exits", |p| p.restarts == 2).await;
    let ended = go(&mut house, "exits", "go").await;
    assert_eq!(
        (ended.event, ended.instance.as_deref()),
        (Event::Ended, Some("exits@1.0.0/3"))
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_loses_its_tasks_at_once() {
    let mut house = house_with("mute").await;
    let ask = house.ask("mute", "mute", Effect::Once);
    house.send(&ask).await;
    house
        .until("started", |said| {
            said.iter()
                .find(|s| s.task == ask.task && s.event == Event::Started)
                .cloned()
        })
        .await;
    let file = std::fs::read_dir(house.state.path().join("instances"))
        .unwrap()
        .next();
    let text = std::fs::read_to_string(file.unwrap().unwrap().path()).unwrap();
    let remembered: serde_json::Value = serde_json::from_str(&text).unwrap();
    let began = std::time::Instant::now();
    let mut kill = std::process::Command::new("kill");
    kill.args(["-9", &remembered["pid"].to_string()]);
    assert!(kill.status().unwrap().success());
    let lost = house.end(&ask).await;
    assert_eq!(lost.event, Event::Lost);
    assert!(lost.why.unwrap().contains("killed by signal 9"));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(go(&mut house, "mute", "go").await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_left_running_is_killed() {
    let mut house = house_with("forks").await;
    let ended = go(&mut house, "forks", "go").await;
    let Some(Outcome::Done(done)) = ended.outcome else {
        panic!("{ended:?}");
    };
    let child = done.result.unwrap();
    house.complaint("forks", "left processes behind").await;
    // Its new parent may not have taken note of its death yet.
    let cmdline = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
    assert_eq!(cmdline, b"", "{child} is dead");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_without_an_answer_is_lost_and_its_neighbours_are_spared() {
    let mut house = house_with("mute").await;
    let mut mute = house.ask("mute", "mute", Effect::Once);
    mute.timeout_ms = 200;
    house.send(&mute).await;
    for _ in 0..60 {
        assert_eq!(go(&mut house, "mute", "go").await.event, Event::Ended);
    }
    let lost = house.end(&mute).await;
    assert_eq!(
        (lost.event, lost.instance.as_deref()),
        (Event::Lost, Some("mute@1.0.0/1"))
    );
    assert!(lost.why.unwrap().contains("no answer"));
    house.complaint("mute", "gave no answer to a task").await;
    let ended = go(&mut house, "mute", "go").await;
    assert_eq!(
        ended.instance.as_deref(),
        Some("mute@1.0.0/2"),
        "a new instance takes over"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_instance_is_killed() {
    let mut house = house_with("silent").await;
    let lost = go(&mut house, "silent", "go").await;
    assert_eq!(lost.event, Event::Lost);
    assert!(lost.why.unwrap().contains("silent for 15 s"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_will_not_leave_is_killed_and_the_drain_ends() {
    let mut house = house_with("deaf-to-drain").await;
    assert_eq!(
        go(&mut house, "deaf-to-drain", "go").await.event,
        Event::Ended
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_do_not_leave() {
    let secret = "hunter\"2 \\ ü";
    let mut house = house_with("leaks").await;
    for action in ["leak", "leak-and-die"] {
        let mut ask = house.ask("leaks", action, Effect::Once);
        ask.secrets = Some(sealed(&[("password", secret), ("short", "abc")]));
        let ended = house.run(&ask).await;
        assert_eq!(ended.event, Event::Ended);
        let text = serde_json::to_string(&ended.outcome).unwrap();
        assert_eq!(text.matches("***").count(), 3, "{text}");
    }
    house.complaint("leaks", "crash with ***").await;
    let status = serde_json::to_value(&*house.status()).unwrap();
    let mut all: Vec<serde_json::Value> = vec![status];
    let reports = house
        .said
        .iter()
        .map(|s| serde_json::from_str(&s.text).unwrap());
    all.extend(reports);
    for value in all {
        assert!(!holds(&value, secret), "{value}");
    }
    let events = [
        Event::Logs,
        Event::Progress,
        Event::Checkpoint,
        Event::Ended,
    ];
    for event in events {
        assert!(
            house
                .said
                .iter()
                .any(|s| s.event == event && s.text.contains("***")),
            "{event:?}"
        );
    }
    house.close().await;
}

fn holds(value: &serde_json::Value, secret: &str) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains(secret),
        serde_json::Value::Array(items) => items.iter().any(|item| holds(item, secret)),
        serde_json::Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains(secret) || holds(value, secret)),
        _ => false,
    }
}
