//! A large fleet: declared from one file by the CLI, kept in memory, looked at page by page.

use crate::Bench;
use crate::cpu;
use crate::http::Client;
use crate::report::{Line, Report, Wanted};
use crate::server::Server;
use crate::stats::Latencies;
use crate::targets;
use anyhow::{Context as _, Result, ensure};
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

const PAGE: usize = 100;
/// Selectors with one target, a rack of 40, a tenth of the fleet, and none.
const SELECTORS: [&str; 4] = ["name~t000077", "rack=r17", "row=w3", "rack=none"];
/// The memory of the request itself is given back a moment after it.
const REST: Duration = Duration::from_secs(15);
const SELECTED_PAGES_MAX: usize = 100;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let n = bench.size(100_000, 10_000);
    let server = Server::start(bench)?;
    let file = bench
        .scratch
        .join(format!("fleet-{}.yaml", std::process::id()));
    std::fs::write(&file, targets::echo_yaml(0..n)).context("write the fleet's file")?;
    let before = server.cpu()?;
    let started = Instant::now();
    let waited = cpu::waited_s();
    let applied = server
        .cli()
        .args(["apply", "-o", "name", "-f"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let wall_s = started.elapsed().as_secs_f64();
    let applied_at = Instant::now();
    let cli_s = cpu::waited_s() - waited;
    let _ = std::fs::remove_file(&file);
    let applied = applied.context("run sengu apply")?;
    let said = String::from_utf8_lossy(&applied.stderr);
    ensure!(
        applied.status.success(),
        "sengu apply: {}: {said}",
        applied.status
    );
    let used = server.cpu()?.since(before);
    let (rss_mib, _) = cpu::resident_mib(server.pid())?;
    report.line(&Line {
        name: "sengu-apply",
        per_s: n as f64 / wall_s,
        p50_ms: f64::NAN,
        p99_ms: f64::NAN,
        n,
        cpu_us: (used.all_s() + cli_s) * 1e6 / n as f64,
        more: format!(
            "wall_s={wall_s:.2} sengu_s={:.2} cli_s={cli_s:.2} sengu_rss_mib={rss_mib:.1}",
            used.all_s()
        ),
    });

    let mut client = server.client()?;
    let (walk, seen) = pages(&mut client, "", usize::MAX)?;
    ensure!(seen == n, "the pages hold {seen} targets of {n}");
    line(report, "sengu-get-pages", &walk);
    let mut selected = Latencies::default();
    for selector in SELECTORS {
        let mut query = String::from("&selector=");
        for byte in selector.bytes() {
            let _ = write!(query, "%{byte:02X}");
        }
        let (latencies, seen) = pages(&mut client, &query, SELECTED_PAGES_MAX)?;
        ensure!(
            selector != "rack=r17" || seen == 40,
            "rack r17 has {seen} targets"
        );
        report.note(&format!(
            "selector {selector}: {seen} targets, worst page {:.1} ms",
            latencies.max()
        ));
        selected.extend(&latencies);
    }
    line(report, "sengu-get-selected", &selected);
    std::thread::sleep(REST.saturating_sub(applied_at.elapsed()));
    let (rested_mib, _) = cpu::resident_mib(server.pid())?;

    report.figure(
        &format!("apply of {n} targets"),
        Wanted::AtMost(20.0),
        wall_s,
        "s",
    );
    report.figure(
        "resident memory at its end",
        Wanted::Nothing,
        rss_mib,
        "MiB",
    );
    let rest = format!("resident memory {} s after it", REST.as_secs());
    report.figure(&rest, Wanted::AtMost(150.0), rested_mib, "MiB");
    report.figure(
        "a page of 100 targets, p99",
        Wanted::AtMost(20.0),
        walk.percentile(0.99),
        "ms",
    );
    report.figure(
        "the same, with a selector",
        Wanted::AtMost(20.0),
        selected.percentile(0.99),
        "ms",
    );
    Ok(())
}

fn line(report: &mut Report, name: &str, latencies: &Latencies) {
    report.raw(&format!(
        "{name} nan {:.2} {:.2} n={} max_ms={:.2}",
        latencies.percentile(0.5),
        latencies.percentile(0.99),
        latencies.count(),
        latencies.max()
    ));
}

/// Walks a list by its cursors: the time of each page, and the items seen.
fn pages(client: &mut Client, query: &str, most: usize) -> Result<(Latencies, usize)> {
    let mut latencies = Latencies::default();
    let (mut seen, mut cursor) = (0, String::new());
    while latencies.count() < most {
        let path = format!("/v1/records/Target?limit={PAGE}{query}{cursor}");
        let asked = Instant::now();
        let text = client.get_text(&path)?;
        // Until the last byte is here: reading the JSON is the client's.
        latencies.add(asked.elapsed().as_secs_f64() * 1e3);
        let page: serde_json::Value = serde_json::from_str(&text).context("read a page")?;
        seen += page["items"].as_array().map_or(0, Vec::len);
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok((latencies, seen))
}
