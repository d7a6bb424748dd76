//! `observe`: what a host is and how it fares, from one script in one round trip.
//!
//! Every section may be missing, in another form, or cut off at the deadline: what can be read is reported.

use super::{Call, call};
use crate::command::OBSERVE;
use crate::host::Host;
use crate::kept::Kept;
use crate::run::{End, OnStop};
use sengu_sdk::{Context, Done, Effect, Failure, FailureCode, Outcome, Reading};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const ADDRESSES_MAX: usize = 64;
const MOUNTS_MAX: usize = 256;

pub async fn observe(task: &Context, kept: &Arc<Kept>, host: &Host) -> Result<Outcome, Failure> {
    let reply = call(
        task,
        kept,
        host,
        Call {
            script: &OBSERVE,
            args: &[],
            stdin: &[],
            effect: Effect::Read,
            on_stop: OnStop::Kill,
        },
    )
    .await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(outcome) => return Ok(outcome),
    };
    let (readings, mut facts) = parse(&String::from_utf8_lossy(&reply.stdout));
    let complete = reply.line("end").is_some();
    if !facts.is_empty() {
        facts.insert("host_key".to_owned(), json!(reply.host_key));
        task.observed(readings, facts);
        // What a hung file system kept back is not worth the rest of the host.
        if complete || matches!(reply.end, End::Deadline(_) | End::Exit(124 | 137 | 143)) {
            return Ok(Outcome::Done(Done::default()));
        }
    }
    match reply.exit(host, Effect::Read) {
        Err(outcome) => Ok(outcome),
        Ok(code) => Err(Failure::new(
            FailureCode::BadReply,
            format!(
                "{}: exit code {code}, not understood: {}",
                host.at(),
                reply.last_words()
            ),
        )),
    }
}

/// Readings and facts in the script's output.
pub fn parse(text: &str) -> (Vec<Reading>, BTreeMap<String, Value>) {
    let mut readings = Vec::new();
    let mut facts = BTreeMap::new();
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines().map(|l| l.trim_end_matches('\r')) {
        match line.strip_prefix("@@") {
            Some("begin") => {
                sections.clear();
                current = None;
            }
            Some(name) => current = Some(sections.entry(name).or_default()),
            None => {
                if let Some(lines) = &mut current {
                    lines.push(line);
                }
            }
        }
    }
    let first = |name: &str| {
        let line = sections.get(name)?.first()?.trim();
        (!line.is_empty()).then_some(line)
    };
    let lines = |name: &str| sections.get(name).map(Vec::as_slice).unwrap_or_default();

    if let Some(uname) = first("uname") {
        let fields: Vec<&str> = uname.split_whitespace().collect();
        if let [system, rest @ ..] = &fields[..] {
            facts.insert("system".to_owned(), json!(system));
            if let [kernel, .., arch] = rest {
                facts.insert("kernel".to_owned(), json!(kernel));
                facts.insert("arch".to_owned(), json!(arch));
            }
        }
    }
    for name in ["hostname", "boot_id"] {
        if let Some(value) = first(name) {
            facts.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(cpus) = first("cpus").and_then(|c| c.parse::<u32>().ok()) {
        facts.insert("cpus".to_owned(), json!(cpus));
    }
    os(lines("os"), &mut facts);
    for (name, value) in ["vendor", "model"].iter().zip(lines("dmi")) {
        if !value.trim().is_empty() {
            facts.insert((*name).to_owned(), json!(value.trim()));
        }
    }
    let addresses = addresses(lines("addresses"));
    if !addresses.is_empty() {
        facts.insert("addresses".to_owned(), json!(addresses));
    }
    let uptime = first("uptime").and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    if let Some(uptime) = uptime {
        readings.push(Reading::new("uptime_seconds", uptime, "s"));
    }
    if let Some(line) = first("loadavg") {
        for (name, value) in ["load1", "load5", "load15"].iter().zip(loads(line)) {
            readings.push(Reading::new(*name, value, "1"));
        }
    }
    memory(lines("meminfo"), &mut readings);
    file_systems(lines("df"), &mut readings);
    gpus(lines("gpu"), &mut readings, &mut facts);
    (readings, facts)
}

/// os-release: `ID=debian`, `VERSION_ID="12"`.
fn os(lines: &[&str], facts: &mut BTreeMap<String, Value>) {
    for line in lines {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches(['"', '\'']);
        let name = match key {
            "ID" => "os",
            "VERSION_ID" => "os_version",
            "PRETTY_NAME" => "os_name",
            _ => continue,
        };
        if !value.is_empty() {
            facts.insert(name.to_owned(), json!(value));
        }
    }
}

/// `ip -o addr` (`2: eth0    inet 10.0.0.5/24 brd ...`) or the bare list of `hostname -I`.
fn addresses(lines: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let at = fields.iter().position(|f| *f == "inet" || *f == "inet6");
        let candidates = match at {
            Some(at) => fields.get(at + 1..at + 2).unwrap_or_default(),
            None => &fields[..],
        };
        for address in candidates {
            let bare = address.split('/').next().unwrap_or_default();
            let known = found.iter().any(|a| a == bare);
            if bare.parse::<std::net::IpAddr>().is_ok() && !known && found.len() < ADDRESSES_MAX {
                found.push(bare.to_owned());
            }
        }
    }
    found
}

/// `/proc/loadavg`, or the end of uptime(1): `load average: 0.10, 0.20, 0.30` (BSD: `load averages: 0.1 0.2 0.3`).
fn loads(line: &str) -> Vec<f64> {
    let numbers = line
        .rsplit_once("average")
        .map_or(line, |(_, rest)| rest.trim_start_matches(['s', ':', ' ']));
    numbers
        .split([' ', ','])
        .filter(|n| !n.is_empty())
        .map_while(|n| n.parse().ok())
        .take(3)
        .collect()
}

fn memory(lines: &[&str], readings: &mut Vec<Reading>) {
    let mut of: BTreeMap<&str, f64> = BTreeMap::new();
    for line in lines {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let number = value.split_whitespace().next();
        if let Some(kib) = number.and_then(|v| v.parse::<f64>().ok()) {
            of.insert(key, kib * 1024.0);
        }
    }
    // Kernels before 3.14 do not say what is available; free memory and caches come near it.
    let available = of.get("MemAvailable").copied().or_else(|| {
        Some(
            of.get("MemFree")?
                + of.get("Buffers").unwrap_or(&0.0)
                + of.get("Cached").unwrap_or(&0.0),
        )
    });
    let table = [
        ("memory_total_bytes", of.get("MemTotal").copied()),
        ("memory_available_bytes", available),
        ("swap_total_bytes", of.get("SwapTotal").copied()),
        ("swap_free_bytes", of.get("SwapFree").copied()),
    ];
    for (name, value) in table {
        if let Some(value) = value {
            readings.push(Reading::new(name, value, "By"));
        }
    }
}

/// `df -P -k`: file system, 1024-blocks, used, available, capacity, mount (which may hold spaces).
fn file_systems(lines: &[&str], readings: &mut Vec<Reading>) {
    const UNREAL: [&str; 7] = [
        "tmpfs", "devtmpfs", "udev", "overlay", "shm", "squashfs", "efivarfs",
    ];
    let mut seen: Vec<String> = Vec::new();
    for line in lines {
        let mut fields = line.split_whitespace();
        let (Some(source), Some(size), Some(_), Some(available), Some(_)) = (
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
        ) else {
            continue;
        };
        let mount = fields.collect::<Vec<_>>().join(" ");
        let (Ok(size), Ok(available)) = (size.parse::<f64>(), available.parse::<f64>()) else {
            continue;
        };
        let real = mount == "/" || !UNREAL.contains(&source);
        if !real || size <= 0.0 || mount.is_empty() || seen.contains(&mount) {
            continue;
        }
        if seen.len() >= MOUNTS_MAX {
            return;
        }
        for (name, kib) in [
            ("filesystem_size_bytes", size),
            ("filesystem_avail_bytes", available),
        ] {
            readings.push(Reading::new(name, kib * 1024.0, "By").label("mount", &mount));
        }
        seen.push(mount);
    }
}

/// nvidia-smi: index, name, utilization %, memory MiB, temperature C, power W; `[N/A]` where unknown.
fn gpus(lines: &[&str], readings: &mut Vec<Reading>, facts: &mut BTreeMap<String, Value>) {
    let mut count = 0_u32;
    for line in lines {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [index, model, utilization, memory, temperature, power] = fields[..] else {
            continue;
        };
        if index.parse::<u32>().is_err() {
            continue;
        }
        count += 1;
        facts.insert("gpu_model".to_owned(), json!(model));
        let table = [
            ("gpu_utilization_ratio", utilization, 0.01, "1"),
            ("gpu_memory_used_bytes", memory, 1_048_576.0, "By"),
            ("gpu_temperature_celsius", temperature, 1.0, "Cel"),
            ("gpu_power_watts", power, 1.0, "W"),
        ];
        for (name, text, scale, unit) in table {
            if let Ok(value) = text.parse::<f64>() {
                readings.push(Reading::new(name, value * scale, unit).label("gpu", index));
            }
        }
    }
    if count > 0 {
        facts.insert("gpus".to_owned(), json!(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(readings: &[Reading], name: &str, label: Option<&str>) -> Option<f64> {
        let found = readings
            .iter()
            .find(|r| r.name == name && label.is_none_or(|l| r.labels.values().any(|v| v == l)));
        found.map(|r| r.value)
    }

    #[test]
    fn recorded_hosts_are_understood() {
        // (file, os, os_version, kernel, cpus, load1, memory_total, avail of /)
        let table = [
            (
                include_str!("../../cases/observe-debian12.txt"),
                "debian",
                "12",
                "6.1.0-22-amd64",
                2,
                0.52,
                8_129_544.0,
                Some(30_404_920.0),
            ),
            (
                include_str!("../../cases/observe-rocky9.txt"),
                "rocky",
                "9.4",
                "5.14.0-427.13.1.el9_4.x86_64",
                64,
                12.07,
                527_915_128.0,
                Some(51_230_004.0),
            ),
            (
                include_str!("../../cases/observe-alpine.txt"),
                "alpine",
                "3.20.1",
                "6.6.36-0-virt",
                1,
                0.0,
                494_000.0,
                Some(700_000.0),
            ),
            (
                include_str!("../../cases/observe-old-kernel.txt"),
                "centos",
                "6",
                "2.6.32-754.el6.x86_64",
                4,
                1.5,
                3_921_112.0,
                None,
            ),
        ];
        for (text, os, version, kernel, cpus, load1, total, avail) in table {
            let (readings, facts) = parse(text);
            assert_eq!(facts["os"], os);
            assert_eq!(facts["os_version"], version);
            assert_eq!(facts["kernel"], kernel);
            assert_eq!(facts["cpus"], cpus);
            assert_eq!(reading(&readings, "load1", None), Some(load1), "{os}");
            let memory = reading(&readings, "memory_total_bytes", None);
            assert_eq!(memory, Some(total * 1024.0), "{os}");
            assert!(reading(&readings, "memory_available_bytes", None) > Some(0.0));
            let free = reading(&readings, "filesystem_avail_bytes", Some("/"));
            assert_eq!(free, avail.map(|a| a * 1024.0), "{os}");
            assert!(reading(&readings, "filesystem_size_bytes", Some("/run")).is_none());
        }
    }

    #[test]
    fn a_gpu_node_has_its_gpus() {
        let (readings, facts) = parse(include_str!("../../cases/observe-rocky9.txt"));
        assert_eq!(
            (&facts["gpus"], &facts["gpu_model"]),
            (&json!(2), &json!("NVIDIA H100 80GB HBM3"))
        );
        assert_eq!(
            reading(&readings, "gpu_utilization_ratio", Some("0")),
            Some(0.97)
        );
        assert_eq!(
            reading(&readings, "gpu_temperature_celsius", Some("1")),
            Some(41.0)
        );
        // "[N/A]" is no reading.
        assert_eq!(reading(&readings, "gpu_power_watts", Some("1")), None);
        assert_eq!(facts["vendor"], "Supermicro");
        assert_eq!(facts["addresses"], json!(["10.1.2.3", "fd00::3"]));
    }

    #[test]
    fn nonsense_gives_nothing_and_noise_is_skipped() {
        for text in [
            "",
            "@@",
            "@@df\nx y z\n@@loadavg\nabc",
            "\u{0}@@@@@@begin\n@@meminfo\n:::",
        ] {
            assert_eq!(parse(text), (Vec::new(), BTreeMap::new()), "{text:?}");
        }
        let noisy = "Welcome!\n@@hostname\nliar\n@@begin\n@@hostname\nh1\n";
        assert_eq!(parse(noisy).1["hostname"], "h1");
    }

    #[test]
    fn load_is_read_from_either_form() {
        let table = [
            ("0.52 0.58 0.59 1/389 1234", vec![0.52, 0.58, 0.59]),
            (
                " 10:00 up 1 day, load average: 1.00, 0.50, 0.25",
                vec![1.0, 0.5, 0.25],
            ),
            ("up 3 days, load averages: 1.1 2.2 3.3", vec![1.1, 2.2, 3.3]),
            ("x", vec![]),
        ];
        for (line, wanted) in table {
            assert_eq!(loads(line), wanted, "{line}");
        }
    }
}
