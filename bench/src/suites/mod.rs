//! One file per suite: what it loads, and which figures it gives.

mod away;
mod backlog;
mod bad;
mod engines;
mod fleet;
mod flips;
mod idle;
mod kinds;
mod latency;
mod pipeline;
mod redfish;
mod runtimes;
mod snmp;
mod ssh;
mod sweep;
mod takeover;

use crate::Bench;
use crate::report::Report;
use anyhow::Result;

pub struct Suite {
    pub name: &'static str,
    pub run: fn(&Bench, &mut Report) -> Result<()>,
}

pub const ALL: [Suite; 15] = [
    Suite {
        name: "pipeline",
        run: pipeline::run,
    },
    Suite {
        name: "engines",
        run: engines::run,
    },
    Suite {
        name: "away",
        run: away::run,
    },
    Suite {
        name: "takeover",
        run: takeover::run,
    },
    Suite {
        name: "latency",
        run: latency::run,
    },
    Suite {
        name: "backlog",
        run: backlog::run,
    },
    Suite {
        name: "fleet",
        run: fleet::run,
    },
    Suite {
        name: "idle",
        run: idle::run,
    },
    Suite {
        name: "flips",
        run: flips::run,
    },
    Suite {
        name: "sweep-bad",
        run: bad::run,
    },
    Suite {
        name: "kinds",
        run: kinds::run,
    },
    Suite {
        name: "runtimes",
        run: runtimes::run,
    },
    Suite {
        name: "ssh",
        run: ssh::run,
    },
    Suite {
        name: "snmp",
        run: snmp::run,
    },
    Suite {
        name: "redfish",
        run: redfish::run,
    },
];
