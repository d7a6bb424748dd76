//! The HTTP API: the only door. Everything the command line and the console do goes through it.
//!
//! Handlers translate; they must never decide. Listening off loopback needs TLS, everything but health needs the token.

mod audit;
mod changes;
mod explain;
mod follow;
mod grid;
pub mod idempotency;
mod moves;
mod openapi;
mod overview;
mod parked;
mod racks;
mod records;
mod runs;
pub mod serve;
mod session;
pub mod standby;
mod system;
mod tasks;
mod watch;
mod workers;

pub use openapi::document;
pub use session::Scheme;
pub(crate) use workers::Chosen;

use crate::core::Logic;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use sengu_model::limits;
use sengu_model::problem::{Code, Problem};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// The whole API as a service that is reached by `scheme`.
pub fn router(logic: Arc<Logic>, scheme: Scheme) -> Router {
    let (api, _) = openapi::routes().split_for_parts();
    let guarded = api
        .route("/metrics", axum::routing::get(system::metrics))
        .route("/v1/openapi.json", axum::routing::get(system::openapi))
        .layer(middleware::from_fn(session::act))
        .layer(middleware::from_fn_with_state(
            logic.clone(),
            idempotency::remember,
        ))
        .layer(middleware::from_fn(carry_through))
        .layer(middleware::from_fn_with_state(logic.clone(), active_only))
        .layer(middleware::from_fn_with_state(
            logic.clone(),
            session::authenticate,
        ))
        .layer(axum::Extension(scheme));
    guarded
        .route("/healthz", axum::routing::get(system::healthz))
        .route("/readyz", axum::routing::get(system::readyz))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(limits::REQUEST_BYTES_MAX))
        .layer(middleware::from_fn_with_state(
            logic.clone(),
            number_requests,
        ))
        .with_state(logic)
}

/// A problem as a response.
pub struct Refusal(pub Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Refusal(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, body).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if matches!(
            self.0.code,
            Code::StoreUnavailable | Code::Unavailable | Code::Standby | Code::TooManyRequests
        ) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if self.0.code == Code::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

pub type Answer<T> = Result<T, Refusal>;

/// A JSON body; what is wrong with it is told as a problem.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;
    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = read_body(request, state).await?;
        serde_json::from_slice(&bytes).map(Body).map_err(|e| {
            let code = match e.classify() {
                serde_json::error::Category::Data => Code::InvalidField,
                _ => Code::Syntax,
            };
            let what = format!("body, line {} column {}: {e}", e.line(), e.column());
            Refusal(Problem::new(code, what).hint("see /v1/openapi.json for the shape"))
        })
    }
}

pub(crate) async fn read_body<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<bytes::Bytes, Refusal> {
    bytes::Bytes::from_request(request, state)
        .await
        .map_err(|rejection| {
            let rejection = rejection.into_response();
            let code = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
                _ => Code::Syntax,
            };
            let what = match code {
                Code::BodyTooLarge => format!("body over {} bytes", limits::REQUEST_BYTES_MAX),
                _ => "body could not be read".to_owned(),
            };
            Refusal(Problem::new(code, what).hint("send it in smaller parts"))
        })
}

/// Query parameters; unknown ones are refused, since a misspelt filter would show too much.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> axum::extract::FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;
    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Refusal> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(query) => Ok(Params(query.0)),
            Err(e) => {
                let text = e.body_text();
                Err(Refusal(Problem::new(
                    Code::InvalidField,
                    format!("query: {text}"),
                )))
            }
        }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it back for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Watch from here to miss nothing after this list.
    pub revision: u64,
}

pub(crate) fn page_limit(limit: Option<usize>) -> usize {
    limit
        .unwrap_or(limits::PAGE_DEFAULT)
        .clamp(1, limits::PAGE_MAX)
}

pub(crate) fn json<T: Serialize>(status: StatusCode, value: T) -> Response {
    (status, Json(value)).into_response()
}

async fn no_such_route() -> Refusal {
    Refusal(
        Problem::new(Code::NoSuchRoute, "there is nothing at this path")
            .hint("see /v1/openapi.json"),
    )
}

async fn method_not_allowed() -> Refusal {
    Refusal(Problem::new(
        Code::MethodNotAllowed,
        "this path does not know that method",
    ))
}

/// One that cannot be sure to be the active one answers nothing: it may have been overtaken without knowing yet.
async fn active_only(State(logic): State<Arc<Logic>>, request: Request, next: Next) -> Response {
    if logic.shared.seat.holds() || request.uri().path() == "/metrics" {
        return next.run(request).await;
    }
    let what = "this sengu cannot be sure to be the active one: the store does not answer in time, or another has taken over";
    Refusal(Problem::new(Code::Standby, what).hint("try again in a moment, or ask the other one"))
        .into_response()
}

/// A change that was begun is carried to its end, whoever still listens: a caller who goes away between the commit and
/// what follows it would leave tasks in the store that nobody sends.
async fn carry_through(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "request not carried through");
            Refusal(Problem::new(Code::Internal, "the request ended early")).into_response()
        }
    }
}

async fn number_requests(
    State(logic): State<Arc<Logic>>,
    request: Request,
    next: Next,
) -> Response {
    logic.shared.metrics.request();
    let number = format!("q-{:x}", logic.shared.next_id());
    let mut response = next.run(request).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        logic.shared.metrics.problem();
    }
    if let Ok(value) = HeaderValue::from_str(&number) {
        response.headers_mut().insert("x-request-id", value);
    }
    response.headers_mut().insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}
