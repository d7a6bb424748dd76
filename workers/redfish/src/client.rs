//! One task's talk with its BMC: authenticated requests under the task's deadline.
//!
//! A refused token is renewed once and never more: repeated logins lock accounts.

use crate::bmc::Lease;
use crate::config::{Credentials, EtagMode};
use crate::http::{Call, Trouble};
use crate::limits;
use crate::reply::{Reply, path_of};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderValue, IF_MATCH};
use sengu_sdk::{Failure, FailureCode};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone)]
pub struct Client {
    pub bmc: Lease,
    pub credentials: Option<Credentials>,
    pub etag: EtagMode,
    /// Which ComputerSystem, when there are several.
    pub system: Option<String>,
    /// A little before the task's own, so that there is time to say what is known.
    pub deadline: Instant,
}

/// A resource as read.
pub struct Resource {
    pub path: String,
    pub body: Value,
    pub etag: Option<String>,
    /// The BMC's own clock at the answer, in milliseconds since the epoch.
    pub date_ms: Option<i64>,
}

impl Client {
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// # Errors
    /// Trouble; or the failure that the status means.
    pub async fn get(&self, path: &str) -> Result<Resource, Trouble> {
        let reply = self.get_reply(path).await?;
        if !reply.ok() {
            return Err(reply.failure(&format!("GET {path}")).into());
        }
        let body = reply.object(path)?;
        let etag = reply.etag(&body);
        Ok(Resource {
            path: path.to_owned(),
            body,
            etag,
            date_ms: reply.date_ms(),
        })
    }

    /// As `get`, but with the answer as it is. Follows redirects on the same origin.
    pub async fn get_reply(&self, path: &str) -> Result<Reply, Trouble> {
        let mut call = Call::new(Method::GET, path);
        let mut redirects = Redirects::new();
        loop {
            let reply = self.send(call.clone()).await?;
            let authority = self.bmc.wire.authority();
            if let Some(reply) = redirects.follow(&mut call, authority, reply)? {
                return Ok(reply);
            }
        }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply, Trouble> {
        let mut call = Call::new(Method::POST, path);
        call.body = Some(Bytes::from(body.to_string()));
        self.send(call).await
    }

    /// `etag` as the GET before gave it; what is made of it is the record's choice.
    pub async fn patch(
        &self,
        path: &str,
        body: &Value,
        etag: Option<&str>,
    ) -> Result<Reply, Trouble> {
        let mut call = Call::new(Method::PATCH, path);
        call.body = Some(Bytes::from(body.to_string()));
        if let Some(value) = if_match(etag, self.etag) {
            call.headers.push((IF_MATCH, value));
        }
        self.send(call).await
    }

    async fn send(&self, call: Call) -> Result<Reply, Trouble> {
        let mut renewed = false;
        loop {
            let pass = self
                .bmc
                .pass(self.credentials.as_ref(), self.deadline)
                .await
                // A login changes nothing on the system: whatever happened to it, the call itself was not sent.
                .map_err(|trouble| Trouble::Failed(trouble.of_read()))?;
            let mut attempt = call.clone();
            attempt.headers.extend(pass.header.clone());
            let reply = self.bmc.wire.send(&attempt, self.deadline).await?;
            if reply.status != 401 {
                return Ok(reply);
            }
            // A refused request has done nothing, so it may be repeated whatever it is.
            if self.bmc.refused(&pass) && !renewed {
                renewed = true;
                continue;
            }
            let mut failure = reply.failure(&format!("{} {}", call.method, call.path));
            failure.code = FailureCode::AuthFailed;
            if self.credentials.is_none() {
                failure.message.push_str("; the target names no secret");
            } else {
                self.bmc.shut_out(&failure);
            }
            return Err(failure.into());
        }
    }
}

/// Follows the redirects of one GET.
pub struct Redirects(u32);

impl Redirects {
    pub fn new() -> Redirects {
        Redirects(limits::REDIRECTS_MAX)
    }

    /// The answer, or none when `call` now asks where the redirect leads.
    ///
    /// # Errors
    /// `bad_reply` for a redirect to another origin, or one too many.
    pub fn follow(
        &mut self,
        call: &mut Call,
        authority: &str,
        reply: Reply,
    ) -> Result<Option<Reply>, Failure> {
        if !matches!(reply.status, 301 | 302 | 307 | 308) {
            return Ok(Some(reply));
        }
        if self.0 == 0 {
            let most = limits::REDIRECTS_MAX;
            let message = format!("GET {}: redirected more than {most} times", call.path);
            return Err(Failure::new(FailureCode::BadReply, message));
        }
        self.0 -= 1;
        call.path = redirect(&reply, authority, &call.path)?;
        Ok(None)
    }
}

fn redirect(reply: &Reply, authority: &str, path: &str) -> Result<String, Failure> {
    let location = reply.header(hyper::header::LOCATION).unwrap_or_default();
    let same_origin = match location.split_once("://") {
        Some((_, rest)) => rest.split('/').next() == Some(authority),
        None => true,
    };
    let to = path_of(location).filter(|_| same_origin);
    to.ok_or_else(|| {
        let message = format!("GET {path}: redirected to {location:?}, which is not followed");
        Failure::new(FailureCode::BadReply, message)
    })
}

/// The If-Match to send for an ETag.
fn if_match(etag: Option<&str>, mode: EtagMode) -> Option<HeaderValue> {
    let etag = etag?;
    let text = match mode {
        EtagMode::Send => etag,
        EtagMode::Omit => return None,
        EtagMode::StripWeak => etag.strip_prefix("W/").unwrap_or(etag),
    };
    HeaderValue::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_the_records_choice() {
        use EtagMode::{Omit, Send, StripWeak};
        let table = [
            (Some("\"a\""), Send, Some("\"a\"")),
            (Some("W/\"a\""), Send, Some("W/\"a\"")),
            (Some("W/\"a\""), StripWeak, Some("\"a\"")),
            (Some("\"a\""), StripWeak, Some("\"a\"")),
            (Some("\"a\""), Omit, None),
            (None, Send, None),
            (Some("a\nb"), Send, None),
        ];
        for (etag, mode, want) in table {
            let got = if_match(etag, mode);
            let got = got.as_ref().map(|v| v.to_str().unwrap());
            assert_eq!(got, want, "{etag:?} {mode:?}");
        }
    }

    #[test]
    fn redirects_stay_on_the_origin() {
        let table = [
            ("/redfish/v1/", Some("/redfish/v1/")),
            ("https://bmc:8443/redfish/v1/", Some("/redfish/v1/")),
            ("https://other/redfish/v1/", None),
            ("//other/x", None),
            ("", None),
        ];
        for (location, want) in table {
            let mut headers = hyper::HeaderMap::new();
            headers.insert("location", location.parse().unwrap());
            let reply = Reply {
                status: 301,
                headers,
                body: Bytes::new(),
            };
            let got = redirect(&reply, "bmc:8443", "/redfish/v1").ok();
            assert_eq!(got.as_deref(), want, "{location}");
        }
    }
}
