//! An HTTP answer of a BMC, read leniently: what a status, a Retry-After and an extended error mean.
//!
//! It must never fail on a field that is missing, doubled or of another type: BMCs do all of that.

use crate::limits;
use bytes::Bytes;
use hyper::header::{DATE, ETAG, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use sengu_sdk::{Failure, FailureCode, limits::RETRY_AFTER_MAX_MS};
use serde_json::{Value, json};
use std::time::SystemTime;

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Message ids (or vendor codes) that say "not now", whatever the HTTP status.
const BUSY_MESSAGES: &[&str] = &[
    "ServiceTemporarilyUnavailable",
    "ServiceInUnknownState",
    "ServiceShuttingDown",
    "ResourceInUse",
    "ResourceInStandby",
    "OperationTimeout",
    "SYS518",
    "SYS446",
    "RAC0508",
];
/// And those that say that all sessions are taken.
const SESSIONS_FULL_MESSAGES: &[&str] = &["SessionLimitExceeded", "RAC0218", "MaxSessions"];

impl Reply {
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as an object.
    ///
    /// # Errors
    /// `bad_reply` with where it stopped being JSON.
    pub fn object(&self, path: &str) -> Result<Value, Failure> {
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => Err(Failure::new(
                FailureCode::BadReply,
                format!("{path}: the answer is JSON but no object"),
            )),
            Err(e) => Err(Failure::new(
                FailureCode::BadReply,
                format!("{path}: the answer is no JSON: {e}"),
            )),
        }
    }

    /// The body if it is JSON; 204s and careless BMCs have none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The ETag exactly as given; the first when it is given twice; else the one in the body.
    pub fn etag(&self, body: &Value) -> Option<String> {
        let header = self.header(ETAG).map(str::to_owned);
        header.or_else(|| Some(body.get("@odata.etag")?.as_str()?.to_owned()))
    }

    /// The sender's clock, in milliseconds since the epoch.
    pub fn date_ms(&self) -> Option<i64> {
        let date = httpdate::parse_http_date(self.header(DATE)?).ok()?;
        let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    }

    /// The path of the Location header. Its host is not looked at: BMCs behind a NAT name themselves wrongly.
    pub fn location(&self) -> Option<String> {
        path_of(self.header(LOCATION)?)
    }

    /// How long to stay away, in milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        let header = self
            .header(RETRY_AFTER)
            .and_then(|text| parse_retry_after(text, SystemTime::now()));
        let ms = header.or_else(|| {
            let body = self.json();
            messages(&body).iter().find_map(retry_in_message)
        })?;
        Some(ms.min(RETRY_AFTER_MAX_MS))
    }

    /// Whether the answer says that no session is free.
    pub fn sessions_full(&self) -> bool {
        !self.ok() && mentions(&self.json(), SESSIONS_FULL_MESSAGES)
    }

    /// Whether the answer says "not now", so that nothing was done.
    pub fn busy(&self) -> bool {
        matches!(self.status, 503 | 429)
            || (self.status >= 400 && mentions(&self.json(), BUSY_MESSAGES))
    }

    /// What an answer that is no success means for the task.
    pub fn failure(&self, what: &str) -> Failure {
        let body = self.json();
        let said = quote(&body);
        let message = match &said {
            Some(said) => format!("{what}: {}: {said}", self.status),
            None => format!("{what}: {}", self.status),
        };
        let code = match self.status {
            _ if self.busy() => FailureCode::Busy,
            401 => FailureCode::AuthFailed,
            // Seen for seconds after a BMC's start and under parallel requests; they pass.
            500 | 502 | 504 => FailureCode::Busy,
            400..=499 | 501 => FailureCode::Refused,
            _ => FailureCode::BadReply,
        };
        let mut failure = Failure::new(code, message);
        if code == FailureCode::Busy {
            failure.retry_after_ms = self.retry_after_ms();
        }
        let ids: Vec<&str> = messages(&body).iter().filter_map(message_id).collect();
        failure.with_detail(json!({"httpStatus": self.status, "messageIds": ids}))
    }
}

/// The path and query of an absolute or relative reference; none when it is neither.
pub fn path_of(reference: &str) -> Option<String> {
    let path = match reference.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|at| &rest[at..])?,
        None => reference,
    };
    let path = path.split('#').next().unwrap_or(path);
    (path.starts_with('/') && !path.starts_with("//")).then(|| path.to_owned())
}

/// Retry-After: seconds or an HTTP date; in milliseconds.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    if let Some(seconds) = text
        .parse::<f64>()
        .ok()
        .filter(|s| s.is_finite() && *s >= 0.0)
    {
        return Some((seconds * 1_000.0) as u64);
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let wait = at.duration_since(now).unwrap_or_default();
    u64::try_from(wait.as_millis()).ok()
}

/// The messages of an extended error, also where a BMC puts them beside `error`.
fn messages(body: &Value) -> Vec<&Value> {
    let places = [
        body.pointer("/error/@Message.ExtendedInfo"),
        body.get("@Message.ExtendedInfo"),
    ];
    let mut found = Vec::new();
    for place in places.into_iter().flatten() {
        match place {
            Value::Array(list) => found.extend(list.iter().filter(|m| m.is_object())),
            Value::Object(_) => found.push(place),
            _ => {}
        }
    }
    found
}

fn message_id<'a>(message: &&'a Value) -> Option<&'a str> {
    message.get("MessageId")?.as_str()
}

fn mentions(body: &Value, ids: &[&str]) -> bool {
    let code = body.pointer("/error/code").and_then(Value::as_str);
    let known = |text: &str| ids.iter().any(|id| text.contains(id));
    code.is_some_and(known) || messages(body).iter().filter_map(message_id).any(known)
}

/// "Retry in 30 seconds" or MessageArgs ["30"] of a message that says "not now"; in milliseconds.
fn retry_in_message(message: &&Value) -> Option<u64> {
    let id = message_id(message)?;
    if !BUSY_MESSAGES.iter().any(|known| id.contains(known)) {
        return None;
    }
    let argument = message.get("MessageArgs").and_then(|a| a.get(0));
    let argument = argument.and_then(|a| a.as_u64().or_else(|| a.as_str()?.trim().parse().ok()));
    let seconds = argument.or_else(|| {
        let text = message.get("Message")?.as_str()?.to_ascii_lowercase();
        let before = text[..text.find("second")?].trim_end();
        let digits = before.bytes().rev().take_while(u8::is_ascii_digit).count();
        before[before.len() - digits..].parse().ok()
    })?;
    Some(seconds.saturating_mul(1_000))
}

/// What the BMC said, in one line.
fn quote(body: &Value) -> Option<String> {
    let text = |m: &Value| Some(m.get("Message")?.as_str()?.to_owned());
    let said = messages(body)
        .into_iter()
        .find_map(text)
        .or_else(|| text(body.get("error")?))
        .or_else(|| Some(body.pointer("/error/message")?.as_str()?.to_owned()))?;
    let line: String = said
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(limits::QUOTE_CHARS_MAX)
        .collect();
    (!line.trim().is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Reply {
            status,
            headers: map,
            body: Bytes::from(body.to_owned()),
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        let table = [
            ("3", Some(3_000)),
            (" 30 ", Some(30_000)),
            ("0.5", Some(500)),
            ("Wed, 21 Oct 2015 07:28:05 GMT", Some(5_000)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(parse_retry_after(text, now), want, "{text:?}");
        }
    }

    #[test]
    fn retry_after_is_also_found_in_messages() {
        let message = |m: Value| json!({"error": {"@Message.ExtendedInfo": [m]}}).to_string();
        let busy = "Base.1.8.ServiceTemporarilyUnavailable";
        let table = [
            (
                json!({"MessageId": busy, "MessageArgs": ["30"]}),
                Some(30_000),
            ),
            (json!({"MessageId": busy, "MessageArgs": [7]}), Some(7_000)),
            (
                json!({"MessageId": busy, "Message": "Retry in 45 seconds."}),
                Some(45_000),
            ),
            (json!({"MessageId": busy, "Message": "Later."}), None),
            (json!({"MessageId": busy, "MessageArgs": []}), None),
            (
                json!({"MessageId": busy, "MessageArgs": ["x"], "Message": "seconds"}),
                None,
            ),
            (
                json!({"MessageId": "Base.1.8.GeneralError", "MessageArgs": ["30"]}),
                None,
            ),
            (json!({}), None),
            (json!("text"), None),
        ];
        for (body, want) in table {
            let reply = reply(503, &[], &message(body.clone()));
            assert_eq!(reply.retry_after_ms(), want, "{body}");
        }
        let header = reply(503, &[("retry-after", "2")], "");
        assert_eq!(header.retry_after_ms(), Some(2_000));
        let long = reply(503, &[("retry-after", "999999999")], "");
        assert_eq!(long.retry_after_ms(), Some(RETRY_AFTER_MAX_MS));
    }

    #[test]
    fn a_status_has_one_meaning() {
        use FailureCode::{AuthFailed, BadReply, Busy, Refused};
        let in_use =
            r#"{"error":{"@Message.ExtendedInfo":[{"MessageId":"Base.1.0.ResourceInUse"}]}}"#;
        let idrac = r#"{"error":{"@Message.ExtendedInfo":{"MessageId":"IDRAC.2.8.SYS518"}}}"#;
        let table = [
            (503, "", Busy),
            (429, "<html>", Busy),
            (500, "", Busy),
            (401, "", AuthFailed),
            (403, "", Refused),
            (404, "{}", Refused),
            (405, "", Refused),
            (409, "", Refused),
            (409, in_use, Busy),
            (400, idrac, Busy),
            (400, "[1]", Refused),
            (302, "", BadReply),
        ];
        for (status, body, want) in table {
            assert_eq!(
                reply(status, &[], body).failure("x").code,
                want,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn etags_are_taken_as_given() {
        type Case = (
            &'static [(&'static str, &'static str)],
            &'static str,
            Option<&'static str>,
        );
        let table: [Case; 5] = [
            (&[("etag", "\"a\"")], "{}", Some("\"a\"")),
            (&[("etag", "W/\"a\"")], "{}", Some("W/\"a\"")),
            (&[("etag", "\"a\""), ("etag", "\"b\"")], "{}", Some("\"a\"")),
            (&[], r#"{"@odata.etag":"W/\"c\""}"#, Some("W/\"c\"")),
            (&[], "{}", None),
        ];
        for (headers, body, want) in table {
            let reply = reply(200, headers, body);
            assert_eq!(reply.etag(&reply.json()).as_deref(), want, "{headers:?}");
        }
    }

    #[test]
    fn references_lose_their_host() {
        let table = [
            ("/redfish/v1/x", Some("/redfish/v1/x")),
            (
                "https://10.0.0.9/redfish/v1/x?a=1",
                Some("/redfish/v1/x?a=1"),
            ),
            ("/a#/Fans/0", Some("/a")),
            ("//evil.example/x", None),
            ("https://host", None),
            ("relative", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(path_of(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn full_sessions_are_told_by_their_message() {
        let dell = r#"{"error":{"@Message.ExtendedInfo":[{"MessageId":"IDRAC.2.1.RAC0218"}]}}"#;
        let base = r#"{"error":{"code":"Base.1.0.SessionLimitExceeded"}}"#;
        for (status, body, want) in [(503, dell, true), (400, base, true), (503, "", false)] {
            assert_eq!(reply(status, &[], body).sessions_full(), want, "{body}");
        }
    }
}
