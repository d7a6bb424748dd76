//! The suite that every runtime must pass. A driver's test calls `run` with runtimes of its own and the image of a
//! *mirror*: a worker that says its hello and then does what each line on its stdin says.
//!
//! | line on stdin | what the mirror does |
//! |---|---|
//! | `exit N` | exits with status N at once |
//! | `err TEXT` | writes TEXT as a line to stderr |
//! | `deaf` | from now on ignores the end of its stdin |
//! | `child` | starts another process of the instance that ignores everything, and writes `child` |
//! | `folder` | writes the value of SENGU_WORKER_FOLDER |
//! | anything else | writes the line back |
//!
//! At the end of stdin it exits with status 0, unless it is deaf. Runtimes without processes leave `child` out: see
//! [`Mirror::has_children`]. Runtimes that speak frames themselves pass [`frames`] instead.

pub mod frames;

use crate::runtime::{Attached, Exit, Handle, Image, Output, Runtime};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

const LIMIT: Duration = Duration::from_secs(30);
/// The greatest line that frames may have.
const LINE_BYTES: usize = sengu_model::limits::WORKER_LINE_BYTES_MAX - 1;
const MANY_LINES: usize = 20_000;
const MANY_INSTANCES: usize = 16;

/// What a driver's test brings along.
pub struct Mirror {
    pub image: Image,
    /// The instance can start processes of its own.
    pub has_children: bool,
}

/// `open(life)` opens the runtime over the same state each time, as life number `life` of sengu.
///
/// # Panics
/// When the runtime breaks the contract; the message says which part.
pub async fn run<F, Fut>(open: F, mirror: Mirror)
where
    F: Fn(u32) -> Fut,
    Fut: Future<Output = Arc<dyn Runtime>>,
{
    let runtime = open(1).await;
    assert!(!runtime.name().is_empty());
    assert!(!runtime.isolation().is_empty(), "it says what it enforces");
    assert!(runtime.fits(&mirror.image));
    runtime
        .prepare(mirror.image.clone())
        .await
        .expect("prepare");
    runtime
        .prepare(mirror.image.clone())
        .await
        .expect("prepare again");
    an_image_without_its_program_is_refused(&*runtime, &mirror).await;
    lines_go_both_ways_in_order(&*runtime, &mirror).await;
    the_greatest_line_passes(&*runtime, &mirror).await;
    the_folder_is_told(&*runtime, &mirror).await;
    an_exit_is_noticed_with_its_reason(&*runtime, &mirror).await;
    the_end_of_input_ends_it(&*runtime, &mirror).await;
    stop_ends_what_does_not_listen(&*runtime, &mirror).await;
    if mirror.has_children {
        stop_ends_its_children_too(&*runtime, &mirror).await;
        children_do_not_outlive_it(&*runtime, &mirror).await;
    }
    many_run_at_once(&runtime, &mirror).await;
    left_overs_are_found_by_the_next_life(open, runtime, &mirror).await;
}

/// A started and greeted instance.
struct Live {
    handle: Handle,
    attached: Attached,
    stdout: BufReader<Output>,
}

impl Live {
    async fn start(runtime: &dyn Runtime, mirror: &Mirror) -> Live {
        let label = "mirror@1.0.0/1".to_owned();
        let handle = runtime
            .start(mirror.image.clone(), label)
            .await
            .expect("start");
        let mut attached = runtime.attach(handle.clone()).await.expect("attach");
        let nothing: Output = Box::pin(tokio::io::empty());
        let stdout = BufReader::new(std::mem::replace(&mut attached.stdout, nothing));
        let mut live = Live {
            handle,
            attached,
            stdout,
        };
        let hello = live.line().await;
        assert!(
            hello.contains("\"hello\""),
            "the first line is the hello: {hello}"
        );
        live
    }

    async fn say(&mut self, line: &str) {
        let bytes = format!("{line}\n");
        let written = self.attached.stdin.write_all(bytes.as_bytes());
        within("a write", written).await.expect("write");
        within("a flush", self.attached.stdin.flush())
            .await
            .expect("flush");
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        within("a line", self.stdout.read_line(&mut line))
            .await
            .expect("read");
        line.trim_end().to_owned()
    }

    /// Waits for the end; everything still unread must be followed by the end of both streams.
    async fn end(mut self) -> (Exit, String, String) {
        let exit = within("the exit", self.attached.exit).await;
        let (mut out, mut err) = (String::new(), String::new());
        within("the end of stdout", self.stdout.read_to_string(&mut out))
            .await
            .expect("read");
        let stderr = &mut self.attached.stderr;
        within("the end of stderr", stderr.read_to_string(&mut err))
            .await
            .expect("read");
        (exit, out, err)
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {LIMIT:?}"),
    }
}

async fn an_image_without_its_program_is_refused(runtime: &dyn Runtime, mirror: &Mirror) {
    let mut image = mirror.image.clone();
    image.command[0] = "no-such-program".to_owned();
    image.digest = "sha256:none".to_owned();
    let prepared = runtime.prepare(image.clone()).await;
    let refused = match prepared {
        Err(_) => true,
        Ok(()) => runtime
            .start(image, "none@1.0.0/1".to_owned())
            .await
            .is_err(),
    };
    assert!(
        refused,
        "an image without its program is refused before an instance seems to run"
    );
}

async fn lines_go_both_ways_in_order(runtime: &dyn Runtime, mirror: &Mirror) {
    let mut live = Live::start(runtime, mirror).await;
    live.say("one").await;
    assert_eq!(live.line().await, "one");
    let all: String = (0..MANY_LINES).map(|n| format!("line {n}\n")).collect();
    let Live {
        attached, stdout, ..
    } = &mut live;
    let write = async {
        attached
            .stdin
            .write_all(all.as_bytes())
            .await
            .expect("write");
        attached.stdin.flush().await.expect("flush");
    };
    let read = async {
        let mut lines = stdout.lines();
        for n in 0..MANY_LINES {
            let line = lines.next_line().await.expect("read").expect("a line");
            assert_eq!(line, format!("line {n}"), "in order and whole");
        }
    };
    within("all lines back", async { tokio::join!(write, read) }).await;
    runtime.stop(live.handle.clone()).await.expect("stop");
}

async fn the_greatest_line_passes(runtime: &dyn Runtime, mirror: &Mirror) {
    let mut live = Live::start(runtime, mirror).await;
    let long = "x".repeat(LINE_BYTES);
    let Live {
        attached, stdout, ..
    } = &mut live;
    let write = async {
        attached
            .stdin
            .write_all(long.as_bytes())
            .await
            .expect("write");
        attached.stdin.write_all(b"\n").await.expect("write");
        attached.stdin.flush().await.expect("flush");
    };
    let mut back = String::new();
    let read = async { stdout.read_line(&mut back).await.expect("read") };
    within("the long line back", async { tokio::join!(write, read) }).await;
    assert_eq!(back.trim_end().len(), LINE_BYTES);
    runtime.stop(live.handle.clone()).await.expect("stop");
}

async fn the_folder_is_told(runtime: &dyn Runtime, mirror: &Mirror) {
    let mut live = Live::start(runtime, mirror).await;
    live.say("folder").await;
    assert!(!live.line().await.is_empty(), "SENGU_WORKER_FOLDER is set");
    runtime.stop(live.handle.clone()).await.expect("stop");
}

async fn an_exit_is_noticed_with_its_reason(runtime: &dyn Runtime, mirror: &Mirror) {
    let mut live = Live::start(runtime, mirror).await;
    live.say("err last words").await;
    live.say("before the end").await;
    live.say("exit 3").await;
    let (exit, out, err) = live.end().await;
    assert!(!exit.clean && exit.why.contains('3'), "{exit:?}");
    assert_eq!(
        out.trim_end(),
        "before the end",
        "what was written before the end is there"
    );
    assert_eq!(err.trim_end(), "last words");
}

async fn the_end_of_input_ends_it(runtime: &dyn Runtime, mirror: &Mirror) {
    let mut live = Live::start(runtime, mirror).await;
    live.attached.stdin = Box::pin(tokio::io::sink());
    let handle = live.handle.clone();
    let (exit, ..) = live.end().await;
    assert!(exit.clean, "{exit:?}");
    assert_eq!(exit.left_behind, 0);
    runtime
        .stop(handle)
        .await
        .expect("to stop what is gone is well");
}

async fn stop_ends_what_does_not_listen(runtime: &dyn Runtime, mirror: &Mirror) {
    let mut live = Live::start(runtime, mirror).await;
    live.say("deaf").await;
    live.say("still here").await;
    while live.line().await != "still here" {}
    within("stop", runtime.stop(live.handle.clone()))
        .await
        .expect("stop");
    let (exit, ..) = live.end().await;
    assert!(!exit.clean, "{exit:?}");
}

async fn stop_ends_its_children_too(runtime: &dyn Runtime, mirror: &Mirror) {
    let mut live = Live::start(runtime, mirror).await;
    live.say("child").await;
    assert_eq!(live.line().await, "child");
    within("stop", runtime.stop(live.handle.clone()))
        .await
        .expect("stop");
    // The child holds the streams open as long as it lives.
    live.end().await;
}

async fn children_do_not_outlive_it(runtime: &dyn Runtime, mirror: &Mirror) {
    let mut live = Live::start(runtime, mirror).await;
    live.say("child").await;
    assert_eq!(live.line().await, "child");
    live.say("exit 0").await;
    let (exit, ..) = live.end().await;
    assert!(exit.left_behind >= 1, "{exit:?}");
}

async fn many_run_at_once(runtime: &Arc<dyn Runtime>, mirror: &Mirror) {
    let one = |n: usize| async move {
        let mut live = Live::start(&**runtime, mirror).await;
        let own = format!("I am {n}");
        live.say(&own).await;
        assert_eq!(live.line().await, own, "streams are not mixed up");
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

async fn left_overs_are_found_by_the_next_life<F, Fut>(
    open: F,
    first: Arc<dyn Runtime>,
    mirror: &Mirror,
) where
    F: Fn(u32) -> Fut,
    Fut: Future<Output = Arc<dyn Runtime>>,
{
    let mut live = Live::start(&*first, mirror).await;
    live.say("deaf").await;
    live.say("still here").await;
    while live.line().await != "still here" {}
    assert_eq!(
        first.list().await.expect("list"),
        [],
        "its own are no left-overs"
    );
    let second = open(2).await;
    let found = second.list().await.expect("list");
    assert_eq!(
        found,
        [live.handle.clone()],
        "what runs is found, what is gone is not"
    );
    within("stop", second.stop(live.handle.clone()))
        .await
        .expect("stop");
    assert_eq!(second.list().await.expect("list"), []);
    let (exit, ..) = live.end().await;
    assert!(!exit.clean, "{exit:?}");
}
