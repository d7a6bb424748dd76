use super::*;
use sengu_model::release::ReleaseRule;
use sengu_model::wire::envelope::WorkerOffer;
use serde_json::json;

fn kind(version: &str, actions: &[(&str, &str)]) -> Arc<Kind> {
    let actions: Vec<_> = actions
        .iter()
        .map(|(name, effect)| json!({"name": name, "effect": effect}))
        .collect();
    let manifest = serde_json::from_value(json!({
        "name": "bmc", "version": version, "protocol": 1, "command": ["w"], "slots": 1,
        "action": actions,
    }));
    let offer = WorkerOffer {
        v: 1,
        manifest: manifest.unwrap(),
        digest: String::new(),
        bytes: 0,
        active: true,
        pool: sengu_model::manifest::PoolDecl::default(),
    };
    Arc::new(Kind::new(offer).unwrap())
}

fn rule(name: &str, version: &str, selector: &str, percent: f64) -> ReleaseRule {
    ReleaseRule {
        name: name.to_owned(),
        version: version.to_owned(),
        selector: selector.to_owned(),
        share: Share::Percent(percent),
        steps: Vec::new(),
        guard: None,
        shadow: false,
    }
}

fn routes(rules: Vec<ReleaseRule>, held: &[(String, Cell)]) -> Routes {
    let read_and_set = [("observe", "read"), ("set", "idempotent")];
    let versions = [
        kind("1.0.0", &read_and_set),
        kind("1.1.0", &read_and_set),
        kind("2.0.0", &[("observe", "read"), ("set", "once")]),
    ];
    let versions = versions
        .into_iter()
        .map(|k| (k.offer.manifest.version.clone(), k))
        .collect();
    let spec = ReleaseSpec {
        version: "1.0.0".to_owned(),
        rules,
        pool: sengu_model::release::PoolPatch::default(),
    };
    Routes::new("bmc", &spec, held, |_| None, &versions)
}

fn facts(key: &str) -> Option<Cow<'static, str>> {
    let value = match key {
        "vendor" => "Contoso",
        "model" => "M1",
        "firmware" => "1.9",
        "site" => "tyo1",
        _ => return None,
    };
    Some(value.into())
}

fn asked<'a>(target: u64, action: &'a str, effect: Effect, pinned: Option<&'a str>) -> Asked<'a> {
    Asked {
        target: Uid(target),
        action,
        effect,
        pinned,
    }
}

fn version(routes: &Routes, asked: &Asked) -> String {
    match routes.choose(asked, facts, |_| false) {
        Ok(choice) => choice.kind.offer.manifest.version.clone(),
        Err(why) => why,
    }
}

#[test]
fn the_first_rule_that_matches_wins() {
    let read = |target| asked(target, "observe", Effect::Read, None);
    let table: [(Vec<ReleaseRule>, &str); 9] = [
        (vec![], "1.0.0"),
        (vec![rule("a", "1.1.0", "", 100.0)], "1.1.0"),
        (vec![rule("a", "1.1.0", "", 0.0)], "1.0.0"),
        (
            vec![rule("a", "1.1.0", "vendor=Contoso,firmware<2.0", 100.0)],
            "1.1.0",
        ),
        (
            vec![rule("a", "1.1.0", "vendor=Contoso,firmware>=2.0", 100.0)],
            "1.0.0",
        ),
        (
            vec![rule("a", "1.1.0", "site=tyo1,action=observe", 100.0)],
            "1.1.0",
        ),
        (vec![rule("a", "1.1.0", "action=set", 100.0)], "1.0.0"),
        (
            vec![rule("a", "2.0.0", "", 100.0), rule("b", "1.1.0", "", 100.0)],
            "2.0.0",
        ),
        // A rule for a version that is not here is as if it were not there.
        (vec![rule("a", "9.9.9", "", 100.0)], "1.0.0"),
    ];
    for (rules, expected) in table {
        let shown = format!("{rules:?}");
        assert_eq!(version(&routes(rules, &[]), &read(7)), expected, "{shown}");
    }
}

#[test]
fn a_version_that_means_something_else_by_an_action_is_passed_over() {
    let routes = routes(vec![rule("a", "2.0.0", "", 100.0)], &[]);
    assert_eq!(
        version(&routes, &asked(1, "observe", Effect::Read, None)),
        "2.0.0"
    );
    assert_eq!(
        version(&routes, &asked(1, "set", Effect::Idempotent, None)),
        "1.0.0"
    );
    let none = version(&routes, &asked(1, "fly", Effect::Read, None));
    assert_eq!(none, "bmc@1.0.0 has no action fly");
}

#[test]
fn a_share_is_sticky_and_grows_by_adding() {
    let chosen = |percent: f64| -> Vec<u64> {
        let routes = routes(vec![rule("a", "1.1.0", "", percent)], &[]);
        let is_new = |target: &u64| {
            version(&routes, &asked(*target, "observe", Effect::Read, None)) == "1.1.0"
        };
        (0..10_000).filter(is_new).collect()
    };
    let (one, ten, half) = (chosen(1.0), chosen(10.0), chosen(50.0));
    assert!((60..=140).contains(&one.len()), "{}", one.len());
    assert!((900..=1_100).contains(&ten.len()), "{}", ten.len());
    assert!(one.iter().all(|t| ten.contains(t)) && ten.iter().all(|t| half.contains(t)));
    assert_eq!(chosen(100.0).len(), 10_000);
    assert_eq!(one, chosen(1.0));
}

#[test]
fn a_cell_that_is_held_stays_with_what_was() {
    let cell = cell("observe", &facts);
    assert_eq!(
        cell.to_string(),
        "vendor=Contoso,model=M1,firmware=1.9,action=observe"
    );
    let routes = routes(
        vec![rule("a", "1.1.0", "", 100.0)],
        &[("1.1.0".to_owned(), cell)],
    );
    assert_eq!(
        version(&routes, &asked(1, "observe", Effect::Read, None)),
        "1.0.0"
    );
    assert_eq!(
        version(&routes, &asked(1, "set", Effect::Idempotent, None)),
        "1.1.0"
    );
}

#[test]
fn a_pin_is_honoured_or_refused_with_the_reason() {
    let routes = routes(vec![rule("a", "1.1.0", "", 100.0)], &[]);
    let pin = |action, effect, to| version(&routes, &asked(1, action, effect, Some(to)));
    assert_eq!(pin("observe", Effect::Read, "2.0.0"), "2.0.0");
    assert!(
        pin("observe", Effect::Read, "3.0.0")
            .contains("not known here (known: 1.0.0, 1.1.0, 2.0.0)")
    );
    assert!(pin("set", Effect::Idempotent, "2.0.0").contains("cannot do set as idempotent"));
}

#[test]
fn a_shadow_never_does_the_task_and_a_closed_rule_is_passed_over() {
    let mut shadow = rule("a", "1.1.0", "", 100.0);
    shadow.shadow = true;
    let routes_ = routes(vec![shadow, rule("b", "2.0.0", "", 100.0)], &[]);
    let read = asked(1, "observe", Effect::Read, None);
    assert_eq!(version(&routes_, &read), "2.0.0");
    let closed = routes_
        .choose(&read, facts, |route| *route.name == *"b")
        .unwrap();
    assert_eq!(closed.kind.offer.manifest.version, "1.0.0");
    assert!(closed.why.contains("for all that no rule matches"));
}
