//! Whatever happens to the engine, to containers and to images: nothing hangs, nothing is left, and it works again by
//! itself.

mod engine;

use engine::Engine;
use engine::live::{Live, until, within};
use sengu_execution::runtime::{Handle, Image, Runtime, RuntimeError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

async fn works(runtime: &dyn Runtime, image: &Image) {
    within("prepare", runtime.prepare(image.clone()))
        .await
        .expect("prepare");
    let mut live = Live::start(runtime, image).await;
    assert_eq!(live.answer("hello?").await, "hello?");
    runtime.stop(live.handle).await.expect("stop");
}

/// Waits until calls succeed again.
async fn works_again(runtime: &dyn Runtime, image: &Image) {
    within("the engine", async {
        while runtime.prepare(image.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    works(runtime, image).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_engine_is_told_of_and_used_once_it_is_there() {
    let mut engine = Engine::absent();
    let image = engine.mirror();
    let runtime = engine.runtime("absent");
    assert!(!runtime.fits(&image));
    let socket = engine.socket().display().to_string();
    let tells = |e: RuntimeError| {
        let text = e.text();
        assert!(matches!(e, RuntimeError::Engine(_)), "{e:?}");
        assert!(
            text.contains(&socket) && text.contains("does not answer"),
            "{text}"
        );
    };
    tells(runtime.prepare(image.clone()).await.unwrap_err());
    tells(
        runtime
            .start(image.clone(), "x".to_owned())
            .await
            .unwrap_err(),
    );
    tells(runtime.list().await.unwrap_err());
    tells(
        runtime
            .stop(Handle("sengu-x".to_owned()))
            .await
            .unwrap_err(),
    );
    let words = runtime.isolation();
    assert!(
        words.iter().any(|word| word.contains("does not answer")),
        "{words:?}"
    );

    engine.begin();
    assert!(runtime.fits(&image));
    works(&runtime, &image).await;
    let mut other = image.clone();
    other.runtimes.clear();
    assert!(!runtime.fits(&other));
    let refused = runtime.prepare(other).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::Image { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_killed_ends_its_instances_and_comes_back() {
    let mut engine = Engine::start();
    let image = engine.mirror();
    let runtime = Arc::new(engine.runtime("killed"));
    // With live-restore, containers outlive their engine and are still there when it is back.
    for more in [&[][..], &["--live-restore"]] {
        engine.kill();
        engine.begin_with(more);
        works_again(&*runtime, &image).await;

        let mut live = Live::start(&*runtime, &image).await;
        live.say("deaf").await;
        assert_eq!(live.answer("still here").await, "still here");
        let handle = live.handle.clone();
        engine.kill();
        let (exit, _) = live.end().await;
        assert!(
            !exit.clean && exit.why.contains("Docker Engine went away"),
            "{exit:?}"
        );
        assert!(runtime.fits(&image), "it will be back");
        let away = runtime
            .start(image.clone(), "x".to_owned())
            .await
            .unwrap_err();
        assert!(matches!(away, RuntimeError::Engine(_)), "{away:?}");
        within("stop", runtime.stop(handle.clone()))
            .await
            .unwrap_err();

        engine.begin_with(more);
        until("its removal", || engine.containers().is_empty()).await;
        works_again(&*runtime, &image).await;
        runtime.stop(handle).await.expect("gone already");
    }

    // While some start.
    let starts = (0..4).map(|n| {
        let (runtime, image) = (runtime.clone(), image.clone());
        tokio::spawn(async move { runtime.start(image, format!("x/{n}")).await })
    });
    let starts: Vec<_> = starts.collect();
    until("a container", || !engine.containers().is_empty()).await;
    engine.kill();
    for start in starts {
        if let Ok(handle) = within("a start", start).await.expect("no panic") {
            let attached = runtime.attach(handle).await.expect("attach");
            assert!(!within("its end", attached.exit).await.clean);
        }
    }
    engine.begin();
    until("their removal", || engine.containers().is_empty()).await;
    works_again(&*runtime, &image).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_do_to_containers_and_images_is_noticed() {
    let engine = Engine::start();
    let image = engine.mirror();
    let runtime = engine.runtime("others");
    let live = Live::start(&runtime, &image).await;
    engine.lines(&["kill", &live.handle.0]);
    let (exit, _) = live.end().await;
    assert_eq!(
        (exit.clean, exit.why.as_str()),
        (false, "killed by signal 9 (exit status 137)")
    );

    let live = Live::start(&runtime, &image).await;
    engine.lines(&["rm", "--force", &live.handle.0]);
    assert!(!live.end().await.0.clean);
    until("its removal", || engine.containers().is_empty()).await;

    let remove_image = || {
        let ids = engine.lines(&["images", "--quiet", "--no-trunc"]);
        assert_eq!(ids.len(), 1, "{ids:?}");
        engine.lines(&["rmi", "--force", &ids[0]]);
    };
    remove_image();
    works(&runtime, &image).await;
    remove_image();
    let live = Live::start(&runtime, &image).await;
    runtime.stop(live.handle).await.expect("stop");

    // Names in the engine are for people: whatever they are moved to, the same bytes run.
    let tag = &engine.lines(&["images", "--format", "{{.Repository}}:{{.Tag}}"])[0];
    assert_eq!(tag, "sengu/mirror:1.0.0-mirror");
    engine.lines(&["rmi", tag, "--no-prune"]);
    works(&runtime, &image).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn left_overs_are_those_of_other_lives_of_the_same_owner() {
    let mut engine = Engine::start();
    let image = engine.mirror();
    let first = engine.runtime("one");
    let stranger = engine.runtime("two");
    let of_first = Live::start(&first, &image).await;
    let of_stranger = Live::start(&stranger, &image).await;
    let id = &engine.lines(&["images", "--quiet", "--no-trunc"])[0];
    let created = [
        "create",
        "--network=host",
        "--name=never-started",
        "--label=sengu.owner=one",
        "--label=sengu.life=old",
        id,
    ];
    engine.lines(&created);

    let second = engine.runtime("one");
    let mut expected = vec![Handle("never-started".to_owned()), of_first.handle.clone()];
    expected.sort();
    assert_eq!(second.list().await.expect("list"), expected);
    assert_eq!(
        first.list().await.expect("list"),
        [Handle("never-started".to_owned())]
    );
    for handle in expected {
        second.stop(handle).await.expect("stop");
    }
    assert_eq!(second.list().await.expect("list"), []);
    assert!(!of_first.end().await.0.clean);
    let left = std::slice::from_ref(&of_stranger.handle.0);
    until("the removal of the others", || engine.containers() == left).await;

    // A list that failed is made good when the engine is back.
    engine.lines(&created);
    engine.kill();
    let third = engine.runtime("one");
    third.list().await.unwrap_err();
    engine.begin_with(&["--live-restore"]);
    until("its removal", || {
        !engine.containers().contains(&"never-started".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_are_loaded_whole_or_refused() {
    let engine = Engine::start();
    let packed = engine.mirror();
    let runtime = engine.runtime("archives");
    works(&runtime, &packed).await;
    let tag = "sengu/mirror:1.0.0-mirror";
    let folder = engine.path().join("saved");
    std::fs::create_dir_all(&folder).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    engine.lines(&["tag", tag, "others/image:latest"]);
    engine.lines(&["save", "--output", &at("good.tar"), "others/image:latest"]);
    engine.lines(&[
        "save",
        "--output",
        &at("two.tar"),
        tag,
        "others/image:latest",
    ]);
    engine.lines(&["rmi", tag, "others/image:latest"]);
    let archived = |name: &str| {
        let mut image = packed.clone();
        image.folder = folder.clone();
        image.runtimes[0].archive = Some(name.to_owned());
        image
    };
    works(&runtime, &archived("good.tar")).await;
    let tags = engine.lines(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(
        tags,
        [tag],
        "an archive gives no meaning to names of others"
    );
    // One image under two names is one image.
    works(&runtime, &archived("two.tar")).await;

    let good = std::fs::read(at("good.tar")).unwrap();
    let make = |name: &str, bytes: &[u8]| std::fs::write(at(name), bytes).unwrap();
    make("cut.tar", &good[..good.len() / 2]);
    make("text.tar", b"this is no archive");
    make("empty.tar", b"");
    let swap = |from: &str, to: &str| {
        let mut bytes = good.clone();
        let found = bytes
            .windows(from.len())
            .position(|part| part == from.as_bytes())
            .unwrap();
        bytes[found..found + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    make("changed.tar", &swap("65534:65534", "00000:00000"));
    make("layer.tar", &swap("exit ", "quit "));
    engine.lines(&["rmi", "--force", tag]);
    for (name, reason) in [
        ("cut.tar", "archive"),
        ("text.tar", "archive"),
        ("empty.tar", "manifest.json"),
        ("missing.tar", "No such file"),
        ("changed.tar", "has been changed"),
        ("layer.tar", "the engine does not load it"),
    ] {
        let refused = runtime.prepare(archived(name)).await.unwrap_err();
        assert!(
            matches!(refused, RuntimeError::Image { .. }),
            "{name}: {refused:?}"
        );
        assert!(
            refused.text().contains(reason),
            "{name}: {}",
            refused.text()
        );
    }

    let elsewhere = engine.path().join("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let mut program = std::fs::read(packed.folder.join("mirror")).unwrap();
    let other = if cfg!(target_arch = "aarch64") {
        62u16
    } else {
        183
    };
    program[18..20].copy_from_slice(&other.to_le_bytes());
    std::fs::write(elsewhere.join("mirror"), program).unwrap();
    make_executable(&elsewhere.join("mirror"));
    let foreign = engine::image(elsewhere, &["mirror"]);
    let refused = runtime.prepare(foreign).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::Image { .. }), "{refused:?}");
    assert!(
        refused.text().contains("the engine is linux/"),
        "{}",
        refused.text()
    );
    assert_eq!(
        engine.lines(&["images", "--quiet"]),
        [""; 0],
        "nothing of it was loaded"
    );
    works(&runtime, &archived("good.tar")).await;
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set the mode");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_versions_leave_the_engine_and_used_ones_stay() {
    let engine = Engine::start();
    let image = engine.mirror();
    let versions = 12;
    let version = |n: usize| {
        let mut image = image.clone();
        image.version = format!("1.{n}.0");
        image.digest = format!("sha256:{n:012}");
        image
    };
    let earlier = engine.runtime("old");
    let used = Live::start(&earlier, &version(0)).await;
    for n in 1..versions {
        earlier.prepare(version(n)).await.expect("prepare");
    }
    let count = || engine.lines(&["images", "--quiet"]).len();
    assert_eq!(count(), versions, "what was asked for in this life stays");
    let later = engine.runtime("old");
    later.prepare(version(versions)).await.expect("prepare");
    assert!(count() < versions, "{}", count());
    let tags = engine.lines(&["images", "--format", "{{.Tag}}"]);
    assert!(
        tags.contains(&format!("1.{versions}.0-{versions:012}")),
        "{tags:?}"
    );
    assert!(
        tags.contains(&"1.0.0-000000000000".to_owned()),
        "a container uses it: {tags:?}"
    );
    earlier.stop(used.handle).await.expect("stop");
    // What one life had and another removed is brought again.
    works(&earlier, &version(1)).await;
}
