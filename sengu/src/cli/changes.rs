//! Following records as they change, through restarts of the server. It waits for the server's events; it never polls.

use crate::client::{Client, ClientError, Events};
use anyhow::bail;
use serde_json::Value;
use std::time::Duration;

/// Between two attempts to open a stream again.
const REOPEN: Duration = Duration::from_secs(1);
/// In a row, before the server is given up.
const REOPENS_MAX: u32 = 60;

#[derive(Debug)]
pub enum Change {
    Put(Value),
    Deleted(Value),
}

/// Changes of records of some kinds after a revision.
pub struct Changes {
    client: Client,
    /// Comma-separated.
    kinds: String,
    from: u64,
    stream: Option<Events>,
    reopened: u32,
}

impl Changes {
    pub fn new(client: &Client, kinds: &str, from: u64) -> Changes {
        Changes {
            client: client.clone(),
            kinds: kinds.to_owned(),
            from,
            stream: None,
            reopened: 0,
        }
    }

    /// The next change. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// When the server refuses, stays away for a minute, or no longer keeps what changed.
    pub async fn next(&mut self) -> anyhow::Result<Change> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.open().await?;
                continue;
            };
            let event = match stream.next().await {
                Ok(Some(event)) => event,
                Ok(None) | Err(ClientError::Broken { .. }) => {
                    self.stream = None;
                    tokio::time::sleep(REOPEN).await;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            self.reopened = 0;
            if event.name == "gone" {
                bail!(
                    "the changes since revision {} are no longer kept: run this again",
                    self.from
                );
            }
            let revision = event.id.as_deref().and_then(|id| id.parse().ok());
            self.from = revision.unwrap_or(self.from);
            let Ok(record) = serde_json::from_str::<Value>(&event.data) else {
                continue;
            };
            return Ok(if event.name == "delete" {
                Change::Deleted(record)
            } else {
                Change::Put(record)
            });
        }
    }

    async fn open(&mut self) -> anyhow::Result<()> {
        let revision = self.from.to_string();
        let query = [("kinds", self.kinds.as_str()), ("from", revision.as_str())];
        match self.client.events("/v1/watch", &query).await {
            Ok(stream) => self.stream = Some(stream),
            Err(e) if e.passing() && self.reopened < REOPENS_MAX => {
                self.reopened += 1;
                tokio::time::sleep(REOPEN).await;
                self.client.refresh();
            }
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }
}
