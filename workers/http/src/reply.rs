//! What an HTTP answer means: its status, its Retry-After, its type, its body under a limit.
//!
//! A status must have one meaning here, and a change that may have happened must never be called one that did not.

use crate::limits;
use crate::outcome::{Failure, FailureCode};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io::Read;
use std::time::{Duration, SystemTime};

/// An answer as it came: the body still compressed.
#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    /// Names in any case; values as text, bytes that are none left out.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// Nothing was sent, or the answer says that nothing happened.
    Failed(Failure),
    /// Sent, and no answer in time.
    Silent(String),
    /// Sent, and the connection ended before the answer did.
    Cut(String),
    /// Sent, and the answer is no HTTP, or too large.
    Garbled(String),
}

impl Trouble {
    /// Nothing was sent.
    pub fn unreachable(message: impl Into<String>) -> Trouble {
        Trouble::Failed(Failure::new(FailureCode::Unreachable, message))
    }

    /// What it means when nothing but a read was lost.
    pub fn of_read(self) -> Failure {
        match self {
            Trouble::Failed(failure) => failure,
            Trouble::Silent(what) => Failure::new(FailureCode::Timeout, what),
            Trouble::Cut(what) => Failure::new(FailureCode::Unreachable, what),
            Trouble::Garbled(what) => Failure::bad_reply(what),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failed(failure)
    }
}

/// What a status says about a change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// One of the expected statuses.
    Taken,
    /// It did not happen.
    Not(FailureCode),
    /// It may have happened.
    Unclear,
}

/// `expect` empty = any 2xx but 202 with nothing that says when it is done.
pub fn meaning(status: u16, expect: &[u16]) -> Meaning {
    if expect.contains(&status) || (expect.is_empty() && (200..300).contains(&status)) {
        return Meaning::Taken;
    }
    match status {
        401 | 403 | 407 => Meaning::Not(FailureCode::AuthFailed),
        408 | 425 | 429 | 503 => Meaning::Not(FailureCode::Busy),
        400..=499 | 501 | 505 => Meaning::Not(FailureCode::Refused),
        304 | 305 | 307 | 308 => Meaning::Not(FailureCode::Refused),
        _ => Meaning::Unclear,
    }
}

/// The code of an unexpected status when nothing but a read was asked for.
pub fn read_code(status: u16) -> FailureCode {
    match meaning(status, &[]) {
        Meaning::Not(code) => code,
        // What stands before the server lost it; that passes.
        Meaning::Unclear if matches!(status, 502 | 504) => FailureCode::Busy,
        Meaning::Unclear if (300..400).contains(&status) => FailureCode::Refused,
        Meaning::Unclear | Meaning::Taken => FailureCode::BadReply,
    }
}

impl Response {
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Media type in lower case without parameters; none when the answer names none.
    pub fn media_type(&self) -> Option<String> {
        let full = self.header("content-type")?;
        let media = full.split(';').next().unwrap_or_default().trim();
        (!media.is_empty()).then(|| media.to_ascii_lowercase())
    }

    /// How long to stay away, in milliseconds.
    pub fn retry_after_ms(&self, now_ms: u64) -> Option<u64> {
        let ms = parse_retry_after(self.header("retry-after")?, now_ms)?;
        Some(ms.min(limits::RETRY_AFTER_MAX_MS))
    }

    /// The body without its content encoding, at most `max` bytes.
    ///
    /// # Errors
    /// When it is larger, broken, or encoded in another way than was asked for.
    pub fn decoded(&self, max: usize) -> Result<Cow<'_, [u8]>, String> {
        let encoding = self.header("content-encoding").unwrap_or_default().trim();
        let inflated = match encoding.to_ascii_lowercase().as_str() {
            "" | "identity" => return within(&self.body, max),
            // 204s and answers to HEAD name an encoding and have no body.
            _ if self.body.is_empty() => return Ok(Cow::Borrowed(&[])),
            "gzip" | "x-gzip" => inflate(MultiGzDecoder::new(&self.body[..]), max)?,
            // Servers mean either of two things by it.
            "deflate" => match inflate(ZlibDecoder::new(&self.body[..]), max) {
                Err(Inflate::Broken(_)) => inflate(DeflateDecoder::new(&self.body[..]), max)?,
                other => other?,
            },
            other => {
                let shown: String = other.chars().take(20).collect();
                return Err(format!(
                    "the answer is encoded as {shown:?}, which was not asked for"
                ));
            }
        };
        Ok(Cow::Owned(inflated))
    }

    /// The body as text, without a byte order mark.
    ///
    /// # Errors
    /// As `decoded`, or when it is not UTF-8.
    pub fn text(&self, max: usize) -> Result<String, String> {
        let bytes = self.decoded(max)?.into_owned();
        let text = String::from_utf8(bytes).map_err(|_| "the answer is not UTF-8".to_owned())?;
        Ok(match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        })
    }

    /// The failure that an answer other than the expected means.
    pub fn failure(&self, code: FailureCode, what: &str, now_ms: u64) -> Failure {
        let message = match self.quote() {
            Some(said) => format!("{what}: {}: {said}", self.status),
            None => format!("{what}: {}", self.status),
        };
        let mut failure = Failure::new(code, message);
        if code == FailureCode::Busy {
            failure.retry_after_ms = self.retry_after_ms(now_ms);
        }
        failure.detail = Some(json!({"httpStatus": self.status}));
        failure
    }

    /// What the server said, in one line: of JSON the member that is meant for people, of plain text its beginning.
    fn quote(&self) -> Option<String> {
        let text = self.text(64 << 10).ok()?;
        let said = match serde_json::from_str::<Value>(&text) {
            Ok(body) => said_in(&body)?,
            Err(_) if self.media_type()?.starts_with("text/plain") => text,
            Err(_) => return None,
        };
        let line: String = said
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(limits::QUOTE_CHARS_MAX)
            .collect();
        let line = line.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }
}

/// Problem details (RFC 9457), OAuth errors, and what most others do.
fn said_in(body: &Value) -> Option<String> {
    const MEMBERS: [&str; 8] = [
        "detail",
        "error_description",
        "message",
        "Message",
        "msg",
        "title",
        "reason",
        "error",
    ];
    MEMBERS.iter().find_map(|name| match body.get(name)? {
        Value::String(text) => Some(text.clone()),
        inner @ Value::Object(_) => said_in(inner),
        _ => None,
    })
}

fn within(body: &[u8], max: usize) -> Result<Cow<'_, [u8]>, String> {
    match body.len() <= max {
        true => Ok(Cow::Borrowed(body)),
        false => Err(format!("the answer is over {max} bytes")),
    }
}

enum Inflate {
    Broken(String),
    TooLarge(usize),
}

impl From<Inflate> for String {
    fn from(e: Inflate) -> String {
        match e {
            Inflate::Broken(why) => format!("the answer's compression is broken: {why}"),
            Inflate::TooLarge(max) => format!("the answer is over {max} bytes when decompressed"),
        }
    }
}

/// Stops reading one byte beyond the limit: a bomb is never held.
fn inflate(decoder: impl Read, max: usize) -> Result<Vec<u8>, Inflate> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|e| Inflate::Broken(e.to_string()))?;
    match bytes.len() <= max {
        true => Ok(bytes),
        false => Err(Inflate::TooLarge(max)),
    }
}

/// Retry-After: seconds or an HTTP date; in milliseconds.
fn parse_retry_after(text: &str, now_ms: u64) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = seconds * 1_000.0;
        return (ms.is_finite() && ms >= 0.0).then_some(ms as u64);
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms);
    let wait = at.duration_since(now).unwrap_or_default();
    u64::try_from(wait.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use std::io::Write;

    fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Response {
            status,
            headers: headers.iter().map(owned).collect(),
            body: body.to_vec(),
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = 1_445_412_480_000;
        let table = [
            ("3", Some(3_000)),
            (" 30 ", Some(30_000)),
            ("0.5", Some(500)),
            ("Wed, 21 Oct 2015 07:28:05 GMT", Some(5_000)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("999999999", Some(limits::RETRY_AFTER_MAX_MS)),
            ("soon", None),
            ("-1", None),
            ("nan", None),
            ("inf", None),
            ("", None),
        ];
        for (text, want) in table {
            let reply = reply(503, &[("Retry-After", text)], b"");
            assert_eq!(reply.retry_after_ms(now), want, "{text:?}");
        }
    }

    #[test]
    fn a_status_has_one_meaning() {
        use FailureCode::{AuthFailed, BadReply, Busy, Refused};
        type Case = (u16, &'static [u16], Meaning, Option<FailureCode>);
        let table: &[Case] = &[
            (200, &[], Meaning::Taken, None),
            (204, &[], Meaning::Taken, None),
            (404, &[404], Meaning::Taken, None),
            (200, &[204], Meaning::Unclear, None),
            (302, &[], Meaning::Unclear, Some(Refused)),
            (303, &[], Meaning::Unclear, Some(Refused)),
            (307, &[], Meaning::Not(Refused), Some(Refused)),
            (400, &[], Meaning::Not(Refused), Some(Refused)),
            (401, &[], Meaning::Not(AuthFailed), Some(AuthFailed)),
            (403, &[], Meaning::Not(AuthFailed), Some(AuthFailed)),
            (404, &[], Meaning::Not(Refused), Some(Refused)),
            (409, &[], Meaning::Not(Refused), Some(Refused)),
            (412, &[], Meaning::Not(Refused), Some(Refused)),
            (429, &[], Meaning::Not(Busy), Some(Busy)),
            (503, &[], Meaning::Not(Busy), Some(Busy)),
            (500, &[], Meaning::Unclear, Some(BadReply)),
            (501, &[], Meaning::Not(Refused), Some(Refused)),
            (502, &[], Meaning::Unclear, Some(Busy)),
            (504, &[], Meaning::Unclear, Some(Busy)),
            (599, &[], Meaning::Unclear, Some(BadReply)),
            (100, &[], Meaning::Unclear, Some(BadReply)),
        ];
        for (status, expect, want, read) in table {
            assert_eq!(meaning(*status, expect), *want, "{status} {expect:?}");
            if let Some(read) = read {
                assert_eq!(read_code(*status), *read, "{status}");
            }
        }
    }

    #[test]
    fn the_limit_counts_after_decompression() {
        let plain = vec![b'x'; 100_000];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&plain).unwrap();
        let zlib = zlib.finish().unwrap();
        assert!(gzip.len() < 1_000);
        type Case<'a> = (&'a str, &'a [u8], usize, Result<usize, &'a str>);
        let table: &[Case] = &[
            ("", &plain, 100_000, Ok(100_000)),
            ("", &plain, 99_999, Err("over 99999 bytes")),
            ("gzip", &gzip, 100_000, Ok(100_000)),
            ("GZIP", &gzip, 100_000, Ok(100_000)),
            ("gzip", &gzip, 99_999, Err("when decompressed")),
            ("deflate", &zlib, 100_000, Ok(100_000)),
            ("deflate", &zlib, 50_000, Err("when decompressed")),
            ("deflate", &zlib[2..], 100_000, Ok(100_000)),
            ("gzip", &gzip[..gzip.len() - 9], 200_000, Err("broken")),
            ("gzip", b"", 9, Ok(0)),
            ("br", b"x", 9, Err("\"br\"")),
        ];
        for (encoding, body, max, want) in table {
            let reply = reply(200, &[("content-encoding", encoding)], body);
            match (reply.decoded(*max).map(|b| b.len()), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, *want, "{encoding}"),
                (Err(e), Err(want)) => assert!(e.contains(want), "{encoding}: {e}"),
                (got, want) => panic!("{encoding} {max}: {got:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn failures_quote_what_is_meant_for_people() {
        let table = [
            (
                "application/json",
                r#"{"error":{"message":"no such fan"}}"#,
                "x: 404: no such fan",
            ),
            (
                "application/problem+json",
                r#"{"title":"T","detail":"D"}"#,
                "x: 404: D",
            ),
            ("application/json", r#"[1]"#, "x: 404"),
            ("text/plain; charset=utf-8", "not\nhere", "x: 404: not here"),
            ("text/html", "<h1>Not found</h1>", "x: 404"),
        ];
        for (media, body, want) in table {
            let reply = reply(404, &[("Content-Type", media)], body.as_bytes());
            assert_eq!(reply.failure(FailureCode::Refused, "x", 0).message, want);
        }
    }
}
