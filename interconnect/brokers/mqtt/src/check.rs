//! Looks at a broker without changing anything there, for a person who sets it up. Each step builds on the one before;
//! the first that fails ends it.

use crate::error::MqttError;
use crate::keeper::client_id;
use crate::limits::Pace;
use crate::names::Names;
use crate::session::{Granted, Session, Wish};
use crate::wire::{Quick, Way};
use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::RetainForwardRule;
use sengu_interconnect::address::Address;
use sengu_interconnect::contact::Finding;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Results of a task are up to this large, in bytes, with their names.
const BODY_BYTES_USUAL: usize = (1 << 20) + (64 << 10);
/// Below this, publishing waits for the network's round trip more than for the broker.
const WINDOW_POOR: u16 = 100;

/// What a broker at this address is like for sengu.
pub async fn check(address: &Address) -> Vec<Finding> {
    let mut findings = Vec::new();
    look(address, &mut findings).await;
    findings
}

async fn look(address: &Address, findings: &mut Vec<Finding>) {
    let way = match Way::new(address.clone()) {
        Ok(way) => way,
        Err(why) => {
            let hint = "give mqtt:// or mqtts:// and a file of PEM certificates";
            return findings.push(Finding::bad("reach", why.text(), hint));
        }
    };
    let tcp = match way.tcp().await {
        Ok(tcp) => tcp,
        Err(why) => {
            let hint = "is the broker running there, and does a firewall let this machine in?";
            return findings.push(Finding::bad("reach", why.text(), hint));
        }
    };
    findings.push(Finding::good("reach", address.to_string()));
    let quick = Quick::of(&tcp);
    let stream = match way.secured(tcp).await {
        Ok(stream) => stream,
        Err(why) => {
            let hint = "is it the port for TLS, is the certificate made for this name, and is its authority given?";
            return findings.push(Finding::bad("tls", why.text(), hint));
        }
    };
    findings.push(match address.tls {
        true => Finding::good("tls", "the certificate is trusted"),
        false => Finding::good("tls", "none, on this machine"),
    });
    let client = client_id("check");
    let names = Names::new(&address.prefix);
    let (own, heard) = (names.mark(&client), Arc::new(Notify::new()));
    let wish = Wish {
        client_id: client,
        pace: Pace::USUAL,
        on_publish: {
            let (own, heard) = (own.clone(), heard.clone());
            Box::new(move |publish| {
                if publish.topic == own.as_bytes() {
                    heard.notify_one();
                }
            })
        },
    };
    let session = match Session::over(&way, stream, quick, wish).await {
        Ok(session) => session,
        Err(why) => return findings.push(not_in(&why)),
    };
    let who = address.user.as_deref().unwrap_or("nobody in particular");
    findings.push(Finding::good("sign in", who));
    findings.push(Finding::good("version", "MQTT 5"));
    features(&session.granted, findings);
    findings.push(permissions(&session, &names, &own, &heard).await);
}

fn not_in(why: &MqttError) -> Finding {
    let (what, hint) = match why {
        MqttError::SignIn => (
            "sign in",
            "give the user and the password that the broker knows",
        ),
        MqttError::NotAuthorised => (
            "sign in",
            "give a user and a password: the broker lets nobody else in",
        ),
        MqttError::Version => (
            "version",
            "use a broker that speaks MQTT 5, such as Mosquitto 2",
        ),
        MqttError::Protocol(_) | MqttError::Closed => (
            "version",
            "is it MQTT at this port, with TLS or without as the address says?",
        ),
        _ => ("sign in", "look into the broker's log"),
    };
    Finding::bad(what, why.text(), hint)
}

fn features(granted: &Granted, findings: &mut Vec<Finding>) {
    findings.push(match granted.qos {
        0 => Finding::bad("acknowledgement", "QoS 0 only", "let the broker take QoS 1"),
        qos => Finding::good("acknowledgement", format!("up to QoS {qos}")),
    });
    findings.push(match granted.retained && granted.wildcards {
        true => Finding::good("retained", "available"),
        false => {
            let hint = "the directory needs retained messages and wildcards: switch them on";
            Finding::bad("retained", "not available", hint)
        }
    });
    findings.push(match granted.shared {
        true => Finding::good("shared subscriptions", "available"),
        false => Finding::poor(
            "shared subscriptions",
            "not available: it serves as directory and for followers, not for tasks",
        ),
    });
    let bytes_max = granted.packet_bytes_max;
    findings.push(match bytes_max >= BODY_BYTES_USUAL {
        true => Finding::good("packet size", format!("up to {bytes_max} bytes")),
        false => Finding::poor(
            "packet size",
            format!(
                "{bytes_max} bytes: results may have {BODY_BYTES_USUAL}, longer ones are refused"
            ),
        ),
    });
    let window = granted.window;
    findings.push(match window >= WINDOW_POOR {
        true => Finding::good("receive maximum", format!("{window} in flight")),
        false => Finding::poor(
            "receive maximum",
            format!(
                "{window} in flight: over a slow network, raise it (max_inflight_messages in Mosquitto)"
            ),
        ),
    });
}

async fn permissions(session: &Session, names: &Names, own: &str, heard: &Notify) -> Finding {
    const WHAT: &str = "permissions";
    let below = names.all_keys();
    let hint = format!("let the user read and write {below} and all else below the prefix");
    let tried = async {
        session
            .subscribe(own, QoS::AtMostOnce, RetainForwardRule::Never)
            .await?;
        session
            .subscribe(&below, QoS::AtMostOnce, RetainForwardRule::Never)
            .await?;
        let published = session
            .publish(own, Bytes::from_static(b"check"), false, None)
            .await?;
        session.answer(published).await
    };
    match timeout(Pace::USUAL.call_max, tried).await {
        Err(_) => return Finding::bad(WHAT, "the broker gave no answer", hint),
        Ok(Err(why)) => return Finding::bad(WHAT, why.text(), hint),
        Ok(Ok(_)) => {}
    }
    match timeout(Pace::USUAL.call_max, heard.notified()).await {
        Ok(()) => Finding::good(WHAT, "it may publish and subscribe"),
        Err(_) => Finding::bad(WHAT, "what it publishes does not come back", hint),
    }
}
