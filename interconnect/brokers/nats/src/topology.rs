//! The two streams of an installation: made when they are not there, looked at when they are. It never changes one that
//! exists: somebody may have given it replicas, placement or limits of their own. What would break the contract is
//! refused.

use crate::conn::{Conn, code};
use crate::error::NatsError;
use crate::limits::{
    ACK_WAIT, CONSUMER_IDLE_MAX, DEPTH_MAX, DUPLICATES_FOR, MESSAGE_AGE_MAX, PULLS_WAITING_MAX,
};
use crate::names::Names;
use sengu_interconnect::Queue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// What matters of a stream's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamConfig {
    pub name: String,
    #[serde(default)]
    pub subjects: Vec<String>,
    pub retention: String,
    pub storage: String,
    #[serde(default)]
    pub discard: String,
    #[serde(default)]
    pub discard_new_per_subject: bool,
    #[serde(default)]
    pub max_msgs_per_subject: i64,
    /// Nanoseconds; 0 is for ever.
    #[serde(default)]
    pub max_age: u64,
    #[serde(default)]
    pub duplicate_window: u64,
    /// A stream of a key-value bucket has these.
    #[serde(default)]
    pub allow_rollup_hdrs: bool,
    #[serde(default)]
    pub deny_delete: bool,
    #[serde(default)]
    pub allow_direct: bool,
}

#[derive(Debug, Deserialize)]
pub struct StreamInfo {
    pub config: StreamConfig,
    pub created: String,
    #[serde(default)]
    pub state: StreamState,
}

#[derive(Debug, Default, Deserialize)]
pub struct StreamState {
    #[serde(default)]
    pub messages: u64,
    /// Messages of each subject that was asked for.
    #[serde(default)]
    pub subjects: Option<HashMap<String, u64>>,
}

#[derive(Debug, Deserialize)]
pub struct ConsumerInfo {
    #[serde(default)]
    pub num_pending: u64,
}

pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// All queues.
pub fn work(names: &Names) -> StreamConfig {
    StreamConfig {
        name: names.work_stream(),
        subjects: vec![names.work_subjects()],
        retention: "workqueue".to_owned(),
        storage: "file".to_owned(),
        discard: "new".to_owned(),
        discard_new_per_subject: true,
        max_msgs_per_subject: DEPTH_MAX as i64,
        max_age: nanos(MESSAGE_AGE_MAX),
        duplicate_window: nanos(DUPLICATES_FOR),
        allow_rollup_hdrs: false,
        deny_delete: false,
        allow_direct: false,
    }
}

/// The directory, as a key-value bucket that `nats kv` understands.
pub fn bucket(names: &Names) -> StreamConfig {
    StreamConfig {
        name: names.bucket_stream(),
        subjects: vec![names.bucket_subjects()],
        retention: "limits".to_owned(),
        storage: "file".to_owned(),
        discard: "new".to_owned(),
        discard_new_per_subject: false,
        max_msgs_per_subject: 1,
        max_age: 0,
        duplicate_window: nanos(DUPLICATES_FOR),
        allow_rollup_hdrs: true,
        deny_delete: true,
        allow_direct: true,
    }
}

/// # Errors
/// When the contract cannot be kept with what is there.
pub fn compare(wanted: &StreamConfig, found: &StreamConfig) -> Result<(), NatsError> {
    let pairs = [
        ("retention", &found.retention, &wanted.retention),
        ("discard", &found.discard, &wanted.discard),
    ];
    for (what, has, must) in pairs {
        if has != must {
            return Err(unlike(&wanted.name, what, has, must));
        }
    }
    if found.subjects != wanted.subjects {
        let (has, must) = (found.subjects.join(" "), wanted.subjects.join(" "));
        return Err(unlike(&wanted.name, "subjects", &has, &must));
    }
    if wanted.retention == "limits" && found.max_msgs_per_subject != wanted.max_msgs_per_subject {
        let (has, must) = (found.max_msgs_per_subject, wanted.max_msgs_per_subject);
        let what = "max_msgs_per_subject";
        return Err(unlike(
            &wanted.name,
            what,
            &has.to_string(),
            &must.to_string(),
        ));
    }
    Ok(())
}

fn unlike(stream: &str, what: &str, found: &str, wanted: &str) -> NatsError {
    NatsError::Stream {
        stream: stream.to_owned(),
        found: format!("{what} {found}"),
        wanted: format!("{what} {wanted}"),
    }
}

/// The stream as it is; None when there is none.
pub async fn look(conn: &Conn, stream: &str) -> Result<Option<StreamInfo>, NatsError> {
    match conn.api(&format!("STREAM.INFO.{stream}"), &json!({})).await {
        Ok(info) => Ok(Some(info)),
        Err(NatsError::Refused { code, .. }) if code == code::STREAM_NOT_FOUND => Ok(None),
        Err(e) => Err(e),
    }
}

async fn ensure(conn: &Conn, wanted: &StreamConfig) -> Result<StreamInfo, NatsError> {
    let mut found = look(conn, &wanted.name).await?;
    if found.is_none() {
        let subject = format!("STREAM.CREATE.{}", wanted.name);
        match conn.api::<StreamInfo>(&subject, wanted).await {
            Ok(made) => {
                tracing::info!(stream = wanted.name, "made");
                return Ok(made);
            }
            // Another one was faster, with a configuration of its own.
            Err(NatsError::Refused { code, .. }) if code == code::STREAM_NAME_IN_USE => {
                found = look(conn, &wanted.name).await?;
            }
            Err(e) => return Err(e),
        }
    }
    match found {
        Some(info) => compare(wanted, &info.config).map(|()| info),
        None => Err(NatsError::Refused {
            what: format!("STREAM.INFO.{}", wanted.name),
            code: code::STREAM_NOT_FOUND,
            description: "made and gone again".to_owned(),
        }),
    }
}

/// Makes what is not there; gives when the directory was made, which tells whether it is still the same one.
pub async fn ensure_all(conn: &Conn) -> Result<String, NatsError> {
    ensure(conn, &work(&conn.names)).await?;
    let bucket = ensure(conn, &bucket(&conn.names)).await?;
    Ok(bucket.created)
}

/// Makes the consumer of a queue, or finds it.
pub async fn ensure_consumer(conn: &Conn, queue: &Queue) -> Result<(), NatsError> {
    let (stream, consumer) = (conn.names.work_stream(), conn.names.consumer(queue));
    let question = json!({
        "stream_name": stream,
        "config": {
            "durable_name": consumer,
            "filter_subject": conn.names.subject(queue),
            "deliver_policy": "all",
            "replay_policy": "instant",
            "ack_policy": "explicit",
            "ack_wait": nanos(ACK_WAIT),
            // Those that take part put aside what comes too often: only they can say so.
            "max_deliver": -1,
            "max_ack_pending": DEPTH_MAX,
            "max_waiting": PULLS_WAITING_MAX,
            "inactive_threshold": nanos(CONSUMER_IDLE_MAX),
        },
    });
    let subject = format!("CONSUMER.DURABLE.CREATE.{stream}.{consumer}");
    // The semaphore is never closed.
    let _making = conn.making.acquire().await;
    conn.api::<Value>(&subject, &question).await.map(|_| ())
}

/// Messages waiting in a queue, whether or not anybody ever subscribed to it.
pub async fn depth(conn: &Conn, queue: &Queue) -> Result<u64, NatsError> {
    let stream = conn.names.work_stream();
    let subject = format!("CONSUMER.INFO.{stream}.{}", conn.names.consumer(queue));
    match conn.api::<ConsumerInfo>(&subject, &json!({})).await {
        Ok(info) => return Ok(info.num_pending),
        Err(NatsError::Refused { code, .. }) if code == code::CONSUMER_NOT_FOUND => {}
        Err(e) => return Err(e),
    }
    let filter = conn.names.subject(queue);
    let question = json!({ "subjects_filter": filter });
    let info: StreamInfo = conn
        .api(&format!("STREAM.INFO.{stream}"), &question)
        .await?;
    Ok(info
        .state
        .subjects
        .and_then(|all| all.get(&filter).copied())
        .unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_the_contract_is_refused_and_the_rest_is_the_operators() {
        let wanted = work(&Names::new("lab"));
        let change = |change: fn(&mut StreamConfig)| {
            let mut found = wanted.clone();
            change(&mut found);
            compare(&wanted, &found).map_err(|e| e.to_string())
        };
        assert_eq!(change(|_| {}), Ok(()));
        assert_eq!(change(|c| c.max_age = 0), Ok(()));
        assert_eq!(change(|c| c.max_msgs_per_subject = 7), Ok(()));
        for (changed, part) in [
            (
                change(|c| c.retention = "limits".into()),
                "retention limits",
            ),
            (change(|c| c.discard = "old".into()), "discard old"),
            (change(|c| c.subjects = vec![">".into()]), "subjects >"),
        ] {
            assert!(changed.unwrap_err().contains(part));
        }
        let wanted = bucket(&Names::new("lab"));
        let mut found = wanted.clone();
        found.max_msgs_per_subject = 5;
        assert!(compare(&wanted, &found).is_err());
    }
}
