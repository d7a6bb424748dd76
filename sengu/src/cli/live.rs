//! What moves all the time (slots, instances) is not written to records; people want to see it all the same.
//!
//! Only what is printed for people is completed here. `-o json` and kin give records as they are.

use super::nouns::Noun;
use super::views::text;
use crate::client::{Client, Result};
use serde_json::Value;

/// Completes Wee records from what the execution environments say now.
///
/// # Errors
/// When the server does not answer.
pub async fn refresh(client: &Client, noun: Noun, items: &mut [Value]) -> Result<()> {
    if items.is_empty() || noun != Noun::Wee {
        return Ok(());
    }
    let top: Value = client.get("/v1/top", &[]).await?;
    let wees = top.get("wees").and_then(Value::as_array);
    let wees = wees.map(Vec::as_slice).unwrap_or_default();
    for item in items {
        let name = text(item, "/metadata/name");
        if let Some(now) = wees.iter().find(|w| text(w, "/name") == name) {
            item["status"] = now.clone();
        }
    }
    Ok(())
}
