//! What a logic role answers that stands by for another one: that it lives, and who is the active one.

use super::Refusal;
use super::serve::{ServeError, Tls, serve_routes};
use crate::leader::Leader;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use sengu_model::problem::{Code, Problem};
use std::future::Future;
use std::net::TcpListener;
use tokio::sync::watch;

type Holder = watch::Receiver<Option<Leader>>;

/// Serves until `shutdown` resolves.
///
/// # Errors
/// When the listener or the TLS files cannot be used.
pub async fn serve(
    holder: Holder,
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let routes = Router::new()
        .route("/healthz", get(super::system::healthz))
        .route("/readyz", get(readyz))
        .fallback(elsewhere)
        .with_state(holder);
    serve_routes(routes, listener, tls, shutdown).await
}

async fn readyz() -> (StatusCode, &'static str) {
    (StatusCode::SERVICE_UNAVAILABLE, "stands by\n")
}

/// Nothing is told that needs a token: no more than where to ask.
async fn elsewhere(State(holder): State<Holder>) -> Refusal {
    let active = holder.borrow().clone();
    let problem = Problem::new(Code::Standby, "this sengu stands by for another one");
    Refusal(match active {
        Some(leader) if !leader.released => problem.hint(format!(
            "ask the active one, {}: {}",
            leader.name, leader.url
        )),
        _ => problem.hint("try again in a moment"),
    })
}
