//! What an installation costs that does nothing.

use crate::Bench;
use crate::cpu;
use crate::report::{Report, Wanted};
use crate::server::Server;
use anyhow::Result;
use std::time::{Duration, Instant};

/// After the start, before measuring.
const SETTLE: Duration = Duration::from_secs(3);

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let server = Server::start(bench)?;
    std::thread::sleep(SETTLE);
    let before = server.cpu()?;
    let started = Instant::now();
    std::thread::sleep(Duration::from_secs(bench.size(20, 5) as u64));
    let used = server.cpu()?.since(before);
    let share = 100.0 * used.all_s() / started.elapsed().as_secs_f64();
    let (sengu_mib, workers_mib) = cpu::resident_mib(server.pid())?;
    report.raw(&format!(
        "sengu-idle nan nan nan seconds={:.0} sengu_rss_mib={sengu_mib:.1} workers_rss_mib={workers_mib:.1} cpu_percent_of_one_core={share:.2}",
        started.elapsed().as_secs_f64()
    ));
    report.figure(
        "resident memory, idle",
        Wanted::AtMost(40.0),
        sengu_mib + workers_mib,
        "MiB",
    );
    report.figure("CPU of one core, idle", Wanted::AtMost(0.5), share, "%");
    Ok(())
}
