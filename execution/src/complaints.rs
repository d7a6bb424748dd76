//! What a pool's instances did wrong, for people: a short list, newest last, each kind of misdeed once with its count.

use std::collections::VecDeque;

/// Misdeeds remembered per pool.
pub const COMPLAINTS_MAX: usize = 8;
/// One complaint, in characters.
const TEXT_CHARS_MAX: usize = 400;

#[derive(Debug, Default)]
pub struct Complaints {
    list: VecDeque<Complaint>,
}

#[derive(Debug)]
struct Complaint {
    what: &'static str,
    detail: String,
    instance: String,
    count: u64,
}

impl Complaints {
    /// Notes `what` an instance did, and gives how often that was; of equal ones the newest detail is kept.
    pub fn add(&mut self, instance: &str, what: &'static str, detail: &str) -> u64 {
        let count = match self.list.iter().position(|c| c.what == what) {
            Some(at) => self.list.remove(at).map_or(0, |c| c.count),
            None => 0,
        };
        if self.list.len() == COMPLAINTS_MAX {
            self.list.pop_front();
        }
        self.list.push_back(Complaint {
            what,
            detail: detail.chars().take(TEXT_CHARS_MAX).collect(),
            instance: instance.to_owned(),
            count: count + 1,
        });
        count + 1
    }

    pub fn lines(&self) -> Vec<String> {
        self.list.iter().map(Complaint::line).collect()
    }

    /// The newest one; empty when there is none.
    pub fn newest(&self) -> String {
        self.list.back().map(Complaint::line).unwrap_or_default()
    }
}

impl Complaint {
    fn line(&self) -> String {
        let mut line = format!("{}: {}", self.instance, self.what);
        if !self.detail.is_empty() {
            line.push_str(": ");
            line.push_str(&self.detail);
        }
        if self.count > 1 {
            line.push_str(&format!(" ({} times)", self.count));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_are_counted_and_the_newest_is_last() {
        let mut complaints = Complaints::default();
        complaints.add("a@1/1", "invalid JSON", "x");
        complaints.add("a@1/1", "flood of logs", "");
        complaints.add("a@1/2", "invalid JSON", "y");
        assert_eq!(
            complaints.lines(),
            ["a@1/1: flood of logs", "a@1/2: invalid JSON: y (2 times)"]
        );
    }

    #[test]
    fn the_list_is_bounded() {
        let mut complaints = Complaints::default();
        for what in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            complaints.add("x", what, &"long".repeat(1_000));
        }
        let lines = complaints.lines();
        assert_eq!(lines.len(), COMPLAINTS_MAX);
        assert!(lines[0].starts_with("x: b") && lines[0].len() < 500);
    }
}
