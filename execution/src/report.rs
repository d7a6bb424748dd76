//! Reports to logic, serialised into envelopes as they happen, so that nothing is kept or copied twice.

use bytes::Bytes;
use sengu_model::wire::envelope::{Event, Report, VERSION};
use serde::Serialize;
use std::collections::VecDeque;

/// Reports in one envelope.
pub const REPORTS_PER_ENVELOPE_MAX: u32 = 512;
/// An envelope is closed beyond this; one report more may be in it, of `TASK_RESULT_BYTES_MAX` at most.
pub const ENVELOPE_BYTES_MAX: usize = 256 << 10;

/// Parts of a report that are JSON text already, by field name.
pub type RawPart<'a> = (&'static str, &'a [u8]);

/// Envelopes waiting for the broker.
pub struct Outbox {
    prefix: Vec<u8>,
    open: Vec<u8>,
    open_count: u32,
    closed: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    /// For the reports of this WEE in this life.
    pub fn new(wee: &str, life: u64) -> Outbox {
        #[derive(Serialize)]
        struct Head<'a> {
            v: u32,
            wee: &'a str,
            life: u64,
            items: [(); 0],
        }
        let head = Head {
            v: VERSION,
            wee,
            life,
            items: [],
        };
        let mut prefix = serde_json::to_vec(&head).expect("a number and a text are JSON");
        prefix.truncate(prefix.len() - 2);
        Outbox {
            prefix,
            open: Vec::new(),
            open_count: 0,
            closed: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Adds a report. `raw` must hold valid JSON without line breaks.
    pub fn push(&mut self, report: &Report, raw: &[RawPart]) {
        if self.open_count == 0 {
            self.open.extend_from_slice(&self.prefix);
        } else {
            self.open.push(b',');
        }
        let start = self.open.len();
        if serde_json::to_writer(&mut self.open, report).is_err() {
            // Only a clock beyond the year 9999 could do that.
            self.open.truncate(start.saturating_sub(1));
            if self.open_count == 0 {
                self.open.clear();
            }
            return;
        }
        self.open.pop();
        for (name, json) in raw {
            self.open.extend_from_slice(b",\"");
            self.open.extend_from_slice(name.as_bytes());
            self.open.extend_from_slice(b"\":");
            self.open.extend_from_slice(json);
        }
        self.open.push(b'}');
        self.open_count += 1;
        if self.open_count == REPORTS_PER_ENVELOPE_MAX || self.open.len() > ENVELOPE_BYTES_MAX {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.open_count == 0 {
            return;
        }
        self.open_count = 0;
        let capacity = self.open.len().next_power_of_two().min(ENVELOPE_BYTES_MAX);
        let mut body = std::mem::replace(&mut self.open, Vec::with_capacity(capacity));
        body.extend_from_slice(b"]}");
        self.bytes += body.len();
        self.closed.push_back(body.into());
    }

    pub fn is_empty(&self) -> bool {
        self.open_count == 0 && self.closed.is_empty()
    }

    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes + self.open.len()
    }

    /// All that waits, as messages of at most `max_bytes` together (but at least one).
    pub fn take(&mut self, max_bytes: usize) -> Vec<Bytes> {
        self.close();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(body) = self.closed.front() {
            if !taken.is_empty() && bytes + body.len() > max_bytes {
                break;
            }
            bytes += body.len();
            taken.extend(self.closed.pop_front());
        }
        self.bytes -= bytes;
        taken
    }

    /// The broker did not take these: they go first again.
    pub fn give_back(&mut self, bodies: Vec<Bytes>) {
        for body in bodies.into_iter().rev() {
            self.bytes += body.len();
            self.closed.push_front(body);
        }
    }
}

/// A report with nothing but its event.
pub fn report<'a>(
    task: sengu_model::TaskId,
    fence: crate::lease::Fence,
    at: sengu_model::Time,
    event: Event,
) -> Report<'a> {
    Report {
        task,
        epoch: fence.epoch,
        attempt: fence.attempt,
        at,
        event,
        instance: None,
        digest: None,
        started_at: None,
        outcome: None,
        readings: None,
        facts: None,
        data: None,
        why: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Fence;
    use sengu_model::wire::envelope::ReportEnvelope;
    use sengu_model::{TaskId, Time};

    fn ended(n: u64) -> Report<'static> {
        let fence = Fence {
            epoch: 1,
            attempt: 2,
        };
        Report {
            why: Some("because".into()),
            ..report(TaskId(n), fence, Time(5), Event::Ended)
        }
    }

    #[test]
    fn envelopes_are_read_by_the_model() {
        let mut outbox = Outbox::new("wee \"1\"", 7);
        assert!(outbox.is_empty() && outbox.take(1).is_empty());
        let raw: &[RawPart] = &[
            ("outcome", b"{\"status\":\"done\"}"),
            ("readings", b"[1]"),
            ("facts", b"{\"a\":2}"),
            ("data", b"null"),
        ];
        outbox.push(&ended(1), raw);
        outbox.push(&ended(2), &[]);
        let bodies = outbox.take(usize::MAX);
        assert_eq!(bodies.len(), 1);
        let envelope: ReportEnvelope = serde_json::from_slice(&bodies[0]).unwrap();
        assert_eq!(
            (envelope.wee.as_ref(), envelope.life, envelope.items.len()),
            ("wee \"1\"", 7, 2)
        );
        let first = &envelope.items[0];
        assert_eq!(first.outcome.unwrap().get(), "{\"status\":\"done\"}");
        assert_eq!(first.readings.unwrap().get(), "[1]");
        assert_eq!(first.facts.unwrap().get(), "{\"a\":2}");
        assert_eq!(envelope.items[1].why.as_deref(), Some("because"));
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn envelopes_are_bounded_and_keep_their_order_when_given_back() {
        let mut outbox = Outbox::new("w", 7);
        for n in 0..1_200 {
            outbox.push(&ended(n), &[]);
        }
        let first = outbox.take(1);
        assert_eq!(first.len(), 1, "at least one");
        outbox.give_back(first);
        let mut next = 0;
        for body in outbox.take(usize::MAX) {
            let envelope: ReportEnvelope = serde_json::from_slice(&body).unwrap();
            assert!(envelope.items.len() <= 512);
            for item in envelope.items {
                assert_eq!(item.task, TaskId(next));
                next += 1;
            }
        }
        assert_eq!(next, 1_200);
        assert!(outbox.is_empty());
    }
}
