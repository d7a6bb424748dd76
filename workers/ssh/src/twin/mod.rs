//! The twin: hosts that are not there, each behind its own sshd-like listener on loopback.
//!
//! It knows the worker's own scripts and a handful of commands; it runs nothing and writes nothing on the machine it
//! lives on.

mod faults;
mod machine;
mod server;

use faults::Kind;
use machine::Machine;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{PrivateKey, PublicKey};
use sengu_sdk::{API_VERSION, Fault, Metadata, Record, Twin, TwinOptions, TwinTarget};
use serde_json::json;
use server::{Keys, Played};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

const USERNAME: &str = "operator";
const HOSTS_PER_RACK: u32 = 20;
/// Ports of loopback do not reach much further.
const HOSTS_MAX: u32 = 20_000;

pub struct Fleet {
    hosts: Vec<Arc<Played>>,
}

impl Twin for Fleet {
    async fn start(options: TwinOptions) -> Result<(Self, Vec<Record>), String> {
        if options.count > HOSTS_MAX {
            return Err(format!("at most {HOSTS_MAX} hosts"));
        }
        raise_open_files(u64::from(options.count) * 4 + 256);
        let login = key(options.seed, "login")?;
        let host_key = key(options.seed, "host")?;
        let password = password(options.seed);
        let keys = Arc::new(Keys {
            username: USERNAME.to_owned(),
            password: password.clone(),
            login: login.public_key().clone(),
            configs: server::configs(&host_key, &key(options.seed, "impostor")?),
        });
        let private = login
            .to_openssh(LineEnding::LF)
            .map_err(|e| format!("login key: {e}"))?;
        let secret = record(
            "Secret",
            &options.prefix,
            BTreeMap::new(),
            json!({ "data": {
                "username": USERNAME,
                "password": password,
                "privateKey": private.as_str(),
            }}),
        );
        let mut records = vec![secret];
        let mut hosts = Vec::new();
        let width = options.count.to_string().len();
        let pin = pin(host_key.public_key())?;
        for n in 1..=options.count {
            let name = format!("{}-{n:0width$}", options.prefix);
            let machine = Machine::new(&name, options.seed, n);
            let (played, port) = server::play(machine, &keys, options.latency_ms)
                .await
                .map_err(|e| format!("listen for {name}: {e}"))?;
            // Where the BMC of the same machine would stand, too.
            let (rack, place) = ((n - 1) / HOSTS_PER_RACK, (n - 1) % HOSTS_PER_RACK);
            let labels = options.placed(rack, 2 * place + 2);
            records.push(record(
                "Target",
                &name,
                labels,
                json!({
                    "kind": "ssh",
                    "address": format!("127.0.0.1:{port}"),
                    "secret": options.prefix,
                    "identity": { "hostKey": pin },
                }),
            ));
            hosts.push(played);
        }
        Ok((Fleet { hosts }, records))
    }

    fn fault(&self, fault: Fault) -> Result<(), String> {
        let kind = Kind::parse(&fault.fault)?;
        for host in &self.hosts {
            if glob(fault.targets.as_bytes(), host.name().as_bytes()) {
                host.faults.set(kind, fault.ms, fault.count);
                if kind.strikes_at_the_door() {
                    host.cut_idle();
                }
            }
        }
        Ok(())
    }

    fn clear(&self) {
        for host in &self.hosts {
            host.faults.clear();
        }
    }

    fn report(&self) -> BTreeMap<String, TwinTarget> {
        let one = |host: &Arc<Played>| (host.name().to_owned(), host.report());
        self.hosts.iter().map(one).collect()
    }
}

fn record(
    kind: &str,
    name: &str,
    labels: BTreeMap<String, String>,
    spec: serde_json::Value,
) -> Record {
    Record {
        api_version: API_VERSION.to_owned(),
        kind: kind.to_owned(),
        metadata: Metadata {
            name: name.to_owned(),
            labels,
            ..Metadata::default()
        },
        spec,
        status: serde_json::Value::Null,
    }
}

/// Keys follow from the seed, so that records stay valid over restarts of a twin. They guard nothing.
fn key(seed: u64, what: &str) -> Result<PrivateKey, String> {
    let mut digest = Sha256::new();
    digest.update(seed.to_le_bytes());
    digest.update(what);
    let pair = Ed25519Keypair::from_seed(&digest.finalize().into());
    PrivateKey::new(KeypairData::from(pair), "twin").map_err(|e| format!("key: {e}"))
}

fn password(seed: u64) -> String {
    let digest = Sha256::digest(format!("password {seed}"));
    let hex: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("twin-{hex}")
}

fn pin(key: &PublicKey) -> Result<String, String> {
    key.to_openssh().map_err(|e| format!("host key: {e}"))
}

/// As far as the system lets us: what is missing shows as a refused connection, not as a wrong answer.
fn raise_open_files(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(wanted, |most| wanted.min(most));
    if limit.current.is_some_and(|now| now < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// `*` and `?`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|c| *c == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names() {
        let table = [
            ("*", "x", true),
            ("twin-1", "twin-1", true),
            ("twin-1", "twin-10", false),
            ("twin-?", "twin-7", true),
            ("*-0?", "ssh-07", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "ac", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, wanted) in table {
            let matched = glob(pattern.as_bytes(), text.as_bytes());
            assert_eq!(matched, wanted, "{pattern} {text}");
        }
    }
}
