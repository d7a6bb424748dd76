//! Queues as RabbitMQ has them: their names, and the arguments that all ends must agree on.

use crate::error::{
    AmqpError, NOT_FOUND, PRECONDITION_FAILED, RESOURCE_LOCKED, of_channel, plain, said,
};
use crate::limits::{DELIVERIES_MAX, DEPTH_MAX, NAME_BYTES_MAX, REPLY_MAX};
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use sengu_interconnect::Queue;
use std::time::Duration;
use tokio::time::timeout;

/// # Errors
/// When it is longer than the protocol allows.
pub fn name(prefix: &str, queue: &Queue) -> Result<ShortString, AmqpError> {
    let name = format!("{prefix}.{queue}");
    if name.len() > NAME_BYTES_MAX {
        return Err(AmqpError::Name(name));
    }
    ShortString::try_new(name.as_str()).map_err(|_| AmqpError::Name(name))
}

/// Those that belong to a version or a WEE go when nobody uses them; others are there for good.
fn is_of_somebody(queue: &Queue) -> bool {
    let name = queue.as_str();
    name.starts_with("task.") || name.starts_with("wee.")
}

/// What RabbitMQ checks when it is declared again: a change here needs queues of another name.
pub fn arguments(prefix: &str, queue: &Queue, unused_max: Duration) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let number = |n: u64| AMQPValue::LongLongInt(i64::try_from(n).unwrap_or(i64::MAX));
    let mut arguments = FieldTable::default();
    let mut set = |key: &str, value| {
        arguments.insert(key.into(), value);
    };
    set("x-queue-type", text("quorum"));
    set("x-max-length", number(DEPTH_MAX as u64));
    // A full queue says so. It is also what lets a poisonous message wait for room in the parked queue.
    set("x-overflow", text("reject-publish"));
    if *queue != Queue::parked() {
        set("x-delivery-limit", number(u64::from(DELIVERIES_MAX)));
        set("x-dead-letter-exchange", text(""));
        let parked = format!("{prefix}.{}", Queue::parked());
        set("x-dead-letter-routing-key", text(&parked));
        set("x-dead-letter-strategy", text("at-least-once"));
    }
    if is_of_somebody(queue) {
        let unused_max = u64::try_from(unused_max.as_millis()).unwrap_or(u64::MAX);
        set("x-expires", number(unused_max));
    }
    arguments
}

/// Messages waiting in the queue; `None` when it is not there. The channel is of no more use then, nor after an error.
///
/// # Errors
/// When the server does not say.
pub async fn depth(channel: &Channel, name: ShortString) -> Result<Option<u64>, AmqpError> {
    let options = QueueDeclareOptions::durable().passive();
    let declare = channel.queue_declare(name, options, FieldTable::default());
    match timeout(REPLY_MAX, declare).await {
        Ok(Ok(queue)) => Ok(Some(u64::from(queue.message_count()))),
        Ok(Err(e)) if matches!(said(&e), Some((NOT_FOUND, _))) => Ok(None),
        Ok(Err(e)) => Err(of_channel("ask for a queue", e)),
        Err(_) => Err(AmqpError::Late("ask for a queue")),
    }
}

/// Makes the queue unless it is there. The channel is of no more use after an error.
///
/// # Errors
/// `QueueDiffers` when it is there in another form.
pub async fn declare(
    channel: &Channel,
    name: ShortString,
    arguments: FieldTable,
) -> Result<(), AmqpError> {
    let declare = channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments);
    match timeout(REPLY_MAX, declare).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(match said(&error) {
            Some((PRECONDITION_FAILED | RESOURCE_LOCKED, words)) => AmqpError::QueueDiffers {
                queue: name.to_string(),
                difference: plain(words).to_owned(),
            },
            _ => of_channel("declare a queue", error),
        }),
        Err(_) => Err(AmqpError::Late("declare a queue")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_somebody_goes_when_unused() {
        let day = Duration::from_secs(86_400);
        for (queue, goes, is_parked_from) in [
            (Queue::wee("a"), true, true),
            (Queue::reports(), false, true),
            (Queue::blobs(), false, true),
            (Queue::parked(), false, false),
        ] {
            let arguments = arguments("lab", &queue, day);
            assert_eq!(arguments.contains_key("x-expires"), goes, "{queue}");
            let key = arguments.inner().get("x-dead-letter-routing-key");
            assert_eq!(key.is_some(), is_parked_from, "{queue}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let queue = Queue::wee(&"w".repeat(300));
        assert!(matches!(name("sengu", &queue), Err(AmqpError::Name(_))));
        let name = name("sengu", &Queue::reports()).unwrap();
        assert_eq!(name.as_str(), "sengu.report");
    }
}
