//! Who is let in, what `check` says about it, and how the tables go from version to version.

mod common;

use common::{Server, append, insert, open, put, server};
use rcgen::generate_simple_self_signed;
use sengu_store::{Check, Op, Store, StoreError, Verdict};
use sengu_store_postgres::{
    PostgresBlobs, PostgresStore, SCHEMA_VERSION, Settings, check, migrate,
};

fn verdict<'a>(found: &'a [Check], what: &str) -> &'a Verdict {
    let check = found.iter().find(|check| check.what == what);
    &check
        .unwrap_or_else(|| panic!("{what} in {found:?}"))
        .verdict
}

fn is_bad(found: &[Check], what: &str) -> bool {
    matches!(verdict(found, what), Verdict::Bad { .. })
}

async fn tables(schema: &str) -> usize {
    let sql = format!(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('{schema}') AND relkind = 'r'"
    );
    server().sql(&sql).await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tells_what_is_wrong_and_changes_nothing() {
    let good = server().settings();
    let found = check(&good).await;
    assert!(!found.iter().any(Check::is_bad), "{found:?}");
    // The tests' server does not flush.
    assert!(matches!(verdict(&found, "durability"), Verdict::Poor(_)));
    assert!(matches!(verdict(&found, "version"), Verdict::Good(_)));
    let schemas = format!(
        "SELECT 1 FROM pg_namespace WHERE nspname = '{}'",
        good.schema
    );
    assert!(server().sql(&schemas).await.is_empty(), "nothing was made");

    let at = |url: String| Settings {
        url,
        ..good.clone()
    };
    let port = server().port;
    let nobody = check(&at("postgres://postgres@127.0.0.1:1/postgres".into())).await;
    assert!(is_bad(&nobody, "reach"), "{nobody:?}");
    let database = check(&at(format!("postgres://postgres@127.0.0.1:{port}/none"))).await;
    assert!(is_bad(&database, "database"), "{database:?}");
    let user = check(&at(format!(
        "postgres://stranger@127.0.0.1:{port}/postgres"
    )))
    .await;
    assert!(is_bad(&user, "sign in"), "{user:?}");
    let plain = check(&at("postgres://a@db.example/x?sslmode=disable".into())).await;
    assert!(is_bad(&plain, "settings"), "{plain:?}");
    let tls = check(&at(format!(
        "postgres://postgres@127.0.0.1:{port}/postgres?sslmode=require"
    )))
    .await;
    assert!(is_bad(&tls, "tls"), "{tls:?}");
    let many = check(&Settings {
        connections_max: 500,
        ..good.clone()
    })
    .await;
    assert!(
        matches!(verdict(&many, "connections"), Verdict::Poor(_)),
        "{many:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_needed_and_never_shown() {
    server().sql("CREATE ROLE guarded LOGIN PASSWORD 'hunter2'; GRANT CREATE ON DATABASE postgres TO guarded").await;
    let with = |in_url: &str, password: Option<&str>| Settings {
        url: format!(
            "postgres://guarded{in_url}@127.0.0.1:{}/postgres",
            server().port
        ),
        password: password.map(str::to_owned),
        schema: "guarded".into(),
        ..server().settings()
    };
    for wrong in [
        with("", None),
        with(":hunter3", None),
        with(":hunter2", Some("hunter3")),
    ] {
        let found = check(&wrong).await;
        assert!(is_bad(&found, "sign in"), "{found:?}");
        let refused = PostgresStore::open(wrong.clone())
            .await
            .expect_err("a wrong password");
        let shown = format!("{found:?}{refused:?}{refused}{wrong:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
    for right in [with(":hunter2", None), with(":hunter3", Some("hunter2"))] {
        assert!(!check(&right).await.iter().any(Check::is_bad));
        let store = open(&right).await;
        assert!(!format!("{store:?}").contains("hunter"));
    }
    server()
        .sql("REVOKE CREATE ON DATABASE postgres FROM guarded")
        .await;
    let elsewhere = Settings {
        schema: "not_there".into(),
        ..with(":hunter2", None)
    };
    let found = check(&elsewhere).await;
    assert!(is_bad(&found, "schema"), "{found:?}");
    let refused = PostgresStore::open(elsewhere).await;
    assert!(
        matches!(refused, Err(StoreError::Broken { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_used_and_checked() {
    let ours = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let other = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let server = Server::start_tls(&ours.cert.pem(), &ours.signing_key.serialize_pem());
    let settings = |host: &str, mode: &str, ca: &str| Settings {
        url: format!(
            "postgres://postgres@{host}:{}/postgres?sslmode={mode}",
            server.port
        ),
        ca_pem: Some(ca.as_bytes().to_vec()),
        ..server.settings()
    };
    for mode in ["require", "verify-full"] {
        let good = settings("localhost", mode, &ours.cert.pem());
        let found = check(&good).await;
        assert_eq!(*verdict(&found, "tls"), Verdict::Good("TLS".into()));
        let store = open(&good).await;
        store.commit(vec![insert(1)].into()).await.expect("commit");
        assert!(
            store
                .task(sengu_model::TaskId(1))
                .await
                .expect("task")
                .is_some()
        );
    }
    for bad in [
        settings("localhost", "require", &other.cert.pem()),
        settings("127.0.0.1", "require", &ours.cert.pem()),
    ] {
        let found = check(&bad).await;
        assert!(is_bad(&found, "tls"), "{found:?}");
        let refused = PostgresStore::open(bad).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_go_forward_and_back() {
    let settings = server().settings();
    migrate(&settings, 1).await.expect("the first version");
    let first = tables(&settings.schema).await;
    let found = check(&settings).await;
    assert!(
        matches!(verdict(&found, "schema"), Verdict::Good(text) if text.contains("next start")),
        "{found:?}"
    );
    let store = open(&settings).await;
    store
        .commit(vec![put("kept"), insert(1)].into())
        .await
        .expect("commit");
    assert!(
        tables(&settings.schema).await > first,
        "opening goes forward"
    );
    // Programs of the version before work beside it: what they use is as it was.
    migrate(&settings, 1).await.expect("back");
    assert_eq!(tables(&settings.schema).await, first);
    store
        .commit(vec![insert(2)].into())
        .await
        .expect("a store that is open goes on");
    migrate(&settings, SCHEMA_VERSION)
        .await
        .expect("forward again");
    let again = open(&settings).await;
    assert!(
        again
            .record("Target", "kept")
            .await
            .expect("record")
            .is_some()
    );
    PostgresBlobs::open(&settings)
        .await
        .expect("blobs are there again");
    migrate(&settings, 0).await.expect("all the way back");
    assert_eq!(tables(&settings.schema).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_tables_are_refused_unless_they_say_that_they_work() {
    let settings = server().settings();
    drop(open(&settings).await);
    let mark = |version: u32, works_from: u32| {
        format!(
            "UPDATE {}.sengu_schema SET version = {version}, works_from = {works_from}",
            settings.schema
        )
    };
    server()
        .sql(&mark(SCHEMA_VERSION + 1, SCHEMA_VERSION))
        .await;
    open(&settings)
        .await
        .commit(vec![insert(1)].into())
        .await
        .expect("commit");
    server()
        .sql(&mark(SCHEMA_VERSION + 2, SCHEMA_VERSION + 1))
        .await;
    let refused = PostgresStore::open(settings.clone())
        .await
        .expect_err("too new");
    assert!(
        refused.to_string().contains("use a newer sengu"),
        "{refused}"
    );
    let found = check(&settings).await;
    assert!(is_bad(&found, "schema"), "{found:?}");
    let back = migrate(&settings, 1).await;
    assert!(back.is_err(), "nor is it taken back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_open_at_once_make_the_tables_once() {
    let settings = server().settings();
    let opened: Vec<_> = (0..6)
        .map(|_| tokio::spawn(PostgresStore::open(settings.clone())))
        .collect();
    for store in opened {
        store.await.expect("no panic").expect("open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_are_kept_or_refused_and_do_nothing() {
    let settings = Settings {
        schema: "o\"dd; DROP SCHEMA public; -- '".into(),
        ..server().settings()
    };
    let store = open(&settings).await;
    for name in [
        "'; DROP TABLE record; --",
        "\"",
        "\\",
        "$1",
        "%",
        "\u{202e}\u{1f600}",
        "a\nb",
        "{x,NULL}",
    ] {
        store
            .commit(vec![put(name), append(name, name)].into())
            .await
            .expect(name);
        let record = store.record("Target", name).await.expect("record");
        assert_eq!(record.map(|r| r.name).as_deref(), Some(name));
        assert_eq!(
            store.entries(name, 1, 0, 9).await.expect("entries").len(),
            1
        );
    }
    let key = Op::PutMeta {
        key: "a\0b".into(),
        value: "x".into(),
    };
    for bad in [put("a\0b"), append("a\0b", "x"), key] {
        let refused = store.commit(vec![insert(9), bad].into()).await;
        let Err(StoreError::Broken { what, .. }) = refused else {
            panic!("a NUL: {refused:?}");
        };
        assert!(what.contains("NUL"), "{what}");
    }
    assert!(
        store
            .task(sengu_model::TaskId(9))
            .await
            .expect("task")
            .is_none()
    );
    assert!(
        store
            .record("Target", "a\0b")
            .await
            .expect("record")
            .is_none()
    );
    assert!(store.meta("a\0b").await.expect("meta").is_none());
    assert!(
        store
            .entries("a\0b", 0, 0, 9)
            .await
            .expect("entries")
            .is_empty()
    );
    // A note comes from a device, and may hold anything.
    let note = Op::Retry {
        task: sengu_model::TaskId(1),
        priority: sengu_model::task::Priority::People,
        attempt: 2,
        not_before: sengu_model::Time(0),
        note: "a\0b".into(),
    };
    store
        .commit(vec![insert(1), note].into())
        .await
        .expect("a note");
}
