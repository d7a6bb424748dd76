//! What `sengu config check` finds out about a server without changing anything: each request that could is one that
//! the server must refuse.

use crate::conn::Conn;
use crate::connect::connect;
use crate::error::NatsError;
use crate::names::Names;
use crate::topology::{self, StreamConfig};
use sengu_interconnect::Queue;
use sengu_interconnect::address::Address;
use sengu_interconnect::contact::Finding;
use serde_json::{Value, json};
use std::sync::Arc;

/// The greatest bodies that are usual: a report with some results of 1 MiB.
const PAYLOAD_USUAL: usize = 4 << 20;

/// Looks at everything a broker at this address needs; stops at the first thing without which the rest cannot be seen.
pub async fn check(address: &Address) -> Vec<Finding> {
    let connected = match connect(address, "sengu config check").await {
        Ok(connected) => connected,
        Err(why) => return vec![not_connected(address, &why)],
    };
    let mut findings = vec![Finding::good("reach", address.to_string())];
    if address.tls {
        findings.push(Finding::good("tls", "its certificate is trusted"));
    }
    let user = address.user.as_deref().unwrap_or("nobody");
    findings.push(Finding::good("sign in", format!("as {user}")));
    findings.push(Finding::good("version", connected.version));
    let payload_max = connected.client.max_payload();
    let names = Arc::new(Names::new(&address.prefix));
    let at = address.to_string();
    let conn = Conn::new(connected.client, names, connected.signals, at);
    match conn.api::<Value>("INFO", &json!({})).await {
        Ok(info) => findings.push(Finding::good("jetstream", storage(&info))),
        Err(why) => {
            findings.push(bad("jetstream", &why));
            return findings;
        }
    }
    findings.push(match payload_max < PAYLOAD_USUAL {
        true => Finding::poor(
            "max payload",
            format!(
                "{payload_max} bytes: greater results are refused; set max_payload: 8MB in the server's configuration"
            ),
        ),
        false => Finding::good("max payload", format!("{payload_max} bytes")),
    });
    for wanted in [topology::work(&conn.names), topology::bucket(&conn.names)] {
        findings.push(stream(&conn, &wanted).await);
    }
    findings.push(permissions(&conn).await);
    findings
}

fn not_connected(address: &Address, why: &NatsError) -> Finding {
    let text = why.text();
    match why {
        NatsError::Tls { .. } => Finding::bad(
            "tls",
            text,
            "give the file with the authority's certificate, and use the name that the server's certificate is for",
        ),
        NatsError::Credentials { .. } => Finding::bad(
            "sign in",
            text,
            "check user and password, and the server's authorization block",
        ),
        NatsError::Version { .. } => Finding::bad("version", text, "use nats-server 2.9 or newer"),
        _ => {
            let (host, port) = (&address.host, address.port);
            let hint = format!("start it, or check that {host}:{port} is its address");
            Finding::bad("reach", text, hint)
        }
    }
}

fn bad(what: &'static str, why: &NatsError) -> Finding {
    let hint = match why {
        NatsError::NoJetStream { .. } => {
            "start nats-server with -js and a store_dir, and enable jetstream for the account"
        }
        NatsError::Unready { .. } => {
            "JetStream may still be starting, or have no leader: try again"
        }
        NatsError::NotPermitted(_) => {
            "allow the user to publish to $JS.API.>, $JS.ACK.>, $KV.>, _INBOX.> and the prefix, and to subscribe to _INBOX.>"
        }
        NatsError::Stream { .. } => {
            "delete the stream when nothing needs it, or choose another prefix in the address"
        }
        _ => "see the server's log",
    };
    Finding::bad(what, why.text(), hint)
}

fn storage(info: &Value) -> String {
    let used = info["storage"].as_u64().unwrap_or(0);
    match info["limits"]["max_storage"].as_i64() {
        Some(limit) if limit >= 0 => format!("enabled, {used} of {limit} bytes used"),
        _ => format!("enabled, {used} bytes used"),
    }
}

async fn stream(conn: &Conn, wanted: &StreamConfig) -> Finding {
    let name = &wanted.name;
    match topology::look(conn, name).await {
        Ok(None) => Finding::good("stream", format!("{name} will be made")),
        Ok(Some(found)) => match topology::compare(wanted, &found.config) {
            Ok(()) => {
                let text = format!("{name} with {} messages", found.state.messages);
                Finding::good("stream", text)
            }
            Err(why) => bad("stream", &why),
        },
        Err(why) => bad("stream", &why),
    }
}

/// Asks for what is needed in a form that must be refused: who may not ask is told so instead.
async fn permissions(conn: &Conn) -> Finding {
    let names = &conn.names;
    let (work, bucket) = (names.work_stream(), names.bucket_stream());
    // A name with a space is none: nothing of it can ever be made.
    let nothing = json!({ "stream_name": " ", "name": " ", "seq": 0 });
    let consumer = names.consumer(&Queue::parked());
    for subject in [
        format!("STREAM.CREATE.{work}"),
        format!("STREAM.CREATE.{bucket}"),
        format!("STREAM.MSG.DELETE.{work}"),
        format!("CONSUMER.DURABLE.CREATE.{work}.{consumer}"),
        format!("CONSUMER.CREATE.{bucket}"),
    ] {
        if let Err(why @ NatsError::NotPermitted(_)) = conn.api::<Value>(&subject, &nothing).await {
            return bad("permissions", &why);
        }
    }
    for subject in [names.subject(&Queue::parked()), names.probe_subject()] {
        if let Err(why) = conn.may_publish(&subject).await {
            return bad("permissions", &why);
        }
    }
    match conn.echo().await {
        Ok(()) => Finding::good("permissions", "all that is needed"),
        Err(why) => bad("permissions", &why),
    }
}
