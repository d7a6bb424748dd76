//! Progress of a run on stderr: a bar on a terminal, a line now and then in a file.

use super::views::{number, text};
use crate::output::{self, Paint, Tone, say};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// Without a terminal a line is written at most this often: a log is read later.
const LINE_EVERY: Duration = Duration::from_secs(3);

pub struct Progress {
    bar: Option<ProgressBar>,
    last_line: Instant,
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    Normal,
    Quiet,
}

impl Progress {
    pub fn new(loudness: Loudness) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let quiet = loudness == Loudness::Quiet;
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let painted = if Paint::stderr().on {
                "{bar:30.green/dim}"
            } else {
                "{bar:30}"
            };
            let template = format!("{painted} {{human_pos}}/{{human_len}}  {{msg}}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style.progress_chars("━━─"));
            }
            bar
        });
        Progress {
            bar,
            last_line: Instant::now(),
            quiet,
        }
    }

    /// Whether somebody looks at a moving bar, so that it is worth asking often.
    pub fn moving(&self) -> bool {
        self.bar.is_some()
    }

    /// Shows a Run record.
    pub fn show(&mut self, run: &Value) {
        let total = number(run, "/status/targets");
        let over = ended(run);
        let message = message(run, Paint::stderr());
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(over);
            bar.set_message(message);
            return;
        }
        if self.quiet {
            return;
        }
        if self.last_line.elapsed() >= LINE_EVERY && over < total {
            self.last_line = Instant::now();
            say(&format!(
                "{}/{}  {message}",
                output::thousands(over),
                output::thousands(total)
            ));
        }
    }

    /// Lets something else be printed without the bar in it.
    pub fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// A remark between bar updates.
    pub fn remark(&self, text: &str) {
        self.aside(|| say(text));
    }

    /// Takes the bar away.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Targets whose task has ended, however.
pub fn ended(run: &Value) -> u64 {
    ["done", "failed", "unknown", "cancelled", "expired"]
        .iter()
        .map(|k| number(run, &format!("/status/counts/{k}")))
        .sum()
}

/// `batch 3/10, 24 active, 2 failed, 1 unknown, 4 retries`: what is zero is left out.
fn message(run: &Value, paint: Paint) -> String {
    let mut words = Vec::new();
    let batches = number(run, "/status/batches");
    if batches > 1 {
        words.push(format!("batch {}/{batches}", number(run, "/status/batch")));
    }
    for (key, word, tone) in [
        ("active", "active", Tone::Plain),
        ("waiting", "waiting", Tone::Plain),
        ("failed", "failed", Tone::Bad),
        ("unknown", "unknown", Tone::Warn),
        ("cancelled", "cancelled", Tone::Warn),
        ("expired", "expired", Tone::Warn),
        ("retries", "retried", Tone::Dim),
    ] {
        let n = number(run, &format!("/status/counts/{key}"));
        if n > 0 {
            words.push(paint.text(tone, &format!("{} {word}", output::thousands(n))));
        }
    }
    let phase = text(run, "/status/phase");
    if matches!(phase.as_str(), "Stopping" | "Cancelling") {
        words.push(paint.text(Tone::Warn, &phase.to_lowercase()));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_there_is_said() {
        let run = json!({"status":{"phase":"Stopping","targets":9,"batch":2,"batches":3,
            "counts":{"active":3,"failed":1,"done":2,"retries":0}}});
        assert_eq!(
            message(&run, Paint { on: false }),
            "batch 2/3, 3 active, 1 failed, stopping"
        );
        assert_eq!(ended(&run), 3);
    }
}
