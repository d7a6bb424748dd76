//! What moves all the time (slots, instances, counters) is not written to records; people want to see it all the same.
//!
//! Only what is printed for people is completed here. `-o json` and kin give records as they are.

use super::nouns::Noun;
use super::views::{number, pools, text};
use crate::client::{Client, Result};
use serde_json::{Value, json};

/// Completes Wee and Worker records from what the execution environments say now.
///
/// # Errors
/// When the server does not answer.
pub async fn refresh(client: &Client, noun: Noun, items: &mut [Value]) -> Result<()> {
    if items.is_empty() || !matches!(noun, Noun::Wee | Noun::Worker) {
        return Ok(());
    }
    let top: Value = client.get("/v1/top", &[]).await?;
    let wees = top
        .get("wees")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for item in items {
        match noun {
            Noun::Wee => wee(item, wees),
            _ => worker(item, wees),
        }
    }
    Ok(())
}

fn wee(item: &mut Value, wees: &[Value]) {
    let name = text(item, "/metadata/name");
    if let Some(now) = wees.iter().find(|w| text(w, "/name") == name) {
        item["status"] = now.clone();
    }
}

/// Sums up the pools of this kind over all execution environments.
fn worker(item: &mut Value, wees: &[Value]) {
    let name = text(item, "/metadata/name");
    let mine: Vec<&Value> = wees
        .iter()
        .flat_map(pools)
        .filter(|p| text(p, "/kind") == name)
        .collect();
    if mine.is_empty() || !item.get("status").is_some_and(Value::is_object) {
        return;
    }
    for key in ["instances", "restarts", "ended", "failed"] {
        let sum: u64 = mine.iter().map(|p| number(p, &format!("/{key}"))).sum();
        item["status"][key] = json!(sum);
    }
    let complaints = mine
        .iter()
        .filter_map(|p| p.get("complaints")?.as_array())
        .flatten();
    item["status"]["complaints"] = complaints.cloned().collect();
    if let Some(broken) = mine
        .iter()
        .find_map(|p| p.get("broken").filter(|b| b.is_string()))
    {
        item["status"]["broken"] = broken.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_the_sum_of_its_pools() {
        let wees = [
            json!({"name":"a","pools":[{"kind":"ssh","instances":1,"complaints":["x"]},{"kind":"snmp","instances":9}]}),
            json!({"name":"b","pools":[{"kind":"ssh","instances":2,"broken":"no program"}]}),
        ];
        let mut item = json!({"metadata":{"name":"ssh"},"status":{"digest":"d"}});
        worker(&mut item, &wees);
        let status = &item["status"];
        assert_eq!(
            (&status["instances"], &status["broken"]),
            (&json!(3), &json!("no program"))
        );
        assert_eq!(
            (&status["complaints"], &status["digest"]),
            (&json!(["x"]), &json!("d"))
        );
    }
}
