//! Who asks: nothing, Basic, a token, or an OAuth 2.0 token by client credentials (RFC 6749 section 4.4).
//!
//! A token endpoint's answer is never quoted: it may hold what must not be seen.

use crate::address::Origin;
use crate::client::Client;
use crate::config::{self, Tls, Trust};
use crate::driver::Request;
use crate::limits;
use crate::memory::Known;
use crate::outcome::{Failure, FailureCode};
use crate::reply::{Response, Trouble};
use crate::secrets::Secrets;
use crate::source::header_name;
use crate::template::{form, percent};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum RawAuth {
    #[default]
    None,
    Basic,
    Bearer,
    Header {
        header: String,
    },
    Oauth {
        token_url: String,
        #[serde(default)]
        scope: Option<String>,
        #[serde(default)]
        audience: Option<String>,
        #[serde(default)]
        client_auth: ClientAuth,
        #[serde(default)]
        tls: Option<Tls>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    #[default]
    Basic,
    Body,
}

/// Ready to be used. Debug shows no secret.
pub enum Auth {
    None,
    /// A header whose value never changes.
    Fixed {
        name: String,
        value: String,
    },
    OAuth(Box<OAuth>),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::None => "None",
            Auth::Fixed { .. } => "Fixed(..)",
            Auth::OAuth(_) => "OAuth(..)",
        })
    }
}

pub struct OAuth {
    origin: Origin,
    path: String,
    trust: Trust,
    client_id: String,
    client_secret: String,
    scope: Option<String>,
    audience: Option<String>,
    client_auth: ClientAuth,
}

/// What one request carries, and whether another one may help when it is refused.
pub struct Pass {
    pub header: Option<(String, String)>,
    token: Option<(u64, String)>,
}

impl RawAuth {
    /// # Errors
    /// When the target's Secret lacks a key, or the token endpoint cannot be used.
    pub fn check(self, target: &Origin, trust: &Trust, secrets: &Secrets) -> Result<Auth, String> {
        let need = |key: &str| {
            let found = secrets.get(key).map(str::to_owned);
            found.ok_or_else(|| format!("the target's secret has no key {key:?}"))
        };
        let fixed = |name: &str, value: String| match printable(&value) {
            true => Ok(Auth::Fixed {
                name: name.to_owned(),
                value,
            }),
            false => Err("the target's secret holds what cannot stand in a header".to_owned()),
        };
        match self {
            RawAuth::None => Ok(Auth::None),
            RawAuth::Basic => {
                let (username, password) = (need("username")?, need("password")?);
                if username.contains(':') {
                    return Err("Basic authentication: a user name has no colon".to_owned());
                }
                let pair = BASE64.encode(format!("{username}:{password}"));
                fixed("authorization", format!("Basic {pair}"))
            }
            RawAuth::Bearer => fixed("authorization", format!("Bearer {}", need("token")?)),
            RawAuth::Header { header } => {
                header_name(&header).map_err(|e| format!("config.auth.{e}"))?;
                fixed(&header, need("token")?)
            }
            RawAuth::Oauth {
                token_url,
                scope,
                audience,
                client_auth,
                tls,
            } => {
                let (origin, path) = match token_url.starts_with('/') {
                    true => Origin::split(&target.url(&token_url)),
                    false => Origin::split(&token_url),
                }
                .map_err(|e| format!("config.auth.tokenUrl: {e}"))?;
                let trust = match (origin == *target, tls) {
                    (true, None) => trust.clone(),
                    (_, tls) => {
                        let tls = tls.unwrap_or_default();
                        let pin = tls.cert_sha256.as_deref();
                        config::trust(
                            origin.https,
                            &tls,
                            pin,
                            "config.auth.tls",
                            "config.auth.tls.certSha256",
                        )?
                    }
                };
                Ok(Auth::OAuth(Box::new(OAuth {
                    origin,
                    path,
                    trust,
                    client_id: need("clientId")?,
                    client_secret: need("clientSecret")?,
                    scope,
                    audience,
                    client_auth,
                })))
            }
        }
    }
}

fn printable(value: &str) -> bool {
    value.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

impl Pass {
    /// What the memory of refused credentials goes by; none when there are none.
    pub fn key(&self) -> Option<&str> {
        self.header.as_ref().map(|(_, value)| value.as_str())
    }
}

/// # Errors
/// Whatever keeps a token from coming; nothing was sent to the target itself.
pub async fn pass(client: &Client) -> Result<Pass, Failure> {
    let oauth = match &client.config.auth {
        Auth::None => {
            return Ok(Pass {
                header: None,
                token: None,
            });
        }
        Auth::Fixed { name, value } => {
            return Ok(Pass {
                header: Some((name.clone(), value.clone())),
                token: None,
            });
        }
        Auth::OAuth(oauth) => oauth,
    };
    let memory = &client.memory;
    let key = memory.key((
        oauth.origin.url(&oauth.path),
        &oauth.trust,
        (&oauth.client_id, &oauth.client_secret),
        (&oauth.scope, &oauth.audience),
    ));
    let asking = loop {
        let now_ms = client.io.now_ms();
        match memory.token(key, now_ms) {
            Known::Token(token) => return Ok(bearer(client, key, token)),
            Known::Ask(asking) => break asking,
            Known::Asked if now_ms >= client.deadline_ms => {
                let message = "no token before the deadline";
                return Err(Failure::new(FailureCode::Timeout, message));
            }
            Known::Asked => client.io.pause(limits::TOKEN_LOOK_MS).await,
        }
    };
    if let Some(failure) = memory.resting(key, client.io.now_ms()) {
        return Err(failure);
    }
    match ask(client, oauth).await {
        Ok((token, until_ms)) => {
            asking.keep(&token, until_ms);
            Ok(bearer(client, key, token))
        }
        Err(failure) => {
            if failure.code == FailureCode::AuthFailed {
                memory.rest(key, &failure, client.io.now_ms());
            }
            Err(failure)
        }
    }
}

/// After a 401: forgets the token and says whether a new one may help.
pub fn refused(client: &Client, pass: &Pass) -> bool {
    if let Some((key, token)) = &pass.token {
        client.memory.refused(*key, token);
    }
    pass.token.is_some()
}

fn bearer(client: &Client, key: u64, token: String) -> Pass {
    client.secrets.also(&token);
    Pass {
        header: Some(("authorization".to_owned(), format!("Bearer {token}"))),
        token: Some((key, token)),
    }
}

async fn ask(client: &Client, oauth: &OAuth) -> Result<(String, u64), Failure> {
    let mut pairs = vec![("grant_type", "client_credentials".to_owned())];
    pairs.extend(oauth.scope.clone().map(|scope| ("scope", scope)));
    pairs.extend(
        oauth
            .audience
            .clone()
            .map(|audience| ("audience", audience)),
    );
    let mut headers = vec![
        ("accept".to_owned(), "application/json".to_owned()),
        (
            "content-type".to_owned(),
            "application/x-www-form-urlencoded".to_owned(),
        ),
    ];
    match oauth.client_auth {
        ClientAuth::Basic => {
            // RFC 6749 section 2.3.1: each is encoded as a form value first.
            let (id, secret) = (percent(&oauth.client_id), percent(&oauth.client_secret));
            let pair = BASE64.encode(format!("{id}:{secret}"));
            client.secrets.also(&pair);
            headers.push(("authorization".to_owned(), format!("Basic {pair}")));
        }
        ClientAuth::Body => {
            pairs.push(("client_id", oauth.client_id.clone()));
            pairs.push(("client_secret", oauth.client_secret.clone()));
        }
    }
    let url = oauth.origin.url(&oauth.path);
    let what = format!("token endpoint {url}");
    let request = Request {
        method: "POST".to_owned(),
        url,
        headers,
        body: Some(form(pairs.into_iter()).into_bytes()),
        timeout_ms: client.time_left(&what)?,
        body_bytes_max: limits::RESULT_BYTES_MAX,
        trust: oauth.trust.clone(),
        // A second token does no harm, but a POST is a POST to whoever reads the server's log.
        repeatable: false,
    };
    let began_ms = client.io.now_ms();
    let reply = client.io.fetch(request).await;
    let reply = reply.map_err(|trouble| {
        let mut failure = Trouble::of_read(trouble);
        failure.message = format!("{what}: {}", failure.message);
        failure
    })?;
    granted(&reply, &what, began_ms, client.io.now_ms())
}

fn granted(
    reply: &Response,
    what: &str,
    began_ms: u64,
    now_ms: u64,
) -> Result<(String, u64), Failure> {
    let body = reply.text(limits::RESULT_BYTES_MAX).unwrap_or_default();
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    if !reply.ok() {
        return Err(denied(reply, &body, what, now_ms));
    }
    let bad = |why: &str| Failure::bad_reply(format!("{what}: {why}"));
    let kind = body.get("token_type").and_then(Value::as_str);
    if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(bad("the token is of another type than bearer"));
    }
    let token = body.get("access_token").and_then(Value::as_str);
    let token = token
        .filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic()))
        .ok_or_else(|| bad("the answer holds no usable access_token"))?;
    // A number in text is common.
    let seconds = body
        .get("expires_in")
        .and_then(|v| v.as_f64().or_else(|| v.as_str()?.trim().parse().ok()))
        .filter(|s: &f64| s.is_finite() && *s >= 0.0);
    let life_ms = seconds.map_or(limits::TOKEN_KEEP_MS, |s| (s * 1_000.0) as u64);
    let early_ms = limits::TOKEN_EARLY_MS.min(life_ms / 2);
    let until_ms = began_ms.saturating_add(life_ms - early_ms);
    Ok((token.to_owned(), until_ms))
}

fn denied(reply: &Response, body: &Value, what: &str, now_ms: u64) -> Failure {
    // The code alone: its characters are known, and a description may repeat what was sent.
    let code = body
        .get("error")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let known = |c: char| c.is_ascii_lowercase() || c == '_';
    let code: String = code.chars().filter(|c| known(*c)).take(40).collect();
    let meaning = match (reply.status, code.as_str()) {
        (401 | 403, _) => FailureCode::AuthFailed,
        (_, "invalid_client" | "unauthorized_client" | "invalid_grant" | "access_denied") => {
            FailureCode::AuthFailed
        }
        (408 | 425 | 429 | 500 | 502..=504, _) => FailureCode::Busy,
        (300..=499, _) => FailureCode::Refused,
        _ => FailureCode::BadReply,
    };
    let message = match code.is_empty() {
        true => format!("{what}: {}", reply.status),
        false => format!("{what}: {}: {code}", reply.status),
    };
    let mut failure = Failure::new(meaning, message);
    if meaning == FailureCode::Busy {
        let wait = reply
            .retry_after_ms(now_ms)
            .unwrap_or(limits::TOKEN_BUSY_MS);
        failure.retry_after_ms = Some(wait);
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reply(status: u16, body: &Value) -> Response {
        Response {
            status,
            headers: vec![("retry-after".to_owned(), "7".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }

    #[test]
    fn a_token_is_kept_until_a_little_before_its_end() {
        let grant = |more: Value| {
            let mut body = json!({"access_token": "abc"});
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            granted(&reply(200, &body), "t", 1_000, 2_000)
        };
        let table = [
            (json!({"expires_in": 3600}), Some(1_000 + 3_570_000)),
            (json!({"expires_in": "3600"}), Some(1_000 + 3_570_000)),
            (json!({"expires_in": 10}), Some(1_000 + 5_000)),
            (json!({"expires_in": 0}), Some(1_000)),
            (json!({}), Some(1_000 + 270_000)),
            (
                json!({"token_type": "Bearer", "expires_in": -1}),
                Some(1_000 + 270_000),
            ),
            (json!({"token_type": "mac"}), None),
            (json!({"access_token": "a\nb"}), None),
            (json!({"access_token": 7}), None),
        ];
        for (more, want) in table {
            assert_eq!(
                grant(more.clone()).ok().map(|(_, until)| until),
                want,
                "{more}"
            );
        }
    }

    #[test]
    fn a_refused_client_is_auth_failed_and_not_quoted() {
        use FailureCode::{AuthFailed, BadReply, Busy, Refused};
        let error =
            |code: &str| json!({"error": code, "error_description": "secret cs12 is wrong"});
        let table = [
            (400, error("invalid_client"), AuthFailed),
            (401, json!({}), AuthFailed),
            (403, json!({}), AuthFailed),
            (400, error("invalid_scope"), Refused),
            (404, json!({}), Refused),
            (302, json!({}), Refused),
            (429, json!({}), Busy),
            (503, json!({}), Busy),
            (500, json!({}), Busy),
            (599, json!({}), BadReply),
        ];
        for (status, body, want) in table {
            let failure = granted(&reply(status, &body), "t", 0, 0).unwrap_err();
            assert_eq!(failure.code, want, "{status}");
            assert!(!failure.message.contains("cs12"), "{}", failure.message);
            let wait = (want == Busy).then_some(7_000);
            assert_eq!(failure.retry_after_ms, wait, "{status}");
        }
    }
}
