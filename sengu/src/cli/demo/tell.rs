//! How the demo looks: sections of short lines; nothing but plain text when nobody watches.

use super::report::Report;
use crate::output::{self, Paint, Tone};
use std::path::Path;
use std::time::Duration;

pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub struct Teller {
    quiet: bool,
    paint: Paint,
}

/// Where values begin.
const COLUMN: usize = 16;
const VALUE_CHARS_MAX: usize = 100;

impl Teller {
    pub fn new(quiet: bool) -> Teller {
        Teller {
            quiet,
            paint: Paint::stdout(),
        }
    }

    pub fn quiet(&self) -> bool {
        self.quiet
    }

    pub fn paint(&self) -> Paint {
        self.paint
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            output::print_line(text);
        }
    }

    pub fn title(&self, targets: u32) {
        self.line(&self.paint.text(
            Tone::Strong,
            &format!(
                "sengu demo: {} that speak their real protocols",
                output::count(targets, "target")
            ),
        ));
    }

    pub fn section(&self, name: &str) {
        self.line("");
        self.line(&self.paint.text(Tone::Strong, name));
    }

    pub fn fact(&self, name: &str, value: &str) {
        self.toned(name, value, Tone::Plain);
    }

    pub fn toned(&self, name: &str, value: &str, tone: Tone) {
        let value = self.paint.text(tone, &clip(&output::safe(value)));
        self.line(&format!("  {name:<COLUMN$}{value}"));
    }

    /// A command as a person would type it.
    pub fn command(&self, command: &str) {
        self.line(&format!(
            "  {}",
            self.paint.text(Tone::Dim, &format!("$ {command}"))
        ));
    }

    pub fn text(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!("  {line}"));
        }
    }

    /// A claim that was checked.
    pub fn verdict(&self, holds: bool, claim: &str) {
        let (word, tone) = if holds {
            ("yes", Tone::Good)
        } else {
            ("NO", Tone::Bad)
        };
        let word = self.paint.text(tone, &format!("{word:<4}"));
        self.line(&format!("  {word}{}", output::safe(claim)));
    }

    pub fn end(&self, report: &Report) {
        self.line("");
        let time = format!("{:.1}s", report.seconds);
        let text = if report.honest {
            format!("All of it in {time}.")
        } else {
            format!("In {time}; not all claims held: see NO above.")
        };
        let tone = if report.honest { Tone::Good } else { Tone::Bad };
        self.line(&self.paint.text(tone, &text));
    }

    /// For `--keep`: what to try, ready to be pasted.
    pub fn next_commands(&self, program: &Path, data: &Path, report: &Report, console: &str) {
        let say = |text: &str| {
            if self.quiet {
                output::say(text);
            } else {
                output::print_line(text);
            }
        };
        let sengu = program.display();
        say("");
        say(
            "Still running. In a browser, once, within five minutes (sengu console makes another link):",
        );
        say(&format!("  {console}"));
        say("In another terminal:");
        say(&format!("  export SENGU_DATA={}", data.display()));
        say(&format!(
            "  {sengu} get targets -l 'kind=redfish,power_state=Off'"
        ));
        say(&format!("  {sengu} describe run/{}", report.change.run));
        say(&format!(
            "  {sengu} run power.set state=on -l {}",
            quoted(&report.change.selector)
        ));
        say("Ctrl-C here ends it all.");
    }
}

/// Short lines read best; the whole text is in the API.
fn clip(text: &str) -> String {
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(VALUE_CHARS_MAX - 1).collect();
    short.push('…');
    short
}

/// For a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
