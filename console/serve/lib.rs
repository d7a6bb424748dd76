//! Serves the console: files that were there when the binary was built, and nothing else.
//!
//! It exists so that a browser needs nothing but the binary. It must never see the API's state or a token: what the
//! pages show they ask of the public API, by the browser's own session.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

/// Where the console lives on the server.
pub const PATH: &str = "/console/";

/// Nothing but our own files, no inline script or style, no frame around us, no request to elsewhere.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
const INDEX: &str = "index.html";
/// Files here have the digest of their content in their name.
const HASHED: &str = "assets/";

struct File {
    path: &'static str,
    bytes: &'static [u8],
    /// The same, packed by Brotli.
    brotli: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// `/console/` and what is below it; `/` leads there.
pub fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::to(PATH) }))
        .route("/console", get(|| async { Redirect::to(PATH) }))
        .route(
            PATH,
            get(|headers: HeaderMap| async move { serve("", &headers) }),
        )
        .route("/console/{*path}", get(file))
}

async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    serve(&path, &headers)
}

fn serve(path: &str, asked: &HeaderMap) -> Response {
    let find = |path: &str| FILES.iter().find(|file| file.path == path);
    // A page of the console has no dot in its last part: the program in the browser finds out which one it is.
    let page = !path.rsplit('/').next().unwrap_or_default().contains('.');
    let file = match page {
        true => find(INDEX),
        false => find(path),
    };
    let mut response = match file {
        Some(file) => body(file, asked),
        None => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn body(file: &File, asked: &HeaderMap) -> Response {
    let packed = file.brotli.filter(|_| takes_brotli(asked));
    let mut response = packed.unwrap_or(file.bytes).into_response();
    let headers = response.headers_mut();
    let keep = match file.path.starts_with(HASHED) {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    let kind = HeaderValue::from_static(content_type(file.path));
    headers.insert(header::CONTENT_TYPE, kind);
    if file.brotli.is_some() {
        let by = HeaderValue::from_static("accept-encoding");
        headers.insert(header::VARY, by);
    }
    if packed.is_some() {
        let brotli = HeaderValue::from_static("br");
        headers.insert(header::CONTENT_ENCODING, brotli);
    }
    response
}

fn takes_brotli(asked: &HeaderMap) -> bool {
    let all = asked.get_all(header::ACCEPT_ENCODING).into_iter();
    let mut codings = all
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let refused = |p: &str| matches!(p, "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        parts.next() == Some("br") && !parts.any(refused)
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
