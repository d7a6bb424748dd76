//! What `sengu config check` is told about a RabbitMQ, without changing anything there: each permission is tried on a
//! queue that does not exist, for the server looks at permissions first.

use crate::connect::{self, Opened, vhost};
use crate::error::{ACCESS_REFUSED, AmqpError, plain, said};
use crate::limits::{QUEUE_UNUSED_MAX, REPLY_MAX};
use crate::queue;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use sengu_interconnect::Queue;
use sengu_interconnect::address::Address;
use sengu_interconnect::contact::Finding;
use tokio::time::timeout;

/// Looks at everything that can be looked at, until something keeps it from going on.
pub async fn check(address: &Address) -> Vec<Finding> {
    match connect::open(address, "sengu config check").await {
        Err(why) => refusal(address, &why),
        Ok(opened) => {
            let mut findings = reached(address);
            findings.push(Finding::good("sign in", user(address)));
            findings.push(Finding::good("vhost", vhost(address)));
            let version = format!("RabbitMQ {}", opened.version);
            findings.push(Finding::good("version", version));
            findings.push(permissions(address, &opened).await);
            findings.push(queues(address, &opened).await);
            let _ = timeout(
                REPLY_MAX,
                opened.connection.close(200, ShortString::default()),
            )
            .await;
            findings
        }
    }
}

fn user(address: &Address) -> String {
    address.user.clone().unwrap_or_else(|| "guest".to_owned())
}

fn reached(address: &Address) -> Vec<Finding> {
    let mut findings = vec![Finding::good("reach", address.to_string())];
    if address.tls {
        findings.push(Finding::good("tls", "the certificate is trusted"));
    }
    findings
}

fn refusal(address: &Address, why: &AmqpError) -> Vec<Finding> {
    let mut findings = reached(address);
    let text = why.text();
    let bad = match why {
        AmqpError::Tls { .. } => {
            findings.truncate(1);
            let hint = "give the authority that signed the server's certificate, and the name that is in it";
            Finding::bad("tls", text, hint)
        }
        AmqpError::Credentials { .. } => {
            let hint = format!(
                "check the password, or `rabbitmqctl add_user {}` at the server",
                user(address)
            );
            Finding::bad("sign in", text, hint)
        }
        AmqpError::NoVhost { vhost, .. } => {
            let hint = format!("`rabbitmqctl add_vhost {vhost}` at the server, or change the path");
            Finding::bad("vhost", text, hint)
        }
        AmqpError::NotPermitted(_) => Finding::bad("vhost", text, grant(address)),
        AmqpError::Version { .. } => Finding::bad("version", text, "use a newer RabbitMQ"),
        AmqpError::Name(_) => Finding::bad("vhost", text, "use a shorter name"),
        _ => {
            findings.clear();
            let hint = "is RabbitMQ running there, does it listen on that port, and is it AMQP with or without TLS as the address says?";
            Finding::bad("reach", text, hint)
        }
    };
    findings.push(bad);
    findings
}

/// The command that permits what sengu does.
fn grant(address: &Address) -> String {
    let (vhost, user, prefix) = (vhost(address), user(address), &address.prefix);
    format!(
        "`rabbitmqctl set_permissions -p {vhost} {user} '^{prefix}\\..*' '^({prefix}\\..*|amq\\.default)$' '^{prefix}\\..*'` at the server"
    )
}

async fn permissions(address: &Address, opened: &Opened) -> Finding {
    const WHAT: &str = "permissions";
    let mut dice = [0; 8];
    let _ = getrandom::fill(&mut dice);
    let nowhere = format!("{}.check.{:016x}", address.prefix, u64::from_le_bytes(dice));
    let Ok(nowhere) = ShortString::try_new(nowhere) else {
        return Finding::poor(WHAT, "not looked at");
    };
    let mut missing = Vec::new();
    for (what, verb) in [
        ("configure", Verb::Configure),
        ("write", Verb::Write),
        ("read", Verb::Read),
    ] {
        let Ok(Ok(channel)) = timeout(REPLY_MAX, opened.connection.create_channel()).await else {
            return Finding::poor(WHAT, "not looked at: there is no channel");
        };
        match timeout(REPLY_MAX, verb.attempt(&channel, nowhere.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                if let Some((ACCESS_REFUSED, words)) = said(&error) {
                    missing.push(format!("{what} ({})", plain(words)));
                }
            }
            Err(_) => return Finding::poor(WHAT, format!("{what} is not answered")),
        }
    }
    if missing.is_empty() {
        return Finding::good(WHAT, "configure, write, read");
    }
    let found = format!("missing: {}", missing.join(", "));
    Finding::bad(WHAT, found, grant(address))
}

enum Verb {
    Configure,
    Write,
    Read,
}

impl Verb {
    /// Any other error than a refusal is a permission.
    async fn attempt(&self, channel: &Channel, nowhere: ShortString) -> lapin::Result<()> {
        match self {
            Verb::Configure => {
                let options = QueueDeleteOptions {
                    if_unused: true,
                    if_empty: true,
                    nowait: false,
                };
                channel.queue_delete(nowhere, options).await.map(drop)
            }
            Verb::Write => {
                let confirm = ConfirmSelectOptions::default();
                channel.confirm_select(confirm).await?;
                let (exchange, body) = (ShortString::default(), b"");
                let options = BasicPublishOptions::default();
                let properties = BasicProperties::default();
                channel
                    .basic_publish(exchange, nowhere, options, body, properties)
                    .await?
                    .await
                    .map(drop)
            }
            Verb::Read => {
                let options = BasicGetOptions::default();
                channel.basic_get(nowhere, options).await.map(drop)
            }
        }
    }
}

/// Queues that are there already must be as sengu makes them.
async fn queues(address: &Address, opened: &Opened) -> Finding {
    const WHAT: &str = "queues";
    let mut found = 0;
    for queue in [Queue::parked(), Queue::reports(), Queue::blobs()] {
        let Ok(name) = queue::name(&address.prefix, &queue) else {
            continue;
        };
        let Ok(Ok(channel)) = timeout(REPLY_MAX, opened.connection.create_channel()).await else {
            return Finding::poor(WHAT, "not looked at: there is no channel");
        };
        let passive = QueueDeclareOptions::durable().passive();
        let is_there = channel.queue_declare(name.clone(), passive, FieldTable::default());
        if !matches!(timeout(REPLY_MAX, is_there).await, Ok(Ok(_))) {
            continue;
        }
        found += 1;
        // It is there, so that this only compares.
        let arguments = queue::arguments(&address.prefix, &queue, QUEUE_UNUSED_MAX);
        if let Err(why @ AmqpError::QueueDiffers { .. }) =
            queue::declare(&channel, name.clone(), arguments).await
        {
            let hint = format!(
                "`rabbitmqctl delete_queue {name}` when nothing in it is needed, or use another ?prefix="
            );
            return Finding::bad(WHAT, why.text(), hint);
        }
    }
    Finding::good(
        WHAT,
        format!("{found} of 3 are there; others are made when needed"),
    )
}
