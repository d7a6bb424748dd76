//! What was measured: lines in the form that the peers' scripts print, and one table of figures at the end.

use crate::cpu;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How a figure must stand to what is wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// Shown for information.
    Nothing,
}

impl Wanted {
    fn met(self, measured: f64) -> Option<bool> {
        match self {
            Wanted::AtLeast(limit) => Some(measured >= limit),
            Wanted::AtMost(limit) => Some(measured <= limit),
            Wanted::Nothing => None,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Wanted::AtLeast(limit) => format!(">= {}", amount(limit, unit)),
            Wanted::AtMost(limit) => format!("<= {}", amount(limit, unit)),
            Wanted::Nothing => "-".to_owned(),
        }
    }
}

/// One line of a run. CPU is split into what the product used and what the load generator did.
#[derive(Debug)]
pub struct Line<'a> {
    pub name: &'a str,
    pub per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub n: usize,
    /// Microseconds per task of all that is counted to this line.
    pub cpu_us: f64,
    /// More, as `key=value`.
    pub more: String,
}

pub struct Report {
    json: bool,
    suite: String,
    lines: Vec<Value>,
    figures: Vec<Value>,
    rows: Vec<[String; 5]>,
}

impl Report {
    pub fn new(json: bool) -> Report {
        Report {
            json,
            suite: String::new(),
            lines: Vec::new(),
            figures: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn print(&self, text: &str) {
        if self.json {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }

    pub fn begin(&mut self, suite: &str) {
        suite.clone_into(&mut self.suite);
        let idle = cpu::idle_percent();
        self.note(&format!("{suite} (the machine is {idle:.0} % idle)"));
    }

    pub fn note(&self, text: &str) {
        self.print(&format!("# {text}"));
    }

    pub fn line(&mut self, line: &Line<'_>) {
        let text = format!(
            "{} {:.0} {} {} n={} cpu_us_per_task={:.0} {}",
            line.name,
            line.per_s,
            hundredths(line.p50_ms),
            hundredths(line.p99_ms),
            line.n,
            line.cpu_us,
            line.more
        );
        self.raw(text.trim());
    }

    /// What sengu itself has complained of.
    pub fn complaints(&mut self, lines: &[String]) {
        if let Some(first) = lines.first() {
            let number = lines.len();
            self.note(&format!(
                "sengu's log has {number} warnings; the first: {first}"
            ));
        }
    }

    /// A line as a peer's script printed it.
    pub fn raw(&mut self, text: &str) {
        self.print(text);
        self.lines.push(json!({"suite": self.suite, "line": text}));
    }

    pub fn figure(&mut self, what: &str, wanted: Wanted, measured: f64, unit: &str) {
        let met = wanted.met(measured);
        let word = match met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        self.row(what, &wanted.text(unit), &amount(measured, unit), word);
        let limit = match wanted {
            Wanted::AtLeast(limit) => json!({"atLeast": limit}),
            Wanted::AtMost(limit) => json!({"atMost": limit}),
            Wanted::Nothing => Value::Null,
        };
        self.figures
            .push(json!({"suite": self.suite, "figure": what, "wanted": limit,
            "measured": measured, "unit": unit, "met": met}));
    }

    /// A figure that could not be measured, and why.
    pub fn not_run(&mut self, what: &str, wanted: Wanted, unit: &str, why: &str) {
        self.note(&format!("not run: {what}: {why}"));
        self.row(what, &wanted.text(unit), "not run", "?");
        self.figures
            .push(json!({"suite": self.suite, "figure": what, "notRun": why}));
    }

    pub fn broke(&mut self, why: &str) {
        self.note(&format!("BROKE: {}: {why}", self.suite));
        self.row("the suite as a whole", "-", "broke", "NO");
        self.figures
            .push(json!({"suite": self.suite, "broke": why}));
    }

    fn row(&mut self, what: &str, wanted: &str, measured: &str, met: &str) {
        let row = [&self.suite, what, wanted, measured, met];
        self.rows.push(row.map(str::to_owned));
    }

    pub fn end(&self) {
        let head = ["SUITE", "FIGURE", "WANTED", "MEASURED", "MET"].map(str::to_owned);
        let rows: Vec<&[String; 5]> = std::iter::once(&head).chain(&self.rows).collect();
        let mut widths = [0; 5];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row.iter()) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut table = String::new();
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let _ = write!(line, "{cell:width$}   ");
            }
            let _ = writeln!(table, "{}", line.trim_end());
        }
        self.print(&format!("\n{}", table.trim_end()));
        if self.json {
            println!("{}", json!({"figures": self.figures, "lines": self.lines}));
        }
    }
}

fn hundredths(ms: f64) -> String {
    if ms.is_nan() {
        "nan".to_owned()
    } else {
        format!("{ms:.2}")
    }
}

/// A number with three digits that matter, and its unit.
fn amount(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_show_what_matters() {
        let shown = [20_345.6, 40.0, 1.105, 0.048, 0.05].map(|v| amount(v, "ms"));
        assert_eq!(
            shown,
            ["20346 ms", "40 ms", "1.10 ms", "0.048 ms", "0.05 ms"]
                .map(|s| s.replace("1.10", "1.1"))
        );
        assert_eq!(Wanted::AtMost(0.5).text("%"), "<= 0.5 %");
    }

    #[test]
    fn nothing_measured_is_not_met() {
        assert_eq!(Wanted::AtLeast(1.0).met(f64::NAN), Some(false));
        assert_eq!(Wanted::AtMost(1.0).met(f64::NAN), Some(false));
        assert_eq!(Wanted::AtMost(1.0).met(1.0), Some(true));
    }
}
