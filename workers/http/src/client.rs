//! One task's talk with its target: authenticated requests and same-origin redirects, under the task's deadline.
//!
//! A refused token is renewed once and never more; a change is sent once, and again only where the answer says that it
//! was not done (401 with a token, 307, 308).

use crate::auth;
use crate::config::Config;
use crate::driver::{Io, Request};
use crate::limits;
use crate::memory::Memory;
use crate::outcome::{Failure, FailureCode};
use crate::reply::{Response, Trouble, read_code};
use crate::secrets::Secrets;
use serde_json::Value;
use std::sync::Arc;

pub const JSON: &str = "application/json";
const ENCODINGS: &str = "gzip, deflate";

pub struct Client {
    pub io: Io,
    pub config: Config,
    pub secrets: Arc<Secrets>,
    pub memory: Arc<Memory>,
    /// A little before the task's own, so that there is time to say what is known.
    pub deadline_ms: u64,
}

/// One request, before credentials.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: Vec<(String, String)>,
    pub accept: &'a str,
    pub body: Option<Vec<u8>>,
    /// It changes nothing.
    pub reads: bool,
    /// Statuses that are an answer, whatever else they would mean.
    pub expect: &'a [u16],
}

impl<'a> Call<'a> {
    pub fn get(path: &'a str, headers: &[(String, String)], accept: &'a str) -> Call<'a> {
        Call {
            method: "GET",
            path,
            headers: headers.to_vec(),
            accept,
            body: None,
            reads: true,
            expect: &[],
        }
    }
}

/// An answer, and where it came from after redirects.
pub struct Reply {
    pub response: Response,
    pub path: String,
}

impl Client {
    pub fn remaining_ms(&self) -> u64 {
        self.deadline_ms.saturating_sub(self.io.now_ms())
    }

    /// How long a request may take that is begun now.
    ///
    /// # Errors
    /// `timeout` when that is too short to begin.
    pub fn time_left(&self, what: &str) -> Result<u64, Failure> {
        match self.remaining_ms().min(limits::REQUEST_MAX_MS) {
            ms if ms >= limits::REQUEST_MIN_MS => Ok(ms),
            _ => {
                let message = format!("{what}: no time was left to ask");
                Err(Failure::new(FailureCode::Timeout, message))
            }
        }
    }

    /// # Errors
    /// By whether it was sent; a status is no error, but for 401, and redirects that are not followed.
    pub async fn send(&self, call: &Call<'_>) -> Result<Reply, Trouble> {
        let mut path = call.path.to_owned();
        let mut redirects = 0;
        let mut renewed = false;
        loop {
            let what = format!("{} {path}", call.method);
            let pass = auth::pass(self).await?;
            let account = pass
                .key()
                .map(|key| self.memory.key((&self.config.origin, key)));
            if let Some(key) = account
                && let Some(failure) = self.memory.resting(key, self.io.now_ms())
            {
                return Err(failure.into());
            }
            let mut headers = self.config.headers.clone();
            for (name, value) in &call.headers {
                set(&mut headers, name, value);
            }
            set_absent(&mut headers, "accept", call.accept);
            set(&mut headers, "accept-encoding", ENCODINGS);
            headers.extend(pass.header.clone());
            let request = Request {
                method: call.method.to_owned(),
                url: self.config.origin.url(&path),
                headers,
                body: call.body.clone(),
                timeout_ms: self.time_left(&what)?,
                body_bytes_max: self.config.response_bytes_max,
                trust: self.config.trust.clone(),
                repeatable: call.reads && call.method != "POST",
            };
            let response = self.io.fetch(request).await?;
            if call.expect.contains(&response.status) {
                return Ok(Reply { response, path });
            }
            match response.status {
                401 if auth::refused(self, &pass) && !renewed => renewed = true,
                401 => {
                    let failure = self.shut_out(&response, &what, account);
                    return Err(failure.into());
                }
                status if follows(status, call.reads) => {
                    let Some(location) = response.header("location") else {
                        return Ok(Reply { response, path });
                    };
                    let Some(next) = self.config.origin.resolve(&path, location) else {
                        return Err(elsewhere(&what, status, location).into());
                    };
                    redirects += 1;
                    if redirects > limits::REDIRECTS_MAX {
                        let most = limits::REDIRECTS_MAX;
                        let message = format!("{what}: redirected more than {most} times");
                        return Err(Failure::refused(message).into());
                    }
                    path = next;
                }
                _ => return Ok(Reply { response, path }),
            }
        }
    }

    /// GET of something that has to be there.
    ///
    /// # Errors
    /// Trouble; or the failure that an unexpected status means.
    pub async fn get(&self, call: &Call<'_>) -> Result<Reply, Trouble> {
        let reply = self.send(call).await?;
        match reply.response.ok() {
            true => Ok(reply),
            false => Err(self.unexpected(call, &reply.response).into()),
        }
    }

    /// The failure of a read that was answered with this.
    pub fn unexpected(&self, call: &Call<'_>, response: &Response) -> Failure {
        let what = format!("{} {}", call.method, call.path);
        response.failure(read_code(response.status), &what, self.io.now_ms())
    }

    /// The answer's body as JSON.
    ///
    /// # Errors
    /// `bad_reply` for another type, too many bytes, or what is no JSON.
    pub fn json(&self, reply: &Reply, any_content_type: bool) -> Result<Value, Failure> {
        let bad = |why: String| Failure::bad_reply(format!("{}: {why}", reply.path));
        let media = reply.response.media_type();
        if let Some(media) = media.filter(|m| !any_content_type && !is_json(m)) {
            return Err(bad(format!(
                "JSON was expected and {media} came (anyContentType: true accepts it)"
            )));
        }
        let text = reply.response.text(self.config.response_bytes_max);
        let text = text.map_err(bad)?;
        serde_json::from_str(&text).map_err(|e| bad(format!("the answer is no JSON: {e}")))
    }

    fn shut_out(&self, response: &Response, what: &str, account: Option<u64>) -> Failure {
        let mut failure = response.failure(FailureCode::AuthFailed, what, self.io.now_ms());
        match account {
            Some(key) => self.memory.rest(key, &failure, self.io.now_ms()),
            None => failure
                .message
                .push_str("; config.auth is none, so no credentials were sent"),
        }
        failure
    }
}

/// Vendors' own types end in +json; small devices say text/plain.
fn is_json(media: &str) -> bool {
    matches!(
        media,
        "application/json" | "text/json" | "text/plain" | "application/octet-stream"
    ) || media.ends_with("+json")
}

/// A change is sent on only where the answer says "not here, there": after 301 to 303 it may be done already.
fn follows(status: u16, reads: bool) -> bool {
    match status {
        307 | 308 => true,
        301..=303 => reads,
        _ => false,
    }
}

fn elsewhere(what: &str, status: u16, location: &str) -> Failure {
    // Up to the path: what comes after may hold a login's state.
    let end = location
        .match_indices('/')
        .nth(2)
        .map_or(location.len(), |(at, _)| at);
    let shown: String = location[..end]
        .split('?')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(100)
        .collect();
    let mut failure = Failure::refused(format!(
        "{what}: {status} leads to {shown:?}, another origin, and is not followed"
    ));
    failure.detail = Some(serde_json::json!({"httpStatus": status}));
    failure
}

fn set(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    headers.push((name.to_owned(), value.to_owned()));
}

fn set_absent(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    if !headers
        .iter()
        .any(|(known, _)| known.eq_ignore_ascii_case(name))
    {
        headers.push((name.to_owned(), value.to_owned()));
    }
}
