//! What a command writes: streamed line by line into the task's log, and its tail kept for the outcome.
//!
//! Bytes are whatever the host sends: never split a character, never grow without a limit.

use sengu_sdk::{Context, Level, limits};
use std::collections::VecDeque;

/// The last bytes of each stream that go into the outcome.
pub const TAIL_BYTES_MAX: usize = 32 << 10;
/// Lines and bytes left free in the task's log for our own words.
const LOG_LINES_SPARE: u32 = 100;
const LOG_BYTES_SPARE: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Takes the bytes of both streams.
pub struct Output<L: FnMut(Level, String)> {
    log: L,
    /// A line of stderr that is not the command's own; taken out, its rest kept.
    mark: Option<String>,
    marked: Option<String>,
    stdout: OneStream,
    stderr: OneStream,
    bytes_left: usize,
    lines_left: u32,
    full: bool,
}

#[derive(Default)]
struct OneStream {
    /// Bytes of a line that is not ended yet.
    open: Vec<u8>,
    tail: VecDeque<u8>,
    tail_cut: bool,
}

/// What is left for the outcome.
#[derive(Debug, PartialEq)]
pub struct Tails {
    pub stdout: String,
    pub stderr: String,
    /// Something is missing from the tails or the log.
    pub truncated: bool,
    /// What followed the mark.
    pub marked: Option<String>,
}

/// An output whose lines go into the log of `task`.
pub fn into_log(task: &Context, mark: Option<String>) -> Output<impl FnMut(Level, String) + '_> {
    Output::new(move |level, line| task.log(level, line), mark)
}

impl<L: FnMut(Level, String)> Output<L> {
    pub fn new(log: L, mark: Option<String>) -> Self {
        Output {
            log,
            mark,
            marked: None,
            stdout: OneStream::default(),
            stderr: OneStream::default(),
            bytes_left: limits::TASK_LOG_BYTES_MAX - LOG_BYTES_SPARE,
            lines_left: limits::TASK_LOG_LINES_MAX - LOG_LINES_SPARE,
            full: false,
        }
    }

    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let (line, after) = rest.split_at(end);
            self.part(stream, line);
            self.end_line(stream, true);
            rest = after.get(1..).unwrap_or_default();
        }
        self.part(stream, rest);
    }

    /// Ends open lines and gives what is kept.
    pub fn finish(mut self) -> Tails {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.of(stream).open.is_empty() {
                self.end_line(stream, false);
            }
        }
        let text = |one: &mut OneStream| {
            String::from_utf8_lossy(start_at_char(one.tail.make_contiguous())).into_owned()
        };
        Tails {
            truncated: self.full || self.stdout.tail_cut || self.stderr.tail_cut,
            stdout: text(&mut self.stdout),
            stderr: text(&mut self.stderr),
            marked: self.marked,
        }
    }

    fn of(&mut self, stream: Stream) -> &mut OneStream {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Adds to the open line; one that grows too long is logged in pieces.
    fn part(&mut self, stream: Stream, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let open = &mut self.of(stream).open;
            let room = limits::LOG_LINE_BYTES_MAX - open.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            open.extend_from_slice(now);
            rest = later;
            if open.len() == limits::LOG_LINE_BYTES_MAX {
                let keep = open.len() - whole_chars(open);
                let carried = open.split_off(open.len() - keep);
                self.end_line(stream, false);
                self.of(stream).open = carried;
            }
        }
    }

    fn end_line(&mut self, stream: Stream, newline: bool) {
        let line = std::mem::take(&mut self.of(stream).open);
        if stream == Stream::Stderr
            && let Some(mark) = &self.mark
            && let Some(rest) = line.strip_prefix(mark.as_bytes())
        {
            self.marked = Some(String::from_utf8_lossy(rest).trim().to_owned());
            return;
        }
        let one = self.of(stream);
        one.tail.extend(&line);
        if newline {
            one.tail.push_back(b'\n');
        }
        let over = one.tail.len().saturating_sub(TAIL_BYTES_MAX);
        one.tail.drain(..over);
        one.tail_cut |= over > 0;
        if self.full {
            return;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let text = String::from_utf8_lossy(line).into_owned();
        if text.len() > self.bytes_left || self.lines_left == 0 {
            self.full = true;
            (self.log)(
                Level::Warn,
                "the output is over the log's limit: from here on it is not logged".to_owned(),
            );
            return;
        }
        self.bytes_left -= text.len();
        self.lines_left -= 1;
        let level = match stream {
            Stream::Stdout => Level::Stdout,
            Stream::Stderr => Level::Stderr,
        };
        (self.log)(level, text);
    }
}

/// Length of `bytes` without a character begun at its end.
fn whole_chars(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        // Only an unfinished character at the very end is carried on; other bytes are no text anyway.
        Err(e) if e.error_len().is_none() => e.valid_up_to(),
        Err(_) => {
            let begun = bytes
                .iter()
                .rev()
                .take(3)
                .position(|b| *b >= 0xC0)
                .map_or(0, |n| n + 1);
            match bytes.get(bytes.len() - begun..).map(std::str::from_utf8) {
                Some(Err(e)) if e.error_len().is_none() => bytes.len() - begun,
                _ => bytes.len(),
            }
        }
    }
}

/// `bytes` without the rest of a character whose start was cut off.
fn start_at_char(bytes: &[u8]) -> &[u8] {
    let cut = bytes
        .iter()
        .take(3)
        .take_while(|b| (0x80..0xC0).contains(*b))
        .count();
    bytes.get(cut..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(parts: &[(Stream, &[u8])], mark: Option<&str>) -> (Vec<String>, Tails) {
        let mut lines = Vec::new();
        let mut output = Output::new(
            |level, line| lines.push(format!("{level:?} {line}")),
            mark.map(str::to_owned),
        );
        for (stream, bytes) in parts {
            output.take(*stream, bytes);
        }
        let tails = output.finish();
        (lines, tails)
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let u = "ü".as_bytes();
        let (lines, tails) = run(
            &[
                (Stream::Stdout, b"one\ntw"),
                (Stream::Stderr, b"err"),
                (Stream::Stdout, &[b'o', u[0]]),
                (Stream::Stdout, &[u[1], b'\r', b'\n', b'\n', 0xFF]),
            ],
            None,
        );
        let wanted = [
            "Stdout one",
            "Stdout twoü",
            "Stdout ",
            "Stdout \u{FFFD}",
            "Stderr err",
        ];
        assert_eq!(lines, wanted);
        assert_eq!(tails.stdout, "one\ntwoü\r\n\n\u{FFFD}");
        assert_eq!((tails.stderr.as_str(), tails.truncated), ("err", false));
    }

    #[test]
    fn a_flood_is_cut_with_a_mark_and_its_tail_kept() {
        let line = [b'x'; 1023].map(|b| b);
        let mut flood = Vec::new();
        for _ in 0..2048 {
            flood.extend_from_slice(&line);
            flood.push(b'\n');
        }
        flood.extend_from_slice(b"the end");
        let (lines, tails) = run(&[(Stream::Stdout, &flood)], None);
        assert!(lines.last().unwrap().starts_with("Warn the output is over"));
        let logged: usize = lines.iter().map(String::len).sum();
        assert!(logged < limits::TASK_LOG_BYTES_MAX + 20_000, "{logged}");
        assert!(tails.truncated && tails.stdout.ends_with("the end"));
        assert!(tails.stdout.len() <= TAIL_BYTES_MAX);
    }

    #[test]
    fn a_line_without_end_is_cut_between_characters() {
        let text = "aü".repeat(40_000);
        let (lines, tails) = run(&[(Stream::Stdout, text.as_bytes())], None);
        assert!(lines.len() > 5 && lines.iter().all(|l| !l.contains('\u{FFFD}')));
        assert!(!tails.stdout.contains('\u{FFFD}') && tails.truncated);
    }

    #[test]
    fn the_mark_is_taken_out() {
        let (lines, tails) = run(&[(Stream::Stderr, b"a\n##7 creates\nb\n")], Some("##7"));
        assert_eq!(lines, ["Stderr a", "Stderr b"]);
        assert_eq!(tails.marked.as_deref(), Some("creates"));
    }
}
