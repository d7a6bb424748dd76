//! `sengu config check`: whether this program could run with its configuration, and what keeps it from it. It changes
//! nothing, here or there.

use super::Context;
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Cell, FormatArg, Paint, Table, Tone};
use crate::up::{interconnect, store};
use sengu_logic::api::serve::{Tls, may_listen};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file [default: sengu.toml in the data directory]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: FormatArg,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Line {
    /// The part of the configuration.
    of: String,
    what: String,
    /// `good`, `poor` or `bad`.
    verdict: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Line {
    fn good(of: &str, what: &str, found: impl Into<String>) -> Line {
        Line {
            of: of.to_owned(),
            what: what.to_owned(),
            verdict: "good",
            found: found.into(),
            hint: None,
        }
    }

    fn bad(of: &str, what: &str, error: impl Into<anyhow::Error>) -> Line {
        Line {
            verdict: "bad",
            ..Line::good(of, what, format!("{:#}", error.into()))
        }
    }
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let path = args
        .config
        .clone()
        .unwrap_or_else(|| context.connect.data_dir().join("sengu.toml"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let lines = runtime.block_on(look(&path, args.config.is_some()));
    let bad = lines.iter().filter(|line| line.verdict == "bad").count();
    if args.output.format.for_people() {
        show(&lines);
        output::say(&match bad {
            0 => "sengu can run with this".to_owned(),
            n => output::count(n as u64, "thing") + " to mend",
        });
    } else {
        output::print_value(args.output.format, &lines)?;
    }
    Ok(if bad == 0 {
        Exit::Ok
    } else {
        Exit::NotAsWanted
    })
}

async fn look(path: &std::path::Path, must_exist: bool) -> Vec<Line> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = path.display().to_string();
    let read = Config::read(path, must_exist).and_then(|config| {
        config.check()?;
        Ok(config)
    });
    let config = match read {
        Ok(config) => config,
        Err(error) => return vec![Line::bad("file", "read", error)],
    };
    let found = match path.exists() {
        true => file,
        false => format!("{file} is not there: defaults"),
    };
    let mut lines = vec![Line::good("file", "read", found)];
    listeners(&config, &mut lines).await;
    match &config.store {
        None => lines.push(Line::good(
            "store",
            "engine",
            "SQLite in the data directory",
        )),
        Some(config) => match store::settings(config) {
            Ok(settings) => {
                let of = settings.place();
                for check in crate::drivers::stores::postgres::check(&settings).await {
                    use sengu_store::Verdict as V;
                    let (verdict, found, hint) = match check.verdict {
                        V::Good(found) => ("good", found, None),
                        V::Poor(found) => ("poor", found, None),
                        V::Bad { found, hint } => ("bad", found, Some(hint)),
                    };
                    lines.push(Line {
                        of: of.clone(),
                        what: check.what.to_owned(),
                        verdict,
                        found,
                        hint,
                    });
                }
            }
            Err(error) => lines.push(Line::bad("store", "settings", error)),
        },
    }
    match &config.interconnect {
        None => lines.push(Line::good("interconnect", "broker", "embedded")),
        Some(config) => match interconnect::Addresses::read(config) {
            Ok(addresses) => {
                for (of, findings) in addresses.check().await {
                    for finding in findings {
                        use sengu_interconnect::contact::Verdict as V;
                        let (verdict, found, hint) = match finding.verdict {
                            V::Good(found) => ("good", found, None),
                            V::Poor(found) => ("poor", found, None),
                            V::Bad { found, hint } => ("bad", found, Some(hint)),
                        };
                        lines.push(Line {
                            of: of.clone(),
                            what: finding.what.to_owned(),
                            verdict,
                            found,
                            hint,
                        });
                    }
                }
            }
            Err(error) => lines.push(Line::bad("interconnect", "address", error)),
        },
    }
    lines
}

async fn listeners(config: &Config, lines: &mut Vec<Line>) {
    if let Some(files) = config.tls_files() {
        lines.push(match Tls::load(&files).await {
            Ok(_) => Line::good("tls", "certificate and key", "fit each other"),
            Err(error) => Line::bad("tls", "certificate and key", error),
        });
    }
    let named = [
        ("listen", config.listen),
        ("listen_join", config.listen_join),
        ("listen_mqtt", config.listen_mqtt),
    ];
    for (key, address) in named {
        let Some(address) = address else { continue };
        lines.push(match may_listen(address, config.tls.is_some()) {
            Ok(()) => Line::good(key, "address", address.to_string()),
            Err(error) => Line::bad(key, "address", error),
        });
    }
}

fn show(lines: &[Line]) {
    let mut table = Table::new(&["OF", "WHAT", "VERDICT", "FOUND"]);
    for line in lines {
        let tone = match line.verdict {
            "good" => Tone::Good,
            "poor" => Tone::Warn,
            _ => Tone::Bad,
        };
        let found = match &line.hint {
            Some(hint) => format!("{}; {hint}", line.found),
            None => line.found.clone(),
        };
        table.row(vec![
            Cell::new(&line.of),
            Cell::new(&line.what),
            Cell::new(line.verdict).tone(tone),
            Cell::new(found),
        ]);
    }
    output::print(&table.take(Paint::stdout()));
}
