//! Twins: a worker's own image stands in for its targets, speaking their real protocol on loopback, with faults.
//!
//! `<worker> twin --count N [--prefix NAME] [--seed N] [--latency-ms N] [--label k=v]...` prints one JSON line per record to
//! apply (`{"type":"record","record":{..}}`), then `{"type":"ready","targets":N}`, and lives until its stdin closes.
//! Lines on stdin: `{"type":"fault","targets":"glob","fault":"slow",...}`, `{"type":"clear"}`, `{"type":"report"}`;
//! each is answered by one line (`{"type":"ok"}`, `{"type":"error","message":..}`, `{"type":"report","targets":{..}}`).

use sengu_model::record::Record;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, future::Future, io::Write, process::ExitCode};
use tokio::io::{AsyncBufReadExt, BufReader};

#[derive(Debug, Clone)]
pub struct TwinOptions {
    /// Targets to play.
    pub count: u32,
    /// Names are `<prefix>-<number>`; also the name of the Secret.
    pub prefix: String,
    /// The same seed gives the same fleet.
    pub seed: u64,
    /// Added to every answer, in milliseconds.
    pub latency_ms: u64,
    /// Labels of every Target record.
    pub labels: BTreeMap<String, String>,
}

/// Racks that stand in one row.
const RACKS_PER_ROW: u32 = 10;

impl TwinOptions {
    /// Labels of a target in that rack, from 0, and at that height, from 1 to 42. What was named by whoever asked stays.
    pub fn placed(&self, rack: u32, unit: u32) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        for (key, value) in [
            ("row", format!("w{}", rack / RACKS_PER_ROW + 1)),
            ("rack", format!("r{:02}", rack + 1)),
            ("unit", unit.to_string()),
        ] {
            labels.entry(key.to_owned()).or_insert(value);
        }
        labels
    }
}

/// A fault to inject into the targets whose name matches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// Glob over target names.
    pub targets: String,
    /// By kind; all know `slow`, `refuse`, `hang`, `cut`, `garbage`.
    pub fault: String,
    /// For `slow`: delay in milliseconds; for `busy`: retry-after.
    #[serde(default)]
    pub ms: Option<u64>,
    /// Ends after this many answers per target; none = until cleared.
    #[serde(default)]
    pub count: Option<u32>,
}

/// What a twin saw of one target: the oracle of tests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TwinTarget {
    /// How often each effect really took place (`power.cycle`, `power.off`, `exec`).
    pub effects: BTreeMap<String, u64>,
    pub requests: u64,
    pub sessions_open: u32,
    pub sessions_max: u32,
    /// Attempts with wrong credentials.
    pub auth_failures: u64,
}

/// A fleet of stand-ins in this process.
pub trait Twin: Send + Sync + Sized + 'static {
    /// Starts listening on loopback; gives the records (Secret, Targets) that describe the fleet.
    fn start(
        options: TwinOptions,
    ) -> impl Future<Output = Result<(Self, Vec<Record>), String>> + Send;

    /// # Errors
    /// When the fault is not known to this kind.
    fn fault(&self, fault: Fault) -> Result<(), String>;
    fn clear(&self);
    fn report(&self) -> BTreeMap<String, TwinTarget>;
}

/// For kinds without a twin.
pub struct NoTwin;

impl Twin for NoTwin {
    async fn start(_: TwinOptions) -> Result<(Self, Vec<Record>), String> {
        Err("this kind has no twin".to_owned())
    }
    fn fault(&self, _: Fault) -> Result<(), String> {
        Err("this kind has no twin".to_owned())
    }
    fn clear(&self) {}
    fn report(&self) -> BTreeMap<String, TwinTarget> {
        BTreeMap::new()
    }
}

impl TwinOptions {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = TwinOptions {
            count: 1,
            prefix: "twin".to_owned(),
            seed: 1,
            latency_ms: 0,
            labels: BTreeMap::new(),
        };
        while let Some(flag) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{flag} wants a value"))?;
            let number = || {
                value
                    .parse::<u64>()
                    .map_err(|_| format!("{flag} wants a number"))
            };
            match flag.as_str() {
                "--count" => options.count = u32::try_from(number()?).map_err(|e| e.to_string())?,
                "--prefix" => options.prefix = value,
                "--seed" => options.seed = number()?,
                "--latency-ms" => options.latency_ms = number()?,
                "--label" => {
                    let (k, v) = value.split_once('=').ok_or("--label wants key=value")?;
                    options.labels.insert(k.to_owned(), v.to_owned());
                }
                _ => return Err(format!("unknown flag {flag}")),
            }
        }
        Ok(options)
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Request {
    Fault(Fault),
    Clear,
    Report,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer<'a> {
    Record {
        record: &'a Record,
    },
    Ready {
        targets: u32,
    },
    Ok,
    Error {
        message: String,
    },
    Report {
        targets: BTreeMap<String, TwinTarget>,
    },
}

fn say(answer: &Answer) -> bool {
    let Ok(mut line) = serde_json::to_vec(answer) else {
        return false;
    };
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(&line)
        .and_then(|()| stdout.flush())
        .is_ok()
}

pub(crate) fn serve<T: Twin>(options: TwinOptions) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("start runtime: {e}");
            return ExitCode::from(2);
        }
    };
    let count = options.count;
    let code = runtime.block_on(async {
        let (twin, records) = match T::start(options).await {
            Ok(started) => started,
            Err(e) => {
                eprintln!("start twin: {e}");
                return ExitCode::from(2);
            }
        };
        let told = records.iter().all(|record| say(&Answer::Record { record }));
        if !told || !say(&Answer::Ready { targets: count }) {
            return ExitCode::from(2);
        }
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = match serde_json::from_str(&line) {
                Ok(Request::Fault(fault)) => match twin.fault(fault) {
                    Ok(()) => Answer::Ok,
                    Err(message) => Answer::Error { message },
                },
                Ok(Request::Clear) => {
                    twin.clear();
                    Answer::Ok
                }
                Ok(Request::Report) => Answer::Report {
                    targets: twin.report(),
                },
                Err(e) => Answer::Error {
                    message: e.to_string(),
                },
            };
            if !say(&answer) {
                break;
            }
        }
        ExitCode::SUCCESS
    });
    runtime.shutdown_background();
    code
}
