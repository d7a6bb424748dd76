//! Who may use the API, and sessions of browsers.
//!
//! A browser sends a cookie with whatever is asked of this host, whoever wrote the page that asks. So what a cookie
//! lets change must come from our own pages: the request says from where, and scripts cannot forge that.

use super::{Answer, Body, Refusal};
use crate::audit::{self, Actor};
use crate::clock;
use crate::core::Logic;
use crate::session::{self, Begun, COOKIE, Denied, Holder, Proof, Role};
use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sengu_model::problem::{Code, Problem};
use sengu_model::{Time, limits};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const PATH: &str = "/v1/session";
/// As whom a program asks.
const NAME: &str = "sengu-name";

/// How this server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// Who asks. Every handler behind the door can have it.
#[derive(Debug, Clone)]
pub struct Caller {
    pub role: Role,
    name: Option<String>,
    by: By,
    expires_at: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Token,
    Cookie,
}

/// One of both proofs.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionRequest {
    token: Option<String>,
    /// As `POST /v1/session/code` gave it.
    code: Option<String>,
    /// Who you are, for the audit: nobody proves it. Default: as the code was asked for.
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewSession {
    role: Role,
    expires_at: Time,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    role: Role,
    by: By,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// A token does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionCode {
    code: String,
    expires_at: Time,
}

/// Begins a session: the answer sets a cookie. Needs no token beside the one in the body.
#[utoipa::path(post, path = "/v1/session", tag = "session", request_body = SessionRequest, security(()),
    responses((status = 200, body = NewSession), (status = 401, description = "problem", content_type = "application/problem+json"),
        (status = 429, description = "problem", content_type = "application/problem+json")))]
pub(super) async fn begin(
    State(logic): State<Arc<Logic>>,
    Extension(scheme): Extension<Scheme>,
    Body(request): Body<SessionRequest>,
) -> Answer<Response> {
    let proof = match (&request.token, &request.code) {
        (Some(token), None) => Proof::Token(token),
        (None, Some(code)) => Proof::Code(code),
        _ => {
            let what = "give either token or code";
            return Err(Refusal(Problem::new(Code::InvalidField, what)));
        }
    };
    let name = request.name.clone().filter(|name| !name.is_empty());
    check_name(name.as_deref())?;
    let shared = &logic.shared;
    let begun = shared
        .sessions
        .begin(&shared.config.tokens, &proof, name, clock::now());
    let Begun { holder, cookie } = begun.map_err(denied)?;
    let Holder {
        role, expires_at, ..
    } = holder;
    let mut response = Json(NewSession { role, expires_at }).into_response();
    set_cookie(&mut response, &cookie, limits::SESSION_MS / 1_000, scheme);
    Ok(response)
}

fn denied(denied: Denied) -> Refusal {
    Refusal(match denied {
        Denied::Wrong => Problem::new(
            Code::Unauthenticated,
            "that is not the token, or the code was used or is too old",
        )
        .hint("the token is in the file `token` of the data directory; sengu console makes a code"),
        Denied::TooMany => Problem::new(
            Code::TooManyRequests,
            "too many wrong tokens and codes within the last minute",
        )
        .hint("wait a minute"),
    })
}

/// Who you are here.
#[utoipa::path(get, path = "/v1/session", tag = "session", responses((status = 200, body = Session)))]
pub(super) async fn get(Extension(caller): Extension<Caller>) -> Json<Session> {
    let Caller {
        role,
        name,
        by,
        expires_at,
    } = caller;
    Json(Session {
        role,
        by,
        name,
        expires_at,
    })
}

/// Ends the session of this browser.
#[utoipa::path(delete, path = "/v1/session", tag = "session", responses((status = 204)))]
pub(super) async fn end(Extension(scheme): Extension<Scheme>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, "", 0, scheme);
    response
}

/// A code for one session of an operator: good once, for five minutes.
#[utoipa::path(post, path = "/v1/session/code", tag = "session", responses((status = 200, body = SessionCode)))]
pub(super) async fn code(
    State(logic): State<Arc<Logic>>,
    Extension(caller): Extension<Caller>,
) -> Answer<Json<SessionCode>> {
    let made = logic
        .shared
        .sessions
        .code(caller.role, caller.name)
        .map_err(|error| {
            tracing::error!(%error, "no randomness from the system");
            Problem::new(Code::Internal, "the system gives no randomness")
        });
    let (code, expires_at) = made?;
    Ok(Json(SessionCode { code, expires_at }))
}

fn set_cookie(response: &mut Response, value: &str, seconds: u64, scheme: Scheme) {
    let secure = match scheme {
        Scheme::Http => "",
        Scheme::Https => "; Secure",
    };
    let cookie =
        format!("{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// The door: lets in who has a token or a session, and viewers only to look.
pub(super) async fn authenticate(
    State(logic): State<Arc<Logic>>,
    Extension(scheme): Extension<Scheme>,
    mut request: Request,
    next: Next,
) -> Response {
    let (headers, uri) = (request.headers(), request.uri());
    let begins = uri.path() == PATH && request.method() == Method::POST;
    if begins {
        // Whoever has a page elsewhere must not put a visitor into a session of theirs.
        return match headers.contains_key(header::ORIGIN) && !from_here(headers, uri, scheme) {
            true => Refusal(elsewhere()).into_response(),
            false => next.run(request).await,
        };
    }
    let caller = match caller(&logic, headers) {
        Ok(caller) => caller,
        Err(problem) => return Refusal(problem).into_response(),
    };
    if !request.method().is_safe() {
        if caller.by == By::Cookie && !from_here(headers, uri, scheme) {
            return Refusal(elsewhere()).into_response();
        }
        if caller.role == Role::Viewer && uri.path() != PATH {
            let what = "a viewer may look, and change nothing";
            let problem = Problem::new(Code::Forbidden, what);
            return Refusal(problem.hint("ask an operator, who has the file `token`"))
                .into_response();
        }
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn caller(logic: &Logic, headers: &HeaderMap) -> Result<Caller, Problem> {
    let tokens = &logic.shared.config.tokens;
    let given = headers.get(header::AUTHORIZATION);
    // What is no text is no name either.
    let text = |value: &HeaderValue| {
        std::str::from_utf8(value.as_bytes()).map_or("\n".to_owned(), str::to_owned)
    };
    let name = headers.get(NAME).map(text);
    check_name(name.as_deref())?;
    if let Some(given) = given {
        let token = given.to_str().ok().and_then(|v| v.strip_prefix("Bearer "));
        let role = session::role_of(tokens, token.unwrap_or_default());
        let known = role.map(|role| Caller {
            role,
            name,
            by: By::Token,
            expires_at: None,
        });
        return known.ok_or_else(|| unknown("the token is not right"));
    }
    let Some(cookie) = cookie(headers) else {
        return Err(unknown("no token was sent"));
    };
    let known = session::holder_of(tokens, cookie, clock::now());
    let known = known.map(|holder| Caller {
        role: holder.role,
        name: holder.name,
        by: By::Cookie,
        expires_at: Some(holder.expires_at),
    });
    known.ok_or_else(|| unknown("the session is over"))
}

fn check_name(name: Option<&str>) -> Result<(), Problem> {
    match name {
        Some(name) if !audit::valid_name(name) => {
            let what = "a name for the audit is one line of 1 to 100 bytes";
            Err(Problem::new(Code::InvalidField, what)
                .hint("programs send it as `Sengu-Name: alice@ops1`, in UTF-8; or leave it out"))
        }
        _ => Ok(()),
    }
}

/// What a request does is done by who asks.
pub(super) async fn act(request: Request, next: Next) -> Response {
    // Nobody yet where a session begins.
    let caller = request.extensions().get::<Caller>().cloned();
    let Some(caller) = caller.filter(|_| !request.method().is_safe()) else {
        return next.run(request).await;
    };
    let via = match caller.by {
        By::Token => "token",
        By::Cookie => "cookie",
    };
    let actor = Actor {
        role: caller.role.word().to_owned(),
        name: caller.name,
        via: Some(via.to_owned()),
    };
    audit::acting(actor, next.run(request)).await
}

fn unknown(what: &str) -> Problem {
    Problem::new(Code::Unauthenticated, what).hint(
        "send `Authorization: Bearer <token>`; it is in the file `token` of the data directory",
    )
}

fn elsewhere() -> Problem {
    let what = "the request was made by a page of another origin";
    Problem::new(Code::Forbidden, what).hint("programs send the token instead of the cookie")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

/// Whether one of our own pages asks, by the word of the browser. Another port of this host is somebody else, which
/// `SameSite` does not see.
fn from_here(headers: &HeaderMap, uri: &Uri, scheme: Scheme) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let host = text("host").or_else(|| uri.authority().map(|a| a.as_str()));
    let scheme = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    match (text("origin"), host) {
        (Some(origin), Some(host)) => origin == format!("{scheme}://{host}"),
        _ => false,
    }
}
