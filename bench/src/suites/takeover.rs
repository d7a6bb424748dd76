//! The active logic role dies and the one that stands by takes over, with a fleet of some size in the store.

use super::engines::{Nats, Postgres};
use crate::Bench;
use crate::report::{Line, Report, Wanted};
use crate::server::Server;
use crate::{releases, targets, tasks};
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

const TARGETS: usize = 100_000;
const LOOK_EVERY: Duration = Duration::from_millis(10);
const MAX: Duration = Duration::from_secs(60);

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = bench.size(TARGETS, 1_000);
    let what = "the active role killed: the other one answers after";
    let wanted = Wanted::AtMost(5.0);
    let engines = Nats::start(bench).and_then(|n| Ok((n, Postgres::start(bench)?)));
    let (nats, postgres) = match engines {
        Ok(engines) => engines,
        Err(why) => {
            report.not_run(what, wanted, "s", &why);
            return Ok(());
        }
    };
    let config = |name: &str| {
        let own = format!("name = \"{name}\"\nwee = \"{name}\"\n");
        format!("{own}{}{}", postgres.config(), nats.config())
    };
    let mut active = Server::start_with(bench, Some(&config("a")))?;
    targets::apply_echo(&active, fleet)?;
    // Each target has been observed once, so that its status is to be loaded too.
    let spec = json!({"action": "observe", "selector": "kind=echo"});
    tasks::run(&mut active.client()?, &spec)?;
    std::thread::sleep(Duration::from_secs(10));
    let standby = Server::beside(bench, &active, &config("b"))?;
    std::thread::sleep(Duration::from_secs(3));

    active.kill()?;
    let began = Instant::now();
    let mut client = loop {
        let client = standby.client().and_then(|mut client| {
            client.get("/v1/version")?;
            Ok(client)
        });
        match client {
            Ok(client) => break client,
            Err(_) => ensure!(began.elapsed() < MAX, "nobody takes over"),
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let answers = began.elapsed();
    releases::task(&mut client, &targets::name(1), "noop", &json!({}))?;
    let works = began.elapsed();
    report.line(&Line {
        name: "sengu-takeover",
        per_s: f64::NAN,
        p50_ms: answers.as_secs_f64() * 1e3,
        p99_ms: works.as_secs_f64() * 1e3,
        n: 1,
        cpu_us: f64::NAN,
        more: format!("targets={fleet}"),
    });
    report.figure(what, wanted, answers.as_secs_f64(), "s");
    let done = "the active role killed: the first task asked of the other one is done after";
    report.figure(done, Wanted::Nothing, works.as_secs_f64(), "s");
    report.complaints(&standby.complaints());
    Ok(())
}
