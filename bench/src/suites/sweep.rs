//! One action over a fleet of foreign servers, as a run: on a sengu that has just started (cold: the worker is started
//! and every connection opened within the time), and again on the same one (warm).

use crate::Bench;
use crate::report::{Line, Report};
use crate::server::Server;
use crate::stats::median;
use crate::{targets, tasks};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::time::Instant;

pub struct Sweep<'a> {
    pub name: &'a str,
    pub records: &'a [Value],
    pub run: Value,
    pub targets: usize,
    /// Fresh servers, and sweeps on each beyond the first.
    pub cold_rounds: usize,
    pub warm_rounds: usize,
}

/// Medians of the rounds.
#[derive(Debug, Clone, Copy)]
pub struct Swept {
    pub wall_s: f64,
    /// sengu and its worker.
    pub cpu_s: f64,
    /// What is driven, as far as it is asked about.
    pub foreign_s: f64,
}

struct Round {
    wall_s: f64,
    sengu_s: f64,
    worker_s: f64,
    foreign_s: f64,
}

impl Sweep<'_> {
    /// Gives the cold and the warm figures, and a line for each. `foreign_s` tells the CPU that the driven servers have used.
    pub fn run(
        &self,
        bench: &Bench,
        report: &mut Report,
        foreign_s: &dyn Fn() -> f64,
    ) -> Result<(Swept, Swept)> {
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        for _ in 0..self.cold_rounds {
            let server = Server::start(bench)?;
            targets::apply(&server, self.records)?;
            cold.push(self.once(&server, foreign_s).context("cold sweep")?);
            for _ in 0..self.warm_rounds {
                warm.push(self.once(&server, foreign_s).context("warm sweep")?);
            }
        }
        Ok((
            self.tell(report, "cold", &cold),
            self.tell(report, "warm", &warm),
        ))
    }

    fn once(&self, server: &Server, foreign_s: &dyn Fn() -> f64) -> Result<Round> {
        let mut client = server.client()?;
        let (cpu, foreign) = (server.cpu()?, foreign_s());
        let started = Instant::now();
        let counts = tasks::run(&mut client, &self.run)?;
        let wall_s = started.elapsed().as_secs_f64();
        let used = server.cpu()?.since(cpu);
        let done = counts["done"].as_u64();
        ensure!(
            done == Some(self.targets as u64),
            "of {} targets: {counts}",
            self.targets
        );
        Ok(Round {
            wall_s,
            sengu_s: used.root_s,
            worker_s: used.below_s,
            foreign_s: foreign_s() - foreign,
        })
    }

    fn tell(&self, report: &mut Report, state: &str, rounds: &[Round]) -> Swept {
        let of = |what: fn(&Round) -> f64| median(rounds.iter().map(what));
        let swept = Swept {
            wall_s: of(|r| r.wall_s),
            cpu_s: of(|r| r.sengu_s + r.worker_s),
            foreign_s: of(|r| r.foreign_s),
        };
        report.line(&Line {
            name: &format!("{}-{state}", self.name),
            per_s: self.targets as f64 / swept.wall_s,
            p50_ms: f64::NAN,
            p99_ms: f64::NAN,
            n: self.targets,
            cpu_us: swept.cpu_s * 1e6 / self.targets as f64,
            more: format!(
                "wall_s={:.2} cpu_s={:.2} sengu_s={:.2} worker_s={:.2} driven_s={:.2} rounds={}",
                swept.wall_s,
                swept.cpu_s,
                of(|r| r.sengu_s),
                of(|r| r.worker_s),
                swept.foreign_s,
                rounds.len()
            ),
        });
        swept
    }
}
