//! Execution environments come, go, die and are upgraded while tasks go on. The twins count what really happened.

use crate::kills::{begin, devices, finish, honest};
use sengu_e2e::{Dice, Fleet, Image, Instance, Value, Wee, fleet, folder, json, s, under, until};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The logic role alone, joined over TCP or its socket.
fn logic() -> Instance {
    let mut logic = Instance::prepare();
    let words = ["--role", "logic", "--listen-join", "127.0.0.1:0"];
    logic.arguments = words.map(str::to_owned).to_vec();
    logic.up();
    logic
}

/// Three that joined, one over TCP and two over the socket of the machine.
fn three(logic: &Instance) -> Vec<Wee> {
    let mut wees = vec![
        Wee::prepare(logic, "tcp-1"),
        Wee::prepare(logic, "unix-1").by_socket(logic),
        Wee::prepare(logic, "unix-2").by_socket(logic),
    ];
    wees.iter_mut().for_each(Wee::up);
    for wee in &mut wees {
        wee.joined(logic);
    }
    wees
}

/// How many tasks each execution environment ended.
fn by_wee(tasks: &[Value]) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for task in tasks {
        let wee = task["ending"]["wee"].as_str().unwrap_or_default();
        *all.entry(wee.to_owned()).or_default() += 1;
    }
    all
}

fn lives(logic: &Instance) -> BTreeMap<String, u64> {
    let wees = logic.wees();
    let life = |w: &Value| {
        (
            w["name"].as_str().unwrap().to_owned(),
            w["life"].as_u64().unwrap(),
        )
    };
    wees.iter().map(life).collect()
}

/// Rounds of tasks that must not be repeated, until told to stop; gives the runs.
fn steady_load(logic: &Instance, over: &AtomicBool, kind: &str) -> Vec<String> {
    let mut runs = Vec::new();
    while !over.load(Ordering::Relaxed) {
        // Those with a label: others are left alone.
        let selector = format!("kind={kind},row");
        let params = json!({"sleep_ms": 150});
        let once = json!({"action": "once", "params": params, "selector": selector});
        runs.push(logic.run(&once));
        runs.push(logic.run(&json!({"action": "observe", "selector": selector})));
        std::thread::sleep(Duration::from_millis(200));
    }
    runs
}

/// All done, each at its first attempt; gives who did how many.
fn all_done_once(logic: &Instance, runs: &[String], targets: u64) -> BTreeMap<String, u32> {
    let mut wees: BTreeMap<String, u32> = BTreeMap::new();
    for run in runs {
        let record = logic.over(run, s(40));
        assert_eq!(record["status"]["counts"]["done"], targets, "{record}");
        let tasks = logic.pages(&format!("/v1/tasks?run={run}&limit=500"));
        for task in &tasks {
            assert_eq!(task["ending"]["attempts"], 1, "{task}");
        }
        for (wee, count) in by_wee(&tasks) {
            *wees.entry(wee).or_default() += count;
        }
    }
    wees
}

#[test]
fn tasks_are_spread_and_kill_9_of_one_loses_nothing_and_repeats_nothing() {
    let mut fleet = devices();
    let logic = logic();
    let mut wees = three(&logic);
    fleet.apply(&logic);
    let runs = begin(&logic);
    std::thread::sleep(Duration::from_millis(300 + Dice::new().below(900)));
    let workers = wees[0].workers("");
    wees[0].kill();
    println!("killed tcp-1 with {} workers", workers.len());
    let over = finish(&logic, runs, s(90));
    honest(&logic, &mut fleet, &over);
    let tasks: Vec<Value> = over
        .iter()
        .flat_map(|o| logic.pages(&format!("/v1/tasks?run={}&limit=500", o.run)))
        .collect();
    let spread = by_wee(&tasks);
    println!("{spread:?}");
    for name in ["unix-1", "unix-2"] {
        assert!(spread[name] >= 30, "{spread:?}");
    }
    // Its workers did not outlive it, and it is told as gone.
    until("its workers are gone", s(5), || {
        (!workers.iter().any(|w| w.lives())).then_some(())
    });
    until("it is told as gone", s(30), || {
        logic.wee("tcp-1").is_none().then_some(())
    });
    // It comes back under its name, as another life.
    wees[0].up();
    wees[0].joined(&logic);
}

#[test]
fn cordon_drain_and_uncordon_move_the_work_without_losing_any() {
    const TARGETS: u32 = 40;
    let logic = logic();
    let mut wees = [Wee::start(&logic, "one"), Wee::start(&logic, "two")];
    logic.api.yaml(&fleet::echo(TARGETS)).expect(200);
    let spare = "apiVersion: sengu/v1\nkind: Target\nmetadata: {name: spare}\nspec: {kind: echo, address: x}\n";
    logic.api.yaml(spare).expect(200);
    let load = |over: &AtomicBool| steady_load(&logic, over, "echo");
    let (runs, ()) = under(load, || {
        std::thread::sleep(Duration::from_millis(500));
        logic.cli(&["cordon", "wee/one"]).expect(0);
        logic
            .cli(&["drain", "wee/two", "--wait", "--timeout", "20s"])
            .expect(0);
        // Nobody takes tasks now: they wait, and it is told why.
        let body = json!({"targets": ["spare"], "action": "noop"});
        let made = logic.api.post("/v1/tasks", &body).expect(202);
        let id = made["tasks"][0]["id"].as_str().unwrap().to_owned();
        std::thread::sleep(Duration::from_millis(500));
        let why = logic.cli(&["why", &format!("task/{id}")]).expect(0);
        println!("{}", why.stdout);
        assert!(
            why.stdout.contains("cordoned") || why.stdout.contains("drain"),
            "{why:?}"
        );
        logic.cli(&["uncordon", "wee/one"]).expect(0);
        let task = logic.ended(&id, s(20));
        assert_eq!(task["ending"]["wee"], "one", "{task}");
        logic.cli(&["uncordon", "wee/two"]).expect(0);
        std::thread::sleep(Duration::from_millis(700));
    });
    let spread = all_done_once(&logic, &runs, TARGETS.into());
    println!("{} runs: {spread:?}", runs.len());
    assert_eq!(spread.len(), 2, "{spread:?}");
    assert!(wees.iter_mut().all(Wee::alive));
    // SIGTERM is a drain too.
    let run = logic
        .run(&json!({"action": "once", "params": {"sleep_ms": 500}, "selector": "kind=echo,row"}));
    std::thread::sleep(Duration::from_millis(150));
    assert!(wees[1].terminate().success(), "{}", wees[1].tail());
    all_done_once(&logic, &[run], TARGETS.into());
}

#[test]
fn all_are_upgraded_one_by_one_under_load_and_nothing_fails_or_is_repeated() {
    const TARGETS: u32 = 40;
    let logic = logic();
    // A program of their own, which can be replaced by another.
    let program = logic.beside("bin/sengu");
    fs::create_dir(program.parent().unwrap()).unwrap();
    fs::copy(folder().join("sengu"), &program).unwrap();
    let mut wees: Vec<Wee> = (1..=3)
        .map(|n| Wee::prepare(&logic, &format!("w{n}")))
        .collect();
    for wee in &mut wees {
        wee.program.clone_from(&program);
        let workers = folder().join("workers").display().to_string();
        wee.arguments = vec!["--workers".to_owned(), workers];
        wee.up();
        wee.joined(&logic);
    }
    logic.api.yaml(&fleet::echo(TARGETS)).expect(200);
    let before = lives(&logic);
    let old = inode(&format!("/proc/{}/exe", wees[0].pid()));
    let fresh = logic.beside("bin/sengu.new");
    fs::copy(folder().join("sengu"), &fresh).unwrap();
    fs::rename(&fresh, &program).unwrap();
    let load = |over: &AtomicBool| steady_load(&logic, over, "echo");
    let (runs, ran) = under(load, || {
        std::thread::sleep(Duration::from_millis(400));
        let began = Instant::now();
        let ran = logic.cli(&["wee", "upgrade", "--all", "--timeout", "30s"]);
        println!("upgraded in {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(300));
        ran
    });
    let ran = ran.expect(0);
    println!("{}", ran.stdout);
    let after = lives(&logic);
    for wee in &mut wees {
        assert!(
            ran.stdout
                .contains(&format!("wee/{} started again", wee.name)),
            "{ran:?}"
        );
        assert!(after[&wee.name] > before[&wee.name], "{before:?} {after:?}");
        // The same process, another program.
        assert!(wee.alive());
        let now = inode(&format!("/proc/{}/exe", wee.pid()));
        assert_ne!(now, old);
        assert_eq!(now, inode(&program.display().to_string()));
    }
    let spread = all_done_once(&logic, &runs, TARGETS.into());
    println!("{} runs: {spread:?}", runs.len());
    assert_eq!(spread.len(), 3, "{spread:?}");
}

fn inode(path: &str) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).unwrap().ino()
}

#[test]
fn kill_9_of_logic_and_those_that_joined_come_back_by_themselves() {
    let mut fleet = Fleet::new().with("ssh", 24, &["--latency-ms", "20"]);
    let mut logic = logic();
    let mut wees = vec![
        Wee::prepare(&logic, "one").by_socket(&logic),
        Wee::prepare(&logic, "two").by_socket(&logic),
    ];
    for wee in &mut wees {
        wee.up();
        wee.joined(&logic);
    }
    fleet.apply(&logic);
    let before = lives(&logic);
    let spec =
        json!({"action": "exec", "params": {"command": "sleep 1.5"}, "selector": "kind=ssh"});
    let run = logic.run(&spec);
    until("tasks are in hand", s(10), || {
        (logic.api.get("/v1/top")["tasks"]["started"].as_u64()? > 4).then_some(())
    });
    logic.kill();
    std::thread::sleep(Duration::from_millis(700));
    logic.up();
    let began = Instant::now();
    for wee in &mut wees {
        wee.joined(&logic);
    }
    println!("back after {:?}", began.elapsed());
    assert_eq!(lives(&logic), before, "they did not start again");
    let over = logic.over(&run, s(60));
    println!("{}", over["status"]["counts"]);
    let counts = &over["status"]["counts"];
    let done = counts["done"].as_u64().unwrap();
    assert_eq!(done + counts["unknown"].as_u64().unwrap(), 24, "{over}");
    // What is told as done was done once, and what is not known at most once.
    let effects = fleet.effects();
    for target in logic.run_targets(&run) {
        let name = target["target"].as_str().unwrap();
        let times = effects[name].get("exec").copied().unwrap_or(0);
        let right = times == 1 || times == 0 && target["status"] == "unknown";
        assert!(right, "{times} times: {target}");
    }
    // They take tasks again.
    let tasks = logic.observe_all("ssh", s(30));
    assert!(
        tasks
            .iter()
            .all(|t| t["ending"]["outcome"]["status"] == "done")
    );
    assert_eq!(by_wee(&tasks).len(), 2, "{:?}", by_wee(&tasks));
    assert!(wees.iter_mut().all(Wee::alive));
}

#[test]
fn who_does_not_know_the_token_does_not_join_and_is_told() {
    let logic = logic();
    let mut stranger = Wee::prepare(&logic, "stranger");
    let token = fs::read_to_string(logic.data.join("join.token")).unwrap();
    let token = token.trim();
    let last = if token.ends_with('a') { "b" } else { "a" };
    let wrong = format!("{}{last}", &token[..token.len() - 1]);
    stranger.join = stranger.edited_join(&logic, "token", &wrong);
    stranger.up();
    let status = stranger.ended(s(15));
    assert!(!status.success());
    let told = stranger.tail();
    assert!(told.contains("token"), "{told}");
    assert!(!told.contains(&wrong) && !told.contains(token), "{told}");
    assert!(logic.wees().is_empty());
    // A join file that others can read holds no secret, and is not used.
    let mut open = Wee::prepare(&logic, "open");
    open.join = open.edited_join(&logic, "token", token);
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&open.join, fs::Permissions::from_mode(0o644)).unwrap();
    open.up();
    assert!(!open.ended(s(15)).success());
    assert!(
        open.tail().contains("can be read by others"),
        "{}",
        open.tail()
    );
    // The right one is let in by the same logic.
    Wee::start(&logic, "friend");
}

#[test]
fn a_pushed_image_reaches_those_that_never_had_it_also_when_they_are_killed_while_they_fetch() {
    const PADDING: usize = 48 << 20;
    // Without workers of its own, so that there is nothing else to fetch.
    let mut logic = Instance::prepare();
    let none = logic.beside("none");
    fs::create_dir(&none).unwrap();
    logic.arguments = ["--role", "logic", "--workers"].map(str::to_owned).to_vec();
    logic.arguments.push(none.display().to_string());
    logic.up();
    let mut wees = [
        Wee::prepare(&logic, "one").bare(),
        Wee::prepare(&logic, "two").bare(),
    ];
    wees.iter_mut().for_each(Wee::up);
    until("both have joined", s(20), || {
        (logic.wees().len() == 2).then_some(())
    });
    let image = Image::script(&logic.beside(""), "toy", "1.0.0", "good").padded(PADDING);
    // From the first moment on: it is here within the time that the command takes to end.
    std::thread::scope(|scope| {
        scope.spawn(|| logic.push(&image));
        let end = Instant::now() + s(20);
        let images = wees[0].data.join("images");
        let coming = || {
            let mut entries = fs::read_dir(&images).into_iter().flatten().flatten();
            entries.any(|entry| entry.path().extension().is_some_and(|e| e == "coming"))
        };
        while !coming() {
            assert!(Instant::now() < end, "nobody fetches it");
            std::thread::sleep(Duration::from_millis(1));
        }
        wees[0].kill();
    });
    let log = fs::read_to_string(&wees[0].log).unwrap();
    assert!(
        !log.contains("the image is here"),
        "a larger image is needed"
    );
    let targets = fleet::echo(20).replace("kind: echo", "kind: toy");
    logic.api.yaml(&targets).expect(200);
    // The other one does not wait for it.
    let tasks = logic.observe_all("toy", s(30));
    let expected = BTreeMap::from([("two".to_owned(), 20)]);
    assert_eq!(by_wee(&tasks), expected);
    wees[0].up();
    wees[0].joined(&logic);
    // Only now the first is all there is.
    wees[1].kill();
    until("it carries the work", s(40), || {
        let tasks = logic.observe_all("toy", s(40));
        (by_wee(&tasks) == BTreeMap::from([("one".to_owned(), 20)])).then_some(())
    });
    let log = fs::read_to_string(&wees[0].log).unwrap();
    assert!(log.contains("the image is here"), "{log}");
}
