//! How answers look: tables, JSON, YAML, names; colours only on a terminal and never the only carrier.
//!
//! stdout is data, stderr is talk. Text that came from devices never reaches a terminal with control characters.

use serde::Serialize;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use unicode_width::UnicodeWidthStr as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

impl Format {
    pub fn for_people(self) -> bool {
        matches!(self, Format::Table | Format::Wide)
    }
}

/// Flag `-o`, shared by the verbs that print records.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct FormatArg {
    /// How to print
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    Warn,
    Dim,
    Strong,
}

/// Whether a stream may be painted, decided once per stream.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    pub on: bool,
}

fn colours_wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

impl Paint {
    pub fn stdout() -> Paint {
        Paint {
            on: std::io::stdout().is_terminal() && colours_wanted(),
        }
    }

    pub fn stderr() -> Paint {
        Paint {
            on: std::io::stderr().is_terminal() && colours_wanted(),
        }
    }

    /// The basic eight colours: readable on dark and light ground, and themed by the terminal.
    pub fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Text from outside, made harmless: control characters, terminal escapes and invisible direction marks are
/// written as `\u{..}`; line ends and tabs as `\n`, `\t`.
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if harmful(c) => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// As [`safe`], for whole documents: line ends and tabs stay. JSON and YAML hold other control characters only
/// inside strings, where `\u00XX` means the same.
fn safe_document(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if harmful(c) && c != '\n' && c != '\t' {
            let _ = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes data to stdout. When the reader has gone (`| head`), ends the process quietly.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .is_err()
    {
        // 128 + SIGPIPE, as a program that had not ignored the signal.
        std::process::exit(141);
    }
}

pub fn print_line(text: &str) {
    print(&format!("{text}\n"));
}

/// Writes talk to stderr; nobody listening is no error.
pub fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

/// Prints one value as JSON or YAML.
pub fn print_value<T: Serialize>(format: Format, value: &T) -> anyhow::Result<()> {
    let text = if format == Format::Yaml {
        let mut text = to_yaml(value)?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    } else {
        serde_json::to_string_pretty(value)? + "\n"
    };
    if std::io::stdout().is_terminal() {
        print(&safe_document(&text));
    } else {
        print(&text);
    }
    Ok(())
}

pub fn to_yaml<T: Serialize>(value: &T) -> anyhow::Result<String> {
    // Through a plain value: keys in a stable order, raw parts opened.
    let value = serde_json::to_value(value)?;
    Ok(serde_saphyr::to_string(&value)?)
}

/// A cell and how it may be painted.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub fn new(text: impl AsRef<str>) -> Cell {
        Cell {
            text: safe(text.as_ref()),
            tone: Tone::Plain,
        }
    }

    pub fn tone(mut self, tone: Tone) -> Cell {
        self.tone = tone;
        self
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(text)
    }
}

/// A table without borders under uppercase heads; widths only ever grow, so rows of a watch stay aligned.
#[derive(Debug)]
pub struct Table {
    heads: Vec<&'static str>,
    widths: Vec<usize>,
    rows: Vec<Vec<Cell>>,
    head_printed: bool,
    indent: usize,
}

/// One column never takes more, so that a long message does not push the others away.
const COLUMN_WIDTH_MAX: usize = 64;

impl Table {
    pub fn new(heads: &[&'static str]) -> Table {
        Table {
            heads: heads.to_vec(),
            widths: heads.iter().map(|h| h.width()).collect(),
            rows: Vec::new(),
            head_printed: false,
            indent: 0,
        }
    }

    pub fn indent(mut self, columns: usize) -> Table {
        self.indent = columns;
        self
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the rows so far as text; the head comes first, once.
    pub fn take(&mut self, paint: Paint) -> String {
        for row in &self.rows {
            // The last column is free: nothing stands behind it.
            for (i, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
                if let Some(width) = self.widths.get_mut(i) {
                    *width = (*width).max(cell.text.width().min(COLUMN_WIDTH_MAX));
                }
            }
        }
        let mut out = String::new();
        if !self.head_printed {
            self.head_printed = true;
            let heads: Vec<Cell> = self.heads.iter().map(Cell::from).collect();
            self.line(&mut out, &heads, Paint { on: false });
        }
        for row in std::mem::take(&mut self.rows) {
            self.line(&mut out, &row, paint);
        }
        out
    }

    fn line(&self, out: &mut String, row: &[Cell], paint: Paint) {
        let last = row.len().saturating_sub(1);
        let mut line = " ".repeat(self.indent);
        for (i, cell) in row.iter().enumerate() {
            line.push_str(&paint.text(cell.tone, &cell.text));
            if i < last {
                let width = self.widths.get(i).copied().unwrap_or(0);
                line.push_str(&" ".repeat(width.saturating_sub(cell.text.width()) + 3));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// `3 targets`, `1 target`.
pub fn count(n: impl Into<u64>, noun: &str) -> String {
    let n = n.into();
    format!("{} {noun}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// `12,345`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A span as people read it: `840ms`, `12.4s`, `5m 3s`, `3h 2m`, `6d 4h`.
pub fn span(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms}ms"),
        1_000..=59_999 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..=3_599_999 => format!("{}m {}s", ms / 60_000, ms / 1_000 % 60),
        3_600_000..=86_399_999 => format!("{}h {}m", ms / 3_600_000, ms / 60_000 % 60),
        _ => format!("{}d {}h", ms / 86_400_000, ms / 3_600_000 % 24),
    }
}

/// Age in one unit: `12s`, `4m`, `3h`, `6d`.
pub fn age(ms: u64) -> String {
    match ms {
        0..=119_999 => format!("{}s", ms / 1_000),
        120_000..=7_199_999 => format!("{}m", ms / 60_000),
        7_200_000..=172_799_999 => format!("{}h", ms / 3_600_000),
        _ => format!("{}d", ms / 86_400_000),
    }
}

/// Now, as the clock of this machine says.
pub fn now() -> sengu_model::Time {
    sengu_model::Time(jiff::Timestamp::now().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_written_out() {
        let table = [
            ("plain é 漢", "plain é 漢"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("two\nlines\r", "two\\nlines\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ];
        for (text, expected) in table {
            assert_eq!(safe(text), expected);
        }
        assert_eq!(safe_document("a:\n\t\u{9b}"), "a:\n\t\\u009b");
    }

    #[test]
    fn tables_align_and_escape() {
        let mut table = Table::new(&["NAME", "STATE", "MESSAGE"]);
        table.row(vec![
            "a".into(),
            Cell::new("ok").tone(Tone::Good),
            "x\x1b[2J".into(),
        ]);
        table.row(vec!["漢字-long".into(), "failed".into(), "".into()]);
        let text = table.take(Paint { on: false });
        expect_test::expect![[r#"
            NAME        STATE    MESSAGE
            a           ok       x\u{1b}[2J
            漢字-long   failed
        "#]]
        .assert_eq(&text);
        table.row(vec!["b".into(), "ok".into(), "".into()]);
        assert_eq!(table.take(Paint { on: true }), "b           ok\n");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(count(1_u64, "target"), "1 target");
        let spans = [
            (5, "5ms"),
            (12_460, "12.4s"),
            (303_000, "5m 3s"),
            (90_000_000, "1d 1h"),
        ];
        for (ms, text) in spans {
            assert_eq!(span(ms), text);
        }
        assert_eq!(
            (age(119_000), age(120_000)),
            ("119s".to_owned(), "2m".to_owned())
        );
    }
}
