//! Sessions of browsers: who is let in, to do what, and asked from where.

mod support;

use axum::http::{Method, StatusCode};
use sengu_logic::Logic;
use serde_json::{Value, json};
use std::sync::Arc;
use support::Bench;
use support::http::{HOST, Reply, ask};

const JSON: Value = Value::Null;

async fn begin(logic: &Arc<Logic>, body: &Value) -> Reply {
    ask(logic, Method::POST, "/v1/session", &[], body).await
}

/// `name=value` of the cookie that was set.
fn cookie(reply: &Reply) -> String {
    let set = reply.headers["set-cookie"].to_str().expect("text");
    set.split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_gives_a_cookie_that_scripts_cannot_read_and_other_sites_do_not_send() {
    let bench = Bench::new(0, 1).await;
    let reply = begin(&bench.logic, &json!({"token": "token"})).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body["role"], "operator");
    let set = reply.headers["set-cookie"].to_str().expect("text");
    let rest = set.split_once(';').unwrap().1;
    assert_eq!(rest, " HttpOnly; SameSite=Strict; Path=/; Max-Age=43200");
    assert!(!set.contains("token"));
    let cookie = cookie(&reply);
    let headers = [("cookie", cookie.as_str())];
    let who = ask(&bench.logic, Method::GET, "/v1/session", &headers, &JSON).await;
    assert_eq!(who.body["role"], "operator");
    assert_eq!(who.body["by"], "cookie");
    assert_eq!(who.body["expiresAt"], reply.body["expiresAt"]);
    // After a restart it still counts; it is kept nowhere.
    let bench = bench.restart().await;
    let who = ask(&bench.logic, Method::GET, "/v1/session", &headers, &JSON).await;
    assert_eq!(who.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_let_in_by_what_was_not_given() {
    let bench = Bench::new(0, 1).await;
    for body in [
        json!({"token": "guessed"}),
        json!({"token": ""}),
        json!({"code": "guessed"}),
    ] {
        let reply = begin(&bench.logic, &body).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{body}");
        assert!(!reply.headers.contains_key("set-cookie"));
    }
    for body in [json!({}), json!({"token": "token", "code": "x"})] {
        let status = begin(&bench.logic, &body).await.status;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let good = cookie(&begin(&bench.logic, &json!({"token": "viewer"})).await);
    let forged = good.replace("viewer", "operator");
    for (name, value) in [
        ("cookie", forged.as_str()),
        ("cookie", "sengu_session=9999999999999.operator.AAAA"),
        ("cookie", "other=1"),
        ("authorization", "Bearer guessed"),
        ("authorization", "Bearer "),
        ("authorization", "token"),
        ("x-none", "1"),
    ] {
        let headers = [(name, value)];
        let reply = ask(&bench.logic, Method::GET, "/v1/version", &headers, &JSON).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{name}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cookie_changes_must_be_asked_by_a_page_of_this_server() {
    let bench = Bench::new(0, 1).await;
    let cookie = cookie(&begin(&bench.logic, &json!({"token": "token"})).await);
    let here = format!("http://{HOST}");
    let task = json!({"action": "set", "targets": ["t0"]});
    let refused: [&[(&str, &str)]; 8] = [
        &[],
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
        // The same host, and somebody else.
        &[("origin", "http://127.0.0.1:9999")],
        &[("origin", "https://127.0.0.1:7373")],
        &[("origin", "http://127.0.0.1:7373.evil.example")],
        &[("origin", here.as_str()), ("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site")],
    ];
    for more in refused {
        let headers = [&[("cookie", cookie.as_str())], more].concat();
        let reply = ask(&bench.logic, Method::POST, "/v1/tasks", &headers, &task).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{more:?}");
        assert_eq!(reply.body["code"], "forbidden");
        let reply = ask(&bench.logic, Method::DELETE, "/v1/session", &headers, &JSON).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{more:?}");
    }
    let allowed: [&[(&str, &str)]; 2] = [
        &[("origin", here.as_str())],
        &[("sec-fetch-site", "same-origin")],
    ];
    for more in allowed {
        let headers = [&[("cookie", cookie.as_str())], more].concat();
        let reply = ask(&bench.logic, Method::POST, "/v1/tasks", &headers, &task).await;
        assert_eq!(
            reply.status,
            StatusCode::ACCEPTED,
            "{more:?}: {}",
            reply.body
        );
    }
    // Looking needs none of that, and a token is sent by nobody's browser.
    let headers = [("cookie", cookie.as_str())];
    let reply = ask(&bench.logic, Method::GET, "/v1/tasks", &headers, &JSON).await;
    assert_eq!(reply.status, StatusCode::OK);
    let headers = [("authorization", "Bearer token")];
    let reply = ask(&bench.logic, Method::POST, "/v1/tasks", &headers, &task).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    // No page elsewhere puts a visitor into its own session.
    let headers = [("origin", "https://evil.example")];
    let body = json!({"token": "token"});
    let reply = ask(&bench.logic, Method::POST, "/v1/session", &headers, &body).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_looks_and_changes_nothing() {
    let bench = Bench::new(0, 1).await;
    let here = format!("http://{HOST}");
    let cookie = cookie(&begin(&bench.logic, &json!({"token": "viewer"})).await);
    let by_cookie = [("cookie", cookie.as_str()), ("origin", here.as_str())];
    let by_token = [("authorization", "Bearer viewer")];
    for headers in [&by_cookie[..], &by_token[..]] {
        for path in [
            "/v1/overview",
            "/v1/records/Target",
            "/v1/tiles",
            "/v1/changes",
        ] {
            let reply = ask(&bench.logic, Method::GET, path, headers, &JSON).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.body);
        }
        for (method, path) in [
            (Method::POST, "/v1/tasks"),
            (Method::POST, "/v1/runs"),
            (Method::POST, "/v1/runs/r-0000000000001/pause"),
            (Method::POST, "/v1/session/code"),
            (Method::DELETE, "/v1/records/Target/t0"),
        ] {
            let body = json!({"action": "set", "targets": ["t0"]});
            let reply = ask(&bench.logic, method, path, headers, &body).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
    let reply = ask(
        &bench.logic,
        Method::DELETE,
        "/v1/session",
        &by_cookie,
        &JSON,
    )
    .await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "and may go");
    let set = reply.headers["set-cookie"].to_str().expect("text");
    assert!(set.starts_with("sengu_session=;") && set.contains("Max-Age=0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_opens_one_session() {
    let bench = Bench::new(0, 1).await;
    let token = [("authorization", "Bearer token")];
    let made = ask(
        &bench.logic,
        Method::POST,
        "/v1/session/code",
        &token,
        &JSON,
    )
    .await;
    assert_eq!(made.status, StatusCode::OK);
    let body = json!({"code": made.body["code"]});
    let first = begin(&bench.logic, &body).await;
    assert_eq!(
        (first.status, &first.body["role"]),
        (StatusCode::OK, &json!("operator"))
    );
    let second = begin(&bench.logic, &body).await;
    assert_eq!(second.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_many_wrong_ones_nobody_is_looked_at_for_a_while() {
    let bench = Bench::new(0, 1).await;
    let mut last = StatusCode::OK;
    for _ in 0..=sengu_model::limits::SESSION_DENIALS_MAX {
        last = begin(&bench.logic, &json!({"token": "guessed"}))
            .await
            .status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let reply = begin(&bench.logic, &json!({"token": "token"})).await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    // Who has the token still gets in with it.
    let token = [("authorization", "Bearer token")];
    let reply = ask(&bench.logic, Method::GET, "/v1/session", &token, &JSON).await;
    assert_eq!(reply.body["by"], "token");
}
