//! Counters of the logic role, shown at /metrics in Prometheus' text form.

use sengu_model::FailureCode;
use sengu_model::outcome::Status;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub struct Metrics {
    created: AtomicU64,
    sent: AtomicU64,
    retried: AtomicU64,
    stale: AtomicU64,
    observed: AtomicU64,
    ended: [AtomicU64; 6],
    failed: [AtomicU64; 8],
    requests: AtomicU64,
    problems: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Metrics {
    pub fn created(&self, n: u64) {
        add(&self.created, n);
    }
    pub fn sent(&self, n: u64) {
        add(&self.sent, n);
    }
    pub fn retried(&self) {
        add(&self.retried, 1);
    }
    /// An observation of a schedule has ended.
    pub fn observed(&self) {
        add(&self.observed, 1);
    }
    pub fn stale_report(&self) {
        add(&self.stale, 1);
    }
    pub fn ended(&self, status: Status) {
        add(&self.ended[status as usize], 1);
    }
    pub fn failed(&self, code: FailureCode) {
        if let Some(at) = FailureCode::ALL.iter().position(|c| *c == code) {
            add(&self.failed[at], 1);
        }
    }
    pub fn request(&self) {
        add(&self.requests, 1);
    }
    pub fn problem(&self) {
        add(&self.problems, 1);
    }

    /// `(ended, not done, observed by schedules)` so far.
    pub fn totals(&self) -> (u64, u64, u64) {
        let load = |s: Status| self.ended[s as usize].load(Ordering::Relaxed);
        let ended = Status::ALL.into_iter().map(load).sum();
        let observed = self.observed.load(Ordering::Relaxed);
        (ended, ended - load(Status::Done), observed)
    }

    pub fn render(&self, out: &mut String) {
        let mut one = |name: &str, help: &str, counter: &AtomicU64| {
            let value = counter.load(Ordering::Relaxed);
            let _ = writeln!(
                out,
                "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"
            );
        };
        one(
            "sengu_tasks_created_total",
            "Tasks committed.",
            &self.created,
        );
        one(
            "sengu_tasks_sent_total",
            "Attempts sent to execution environments.",
            &self.sent,
        );
        one(
            "sengu_tasks_retried_total",
            "Attempts that were followed by another.",
            &self.retried,
        );
        one(
            "sengu_reports_stale_total",
            "Reports refused by the fence.",
            &self.stale,
        );
        one(
            "sengu_observations_total",
            "Observations by schedules that ended, done or not.",
            &self.observed,
        );
        one("sengu_api_requests_total", "API requests.", &self.requests);
        one(
            "sengu_api_problems_total",
            "API requests that were refused.",
            &self.problems,
        );
        let name = "sengu_tasks_ended_total";
        let _ = writeln!(
            out,
            "# HELP {name} Tasks ended, by status.\n# TYPE {name} counter"
        );
        for status in Status::ALL {
            let value = self.ended[status as usize].load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}{{status=\"{}\"}} {value}", status.as_str());
        }
        let name = "sengu_tasks_failed_total";
        let _ = writeln!(
            out,
            "# HELP {name} Tasks failed, by code.\n# TYPE {name} counter"
        );
        for (code, counter) in FailureCode::ALL.iter().zip(&self.failed) {
            let value = counter.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}{{code=\"{code}\"}} {value}");
        }
    }
}
