//! The smallest worker: the pattern to copy for a new kind, and the load of the benches. It must stay this small.

use sengu_sdk::{Context, Done, FailureCode, Level, NoTwin, Outcome, Reading, Start, Worker};
use serde_json::json;
use std::{collections::BTreeMap, process::ExitCode, time::Duration};

struct Echo;

impl Worker for Echo {
    async fn run(&self, task: Context) -> Outcome {
        match task.action.as_str() {
            "noop" => Outcome::Done(Done {
                changed: true,
                ..Done::default()
            }),
            "observe" => {
                let facts = BTreeMap::from([("vendor".to_owned(), json!("echo"))]);
                task.observed(vec![Reading::new("echo_up", 1.0, "1")], facts);
                Outcome::Done(Done::default())
            }
            "once" => {
                let sleep_ms = task.params["sleep_ms"].as_u64().unwrap_or(0);
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(sleep_ms)) => {
                        Outcome::Done(Done { changed: true, ..Done::default() })
                    }
                    () = task.cancelled() => Outcome::Cancelled { why: "asked to".to_owned() },
                }
            }
            "say" => {
                let text = task.params["text"].clone();
                task.log(Level::Info, text.as_str().unwrap_or_default());
                Outcome::result(false, text)
            }
            other => Outcome::failed(FailureCode::Refused, format!("unknown action {other:?}")),
        }
    }
}

fn main() -> ExitCode {
    sengu_sdk::run::<_, NoTwin>(include_str!("../worker.toml"), |_: &Start| Ok(Echo))
}
