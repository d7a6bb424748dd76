#![allow(clippy::unwrap_used)]

use super::*;
use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt as _;

async fn ask(path: &str, encoding: &str) -> Response {
    let request = Request::get(path).header(header::ACCEPT_ENCODING, encoding);
    let request = request.body(Body::empty()).unwrap();
    routes().oneshot(request).await.unwrap()
}

fn text<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |v| v.to_str().unwrap())
}

#[tokio::test]
async fn pages_are_the_index_with_a_strict_policy() {
    for path in ["/console/", "/console/targets/web-1", "/console/login"] {
        let response = ask(path, "identity").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(text(&response, "content-type"), "text/html; charset=utf-8");
        assert_eq!(text(&response, "cache-control"), "no-cache");
        let policy = text(&response, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"));
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(text(&response, "referrer-policy"), "no-referrer");
        assert_eq!(text(&response, "x-content-type-options"), "nosniff");
        assert_eq!(text(&response, "cross-origin-opener-policy"), "same-origin");
    }
}

#[tokio::test]
async fn every_file_is_served_as_it_is() {
    for file in FILES {
        let path = format!("/console/{}", file.path);
        let plain = ask(&path, "gzip").await;
        assert_eq!(plain.status(), StatusCode::OK, "{path}");
        assert_ne!(
            text(&plain, "content-type"),
            "application/octet-stream",
            "{path}"
        );
        assert_eq!(text(&plain, "content-encoding"), "");
        let immutable = text(&plain, "cache-control").contains("immutable");
        assert_eq!(immutable, file.path.starts_with(HASHED), "{path}");
        let packed = ask(&path, "gzip, br;q=0.9").await;
        let coding = if file.brotli.is_some() { "br" } else { "" };
        assert_eq!(text(&packed, "content-encoding"), coding, "{path}");
        let refused = ask(&path, "br;q=0").await;
        assert_eq!(text(&refused, "content-encoding"), "", "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_leads_nowhere() {
    for path in [
        "/console/assets/none.js",
        "/console/../Cargo.toml",
        "/console/%2e%2e/Cargo.toml",
        "/console//etc/passwd.txt",
    ] {
        assert_eq!(
            ask(path, "br").await.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for path in ["/", "/console"] {
        let response = ask(path, "br").await;
        assert!(response.status().is_redirection());
        assert_eq!(text(&response, "location"), PATH);
    }
}
