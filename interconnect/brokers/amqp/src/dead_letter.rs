//! What the server parked by itself, as what sengu parks: a message that was delivered too often carries in its headers
//! where it came from, and the reader of the parked queue knows one form only.

use crate::limits::DELIVERIES_MAX;
use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use sengu_interconnect::parked::parked_body;
use std::time::{SystemTime, UNIX_EPOCH};

/// The body of a delivery of the parked queue.
pub fn body(prefix: &str, delivery: Delivery) -> Bytes {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(death) {
        None => delivery.data.into(),
        Some(death) => {
            let queue = death.queue.strip_prefix(prefix).unwrap_or(&death.queue);
            let queue = queue.strip_prefix('.').unwrap_or(queue);
            let at_ms = death.at_ms.unwrap_or_else(now_ms);
            parked_body(queue, &reason(&death.reason), at_ms, &delivery.data)
        }
    }
}

struct Death {
    queue: String,
    reason: String,
    at_ms: Option<i64>,
}

/// The newest of `x-death`, which the server keeps first.
fn death(headers: &FieldTable) -> Option<Death> {
    let deaths = headers.inner().get("x-death")?.as_array()?;
    let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else {
        return None;
    };
    let text = |key: &str| {
        let text = death.inner().get(key)?.as_long_string()?;
        Some(text.to_string())
    };
    let at_s = death.inner().get("time").and_then(AMQPValue::as_timestamp);
    Some(Death {
        queue: text("queue")?,
        reason: text("reason").unwrap_or_default(),
        at_ms: at_s.and_then(|s| i64::try_from(s.checked_mul(1_000)?).ok()),
    })
}

fn reason(said: &str) -> String {
    match said {
        "delivery_limit" => {
            format!("delivered more than {DELIVERIES_MAX} times and never acknowledged")
        }
        other => format!("put aside by RabbitMQ: {other}"),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::BasicProperties;
    use lapin::types::FieldArray;
    use sengu_interconnect::parked::Parked;

    #[test]
    fn what_the_server_parked_tells_where_it_came_from() {
        let mut delivery = Delivery::mock(1, "".into(), "".into(), true, b"poison".to_vec());
        let mut death = FieldTable::default();
        let text = |text: &str| AMQPValue::LongString(text.into());
        death.insert("queue".into(), text("lab.wee.a"));
        death.insert("reason".into(), text("delivery_limit"));
        death.insert("time".into(), AMQPValue::Timestamp(1_700_000_000));
        let mut deaths = FieldArray::default();
        deaths.push(AMQPValue::FieldTable(death));
        let mut headers = FieldTable::default();
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
        delivery.properties = BasicProperties::default().with_headers(headers);
        let body = body("lab", delivery);
        let parked: Parked = serde_json::from_slice(&body).unwrap();
        assert_eq!((&*parked.queue, parked.at), ("wee.a", 1_700_000_000_000));
        assert!(parked.reason.contains("more than 20 times"), "{parked:?}");
        assert_eq!(parked.bytes, 6);
    }

    #[test]
    fn what_sengu_parked_is_left_alone() {
        let delivery = Delivery::mock(1, "".into(), "".into(), false, b"{}".to_vec());
        assert_eq!(&body("lab", delivery)[..], b"{}");
    }
}
