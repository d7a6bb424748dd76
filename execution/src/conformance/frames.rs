//! The suite for runtimes that read and write the frames themselves, so that no worker of theirs can be a mirror of raw
//! lines. A driver's test calls `run` with the image of a *speaker*: a worker with these actions.
//!
//! | action | what the speaker does |
//! |---|---|
//! | `mirror` | is done, with its params as the result |
//! | `spin` | computes and never ends, whatever it is told |
//! | anything else | refuses |

use super::within;
use crate::frames::{Lines, Piece};
use crate::runtime::{Attached, Exit, Handle, Image, Runtime};
use sengu_model::wire::worker::PROTOCOL;
use sengu_model::{TaskId, limits};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MANY_TASKS: u64 = 2_000;
const MANY_INSTANCES: usize = 16;

/// What a driver's test brings along.
pub struct Speaker {
    /// With at least two slots.
    pub image: Image,
    /// Instances go on when sengu ends, and are found by its next life.
    pub outlives: bool,
}

/// `open(life)` opens the runtime over the same state each time, as life number `life` of sengu.
///
/// # Panics
/// When the runtime breaks the contract; the message says which part.
pub async fn run<F, Fut>(open: F, speaker: Speaker)
where
    F: Fn(u32) -> Fut,
    Fut: Future<Output = Arc<dyn Runtime>>,
{
    let runtime = open(1).await;
    assert!(!runtime.name().is_empty());
    assert!(!runtime.isolation().is_empty(), "it says what it enforces");
    assert!(runtime.fits(&speaker.image));
    for _ in 0..2 {
        let prepared = runtime.prepare(speaker.image.clone()).await;
        prepared.expect("prepare, and prepare again");
    }
    an_image_that_cannot_run_is_refused(&*runtime, &speaker).await;
    tasks_are_answered_once_and_with_their_fence(&*runtime, &speaker).await;
    the_greatest_task_passes(&*runtime, &speaker).await;
    one_that_spins_holds_up_nobody_and_is_ended_in_time(&*runtime, &speaker).await;
    one_that_spins_is_ended_by_a_cancel(&*runtime, &speaker).await;
    a_drain_ends_it(&*runtime, &speaker).await;
    the_end_of_input_ends_it(&*runtime, &speaker).await;
    stop_ends_one_that_spins(&*runtime, &speaker).await;
    an_unknown_handle_is_no_instance(&*runtime).await;
    many_run_at_once(&runtime, &speaker).await;
    the_next_life_finds_what_there_is(open, runtime, &speaker).await;
}

/// A started and greeted instance.
struct Live {
    handle: Handle,
    attached: Attached,
    lines: Lines,
    heard: VecDeque<Value>,
}

impl Live {
    async fn start(runtime: &dyn Runtime, speaker: &Speaker) -> Live {
        let image = speaker.image.clone();
        let label = format!("{}@{}/1", image.kind, image.version);
        let handle = runtime.start(image, label).await.expect("start");
        let attached = runtime.attach(handle.clone()).await.expect("attach");
        let again = runtime.attach(handle.clone()).await;
        assert!(again.is_err(), "its streams are given once");
        let mut live = Live {
            handle,
            attached,
            lines: Lines::default(),
            heard: VecDeque::new(),
        };
        let hello = live.line().await.expect("a first line");
        let want = json!({
            "type": "hello", "protocol": PROTOCOL, "worker": speaker.image.kind,
            "version": speaker.image.version, "slots": speaker.image.slots,
        });
        assert_eq!(hello, want, "the first line is the hello");
        live
    }

    async fn say(&mut self, frame: &Value) {
        let bytes = format!("{frame}\n");
        let written = self.attached.stdin.write_all(bytes.as_bytes());
        within("a write", written).await.expect("write");
    }

    /// The next frame but beats and logs. None at the end.
    async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.heard.pop_front() {
                if line["type"] != "beat" && line["type"] != "log" {
                    return Some(line);
                }
                continue;
            }
            let read = self.attached.stdout.read_buf(&mut self.lines.buffer);
            let read = within("a line", read).await.expect("read");
            let heard = &mut self.heard;
            let take = |piece: Piece| match piece {
                Piece::Line(line) => {
                    heard.push_back(serde_json::from_slice(line).expect("a frame"));
                }
                Piece::TooLong => panic!("a line over the limit"),
            };
            match read {
                0 if self.lines.buffer.is_empty() => return None,
                0 => self.lines.finish(take),
                _ => self.lines.cut(take),
            }
        }
    }

    async fn exit(&mut self) -> Exit {
        within("the exit", &mut self.attached.exit).await
    }
}

fn task(n: u64, action: &str, params: Value) -> Value {
    json!({
        "type": "task", "id": TaskId(n), "fence": format!("{n}.1"), "action": action,
        "params": params, "target": {"name": "one", "address": "one.invalid"},
        "timeout_ms": 60_000,
    })
}

/// What a mirrored task must be answered.
fn done(n: u64, params: &Value) -> Value {
    json!({
        "type": "outcome", "id": TaskId(n), "fence": format!("{n}.1"),
        "outcome": {"status": "done", "changed": false, "result": params},
    })
}

async fn an_image_that_cannot_run_is_refused(runtime: &dyn Runtime, speaker: &Speaker) {
    let mut image = speaker.image.clone();
    image.folder = image.folder.join("no-such-folder");
    image.digest = "sha256:none".to_owned();
    let refused = match runtime.prepare(image.clone()).await {
        Err(_) => true,
        Ok(()) => runtime
            .start(image, "none@1.0.0/1".to_owned())
            .await
            .is_err(),
    };
    assert!(refused, "refused before an instance seems to run");
    let mut image = speaker.image.clone();
    image.runtimes.clear();
    assert!(!runtime.fits(&image), "only what declares it fits");
}

async fn tasks_are_answered_once_and_with_their_fence(runtime: &dyn Runtime, speaker: &Speaker) {
    let mut live = Live::start(runtime, speaker).await;
    // No more at once than it has slots for.
    let at_once = u64::from(speaker.image.slots).min(64);
    let mut n = 0;
    while n < MANY_TASKS {
        let batch: Vec<u64> = (n + 1..=n + at_once).collect();
        n += at_once;
        let params = |n: u64| json!({"n": n, "text": "ü\n\"{}"});
        for n in &batch {
            live.say(&task(*n, "mirror", params(*n))).await;
        }
        let mut answers: Vec<Value> = Vec::new();
        for _ in &batch {
            answers.push(live.line().await.expect("an answer"));
        }
        answers.sort_by_key(|answer| answer["outcome"]["result"]["n"].as_u64());
        let want: Vec<Value> = batch.iter().map(|n| done(*n, &params(*n))).collect();
        assert_eq!(answers, want);
    }
    live.say(&task(n + 1, "no-such-action", json!({}))).await;
    let refused = live.line().await.expect("an answer");
    assert_eq!(refused["outcome"]["code"], "refused", "{refused}");
    runtime.stop(live.handle.clone()).await.expect("stop");
}

async fn the_greatest_task_passes(runtime: &dyn Runtime, speaker: &Speaker) {
    let mut live = Live::start(runtime, speaker).await;
    let params = json!("x".repeat(limits::TASK_PARAMS_BYTES_MAX - 2));
    live.say(&task(1, "mirror", params.clone())).await;
    let answer = live.line().await.expect("an answer");
    assert!(answer == done(1, &params), "whole and unchanged");
    runtime.stop(live.handle.clone()).await.expect("stop");
}

async fn one_that_spins_holds_up_nobody_and_is_ended_in_time(
    runtime: &dyn Runtime,
    speaker: &Speaker,
) {
    let mut live = Live::start(runtime, speaker).await;
    let mut spin = task(1, "spin", json!({}));
    spin["timeout_ms"] = json!(1_500);
    live.say(&spin).await;
    live.say(&task(2, "mirror", json!(2))).await;
    assert_eq!(live.line().await, Some(done(2, &json!(2))));
    let ended = live.line().await.expect("an answer of the one that spins");
    assert_eq!(ended["id"], json!(TaskId(1)));
    assert_eq!(ended["outcome"]["code"], "timeout", "{ended}");
    live.say(&task(3, "mirror", json!(3))).await;
    assert_eq!(live.line().await, Some(done(3, &json!(3))), "it lives on");
    runtime.stop(live.handle.clone()).await.expect("stop");
}

async fn one_that_spins_is_ended_by_a_cancel(runtime: &dyn Runtime, speaker: &Speaker) {
    let mut live = Live::start(runtime, speaker).await;
    live.say(&task(1, "spin", json!({}))).await;
    live.say(&json!({"type": "cancel", "id": TaskId(1)})).await;
    let ended = live.line().await.expect("an answer");
    assert_eq!(ended["outcome"]["status"], "cancelled", "{ended}");
    runtime.stop(live.handle.clone()).await.expect("stop");
}

async fn a_drain_ends_it(runtime: &dyn Runtime, speaker: &Speaker) {
    let mut live = Live::start(runtime, speaker).await;
    live.say(&task(1, "mirror", json!(1))).await;
    live.say(&json!({"type": "drain"})).await;
    assert_eq!(live.line().await, Some(done(1, &json!(1))));
    assert_eq!(live.line().await, None);
    let exit = live.exit().await;
    assert!(exit.clean && exit.left_behind == 0, "{exit:?}");
    let stopped = runtime.stop(live.handle.clone()).await;
    stopped.expect("to stop what is gone is well");
}

async fn the_end_of_input_ends_it(runtime: &dyn Runtime, speaker: &Speaker) {
    let mut live = Live::start(runtime, speaker).await;
    live.attached.stdin = Box::pin(tokio::io::sink());
    assert_eq!(live.line().await, None);
    let exit = live.exit().await;
    assert!(exit.clean, "{exit:?}");
}

async fn stop_ends_one_that_spins(runtime: &dyn Runtime, speaker: &Speaker) {
    let mut live = Live::start(runtime, speaker).await;
    live.say(&task(1, "spin", json!({}))).await;
    live.say(&task(2, "mirror", json!(2))).await;
    assert_eq!(live.line().await, Some(done(2, &json!(2))));
    let stopped = within("stop", runtime.stop(live.handle.clone()));
    stopped.await.expect("stop");
    assert_eq!(live.line().await, None);
    let exit = live.exit().await;
    assert!(!exit.clean, "{exit:?}");
}

async fn an_unknown_handle_is_no_instance(runtime: &dyn Runtime) {
    let nobody = Handle("nobody".to_owned());
    assert!(runtime.attach(nobody.clone()).await.is_err());
    runtime.stop(nobody).await.expect("done already");
}

async fn many_run_at_once(runtime: &Arc<dyn Runtime>, speaker: &Speaker) {
    let one = |n: usize| async move {
        let mut live = Live::start(&**runtime, speaker).await;
        let own = json!(format!("I am {n}"));
        live.say(&task(7, "mirror", own.clone())).await;
        assert_eq!(
            live.line().await,
            Some(done(7, &own)),
            "streams are not mixed up"
        );
        live
    };
    let all = futures::future::join_all((0..MANY_INSTANCES).map(one)).await;
    let mut handles: Vec<&Handle> = all.iter().map(|live| &live.handle).collect();
    handles.sort();
    handles.dedup();
    assert_eq!(handles.len(), MANY_INSTANCES, "each has a name of its own");
    let stops = all.iter().map(|live| runtime.stop(live.handle.clone()));
    for stopped in within("all stops", futures::future::join_all(stops)).await {
        stopped.expect("stop");
    }
}

async fn the_next_life_finds_what_there_is<F, Fut>(
    open: F,
    first: Arc<dyn Runtime>,
    speaker: &Speaker,
) where
    F: Fn(u32) -> Fut,
    Fut: Future<Output = Arc<dyn Runtime>>,
{
    let mut live = Live::start(&*first, speaker).await;
    let own = first.list().await.expect("list");
    assert_eq!(own, [], "its own are no left-overs");
    let second = open(2).await;
    let found = second.list().await.expect("list");
    if speaker.outlives {
        assert_eq!(found, [live.handle.clone()]);
        let stopped = second.stop(live.handle.clone()).await;
        stopped.expect("stop what an earlier life left behind");
    } else {
        assert_eq!(found, [], "nothing outlives its sengu");
        drop(first);
        // Wherever it ran, it is told so: by its end.
        let end = tokio::time::timeout(Duration::from_secs(30), &mut live.attached.exit);
        assert!(!end.await.expect("its end").clean);
    }
}
