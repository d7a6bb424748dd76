//! The smallest worker as a component: the pattern to copy. It must do what `../src/main.rs` does.

use sengu_sdk_wasm::{Done, FailureCode, Level, Outcome, Reading, Task, Worker, worker};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

struct Echo;

impl Worker for Echo {
    fn run(task: &Task) -> Outcome {
        let changed = Outcome::Done(Done {
            changed: true,
            ..Done::default()
        });
        match task.action.as_str() {
            "noop" => changed,
            "observe" => {
                let facts = BTreeMap::from([("vendor".to_owned(), json!("echo"))]);
                task.observed(vec![Reading::new("echo_up", 1.0, "1")], &facts);
                Outcome::Done(Done::default())
            }
            "once" => {
                let sleep_ms = task.params["sleep_ms"].as_u64().unwrap_or(0);
                if sleep_ms == 0 || task.sleep(Duration::from_millis(sleep_ms)) {
                    return changed;
                }
                Outcome::Cancelled {
                    why: "asked to".to_owned(),
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

worker!(Echo);
