//! The worker against sushy-tools' emulator, which nobody here wrote, alone and behind HAProxy.

mod support;

use sengu_sdk::testing::{Ended, Instance};
use sengu_sdk::{FailureCode, Outcome, TargetFrame};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use support::peers::{haproxy, sushy, system_id};
use support::{LONG, Secrets, changed, code, message, power, result, worker};

fn call(worker: &mut Instance, target: &TargetFrame, action: &str, params: Value) -> Ended {
    worker.call(target, &Secrets::new(), action, params, LONG)
}

#[test]
fn a_foreign_bmc_is_observed_and_controlled() {
    let sushy = sushy(3, None);
    let mut worker = worker();
    let target = sushy.target(
        "https",
        json!({"tls": {"ca": sushy.ca}, "system": system_id(2)}),
    );

    let ended = call(&mut worker, &target, "observe", json!({}));
    assert_eq!(result(&ended), Value::Null, "{ended:?}");
    assert_eq!(ended.facts["vendor"], "Sushy Emulator");
    assert_eq!(ended.facts["uuid"], system_id(2));
    assert_eq!(ended.reading("power_on"), Some(0.0));
    assert_eq!(ended.reading("health_ok"), Some(1.0));
    assert!(
        ended
            .reading("temperature_celsius")
            .is_some_and(|c| c > 10.0),
        "{ended:?}"
    );
    assert!(
        ended
            .reading("fan_speed_rpm")
            .is_some_and(|rpm| rpm > 1_000.0)
    );

    // The emulator answers 204 at once and does it 1 to 11 s later.
    assert!(changed(&call(
        &mut worker,
        &target,
        "power.set",
        json!({"state": "on"})
    )));
    assert_eq!(
        call(&mut worker, &target, "observe", power()).reading("power_on"),
        Some(1.0)
    );
    assert!(!changed(&call(
        &mut worker,
        &target,
        "power.set",
        json!({"state": "on"})
    )));
    // It has no PowerCycle and no LastResetTime.
    let cycled = call(&mut worker, &target, "power.cycle", json!({}));
    assert!(changed(&cycled));
    assert_eq!(
        result(&cycled),
        json!({"resetType": "ForceRestart", "evidence": "powerState"})
    );
    let first = sushy.target(
        "https",
        json!({"tls": {"ca": sushy.ca}, "system": system_id(1)}),
    );
    assert_eq!(
        call(&mut worker, &first, "observe", power()).reading("power_on"),
        Some(0.0)
    );

    // It takes Once with 204 and keeps Continuous.
    let once = worker.call(
        &target,
        &Secrets::new(),
        "boot.set",
        json!({"device": "Pxe"}),
        Duration::from_secs(6),
    );
    assert_eq!(code(&once), FailureCode::Refused);
    assert!(message(&once).contains("Continuous"), "{once:?}");
    let keep = json!({"device": "Cd", "once": false});
    assert!(changed(&call(
        &mut worker,
        &target,
        "boot.set",
        keep.clone()
    )));
    assert!(!changed(&call(&mut worker, &target, "boot.set", keep)));
    assert!(changed(&call(
        &mut worker,
        &target,
        "led.set",
        json!({"state": "blinking"})
    )));
    let cap = call(&mut worker, &target, "powercap.set", json!({"watts": 300}));
    assert_eq!(code(&cap), FailureCode::Refused);
    worker.drain();
}

#[test]
fn one_of_several_systems_must_be_named_for_a_change() {
    let sushy = sushy(3, None);
    let mut worker = worker();
    let tls = json!({"insecure": true});
    let any = sushy.target("https", json!({"tls": tls}));
    assert_eq!(
        call(&mut worker, &any, "observe", power()).reading("power_on"),
        Some(0.0)
    );
    let refused = call(&mut worker, &any, "power.set", json!({"state": "on"}));
    assert_eq!(code(&refused), FailureCode::Refused);
    assert!(message(&refused).contains(&system_id(1)), "{refused:?}");
    let unknown = sushy.target("https", json!({"tls": tls, "system": "nine"}));
    assert_eq!(
        code(&call(&mut worker, &unknown, "observe", power())),
        FailureCode::Refused
    );
    let path = format!("/redfish/v1/Systems/{}", system_id(3));
    let by_path = sushy.target("https", json!({"tls": tls, "system": path}));
    let ended = call(&mut worker, &by_path, "observe", json!({}));
    assert_eq!(ended.facts["uuid"], system_id(3));

    // Another CA than the one that signed it.
    let stranger = support::peers::sushy(1, None);
    let mistaken = sushy.target("https", json!({"tls": {"ca": stranger.ca}}));
    let ended = call(&mut worker, &mistaken, "observe", power());
    assert_eq!(code(&ended), FailureCode::IdentityMismatch);
    // The fingerprint in the message is the one to pin.
    let Outcome::Failed(failure) = &ended.outcome else {
        panic!("{ended:?}")
    };
    let seen = failure.detail.as_ref().expect("says what was seen")["seen"].clone();
    let mut pinned = sushy.target("https", json!({}));
    pinned.identity = BTreeMap::from([(
        "certSha256".to_owned(),
        seen.as_str().unwrap_or_default().to_owned(),
    )]);
    changed(&call(&mut worker, &pinned, "observe", power()));
    worker.drain();
}

#[test]
fn basic_is_used_where_there_are_no_sessions() {
    // bcrypt of "secret-1" with the least cost, or each request would take a quarter of a second.
    const ACCOUNT: &str = "operator:$2y$04$FPhzdt/I6cXW8Y/pZa8C2uvexHQB4u2.gi3fOhQhKC89fvncQoPA6";
    let sushy = sushy(1, Some(ACCOUNT));
    let mut worker = worker();
    let target = sushy.target("https", json!({"tls": {"ca": sushy.ca}}));
    let mut secrets: Secrets = [("username", "operator"), ("password", "secret-1")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    let ended = worker.call(&target, &secrets, "observe", json!({}), LONG);
    assert_eq!(ended.facts["power_state"], "Off", "{ended:?}");
    secrets.insert("password".to_owned(), "secret-2".to_owned());
    let wrong = worker.call(&target, &secrets, "observe", power(), LONG);
    assert_eq!(code(&wrong), FailureCode::AuthFailed);
    let without = worker.call(&target, &Secrets::new(), "observe", power(), LONG);
    assert_eq!(code(&without), FailureCode::AuthFailed);
    worker.drain();
}

#[test]
fn behind_a_proxy_that_refuses_at_random_all_reach_their_state() {
    const SYSTEMS: u32 = 12;
    let sushy = sushy(SYSTEMS, None);
    let proxy = haproxy(sushy.port, 20);
    let mut worker = worker();
    let mut open: Vec<u32> = (1..=SYSTEMS).collect();
    let mut busy = 0;
    // As dispatch does: what is busy comes again after the time that was asked for.
    for _ in 0..40 {
        if open.is_empty() {
            break;
        }
        let begun: Vec<(u32, u64)> = open
            .iter()
            .map(|n| {
                let config = json!({"tls": {"plain": true}, "system": system_id(*n)});
                let target = proxy.target("http", config);
                let params = json!({"state": "on"});
                (
                    *n,
                    worker.begin(&target, &Secrets::new(), "power.set", params, LONG),
                )
            })
            .collect();
        open.clear();
        for (n, id) in begun {
            let ended = worker.wait(id, LONG + Duration::from_secs(5));
            match &ended.outcome {
                Outcome::Done(_) => {}
                Outcome::Failed(f) if f.code == FailureCode::Busy => {
                    assert_eq!(f.retry_after_ms, Some(1_000), "{f:?}");
                    busy += 1;
                    open.push(n);
                }
                other => panic!("{n}: {other:?}"),
            }
        }
    }
    assert!(open.is_empty(), "{open:?} never reached On");
    assert!(busy > 0, "the proxy refused nothing, so nothing was tested");
    for n in 1..=SYSTEMS {
        let target = sushy.target(
            "https",
            json!({"tls": {"ca": sushy.ca}, "system": system_id(n)}),
        );
        assert_eq!(
            call(&mut worker, &target, "observe", power()).reading("power_on"),
            Some(1.0)
        );
    }
    worker.drain();
}
