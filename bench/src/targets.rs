//! The fleets that the suites drive, as the YAML that a user would apply.

use crate::server::Server;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Documents applied by one request while a suite is set up.
const SET: usize = 10_000;

pub fn name(number: usize) -> String {
    format!("t{number:06}")
}

/// Echo targets numbered from 0, in racks of 40 and in ten rows.
pub fn echo_yaml(numbers: std::ops::Range<usize>) -> String {
    let mut yaml = String::new();
    for n in numbers {
        let (rack, row) = (n / 40, n % 10);
        let _ = write!(
            yaml,
            "---\napiVersion: sengu/v1\nkind: Target\nmetadata:\n  name: {}\n  labels:\n    rack: r{rack}\n    row: w{row}\n\
             spec:\n  kind: echo\n  address: 127.0.0.1\n",
            name(n)
        );
    }
    yaml
}

/// Applies `count` echo targets.
pub fn apply_echo(server: &Server, count: usize) -> Result<()> {
    let mut client = server.client()?;
    for start in (0..count).step_by(SET) {
        let yaml = echo_yaml(start..(start + SET).min(count));
        client
            .call("POST", "/v1/apply", "application/yaml", yaml.as_bytes())
            .context("apply the targets")?;
    }
    Ok(())
}

pub fn secret(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "sengu/v1", "kind": "Secret", "metadata": {"name": name}, "spec": {"data": data}})
}

pub fn target(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "sengu/v1", "kind": "Target", "metadata": {"name": name}, "spec": spec})
}

/// Applies records; JSON is YAML.
pub fn apply(server: &Server, records: &[Value]) -> Result<()> {
    let documents: Vec<String> = records.iter().map(|r| format!("---\n{r}\n")).collect();
    let yaml = documents.concat();
    let mut client = server.client()?;
    client
        .call("POST", "/v1/apply", "application/yaml", yaml.as_bytes())
        .context("apply the records")?;
    Ok(())
}
