//! `sengu cordon` and `sengu drain`: an execution environment takes no new tasks; drained, it lets its instances go too.

use super::nouns;
use super::{Context, wee, wees};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::output::{self, say};
use sengu_model::quantity;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Have an execution environment take no new tasks
///
/// What it has in hand goes on. sengu uncordon wee/NAME takes it back.
///
/// Example: sengu cordon wee/edge-1
#[derive(Debug, clap::Args)]
pub struct CordonArgs {
    /// wee/NAME or NAME
    #[arg(required = true, value_name = "WEE")]
    wees: Vec<String>,
}

/// Have an execution environment take no new tasks and let its instances go
///
/// Tasks in hand end first. sengu uncordon wee/NAME takes it back.
///
/// Example: sengu drain wee/edge-1 --wait --timeout 10m
#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    /// wee/NAME or NAME
    #[arg(required = true, value_name = "WEE")]
    wees: Vec<String>,
    /// Wait until no instance is left there
    #[arg(long)]
    wait: bool,
    /// Wait at most this long (exit code 5); it goes on draining
    #[arg(long, value_name = "10m", requires = "wait")]
    timeout: Option<quantity::Duration>,
}

/// Instances come and go without a record being written, so they are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub async fn cordon(args: &CordonArgs, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    for name in nouns::wees(&args.wees)? {
        set(&client, &name, "cordon").await?;
        output::print_line(&format!("wee/{} cordoned", output::safe(&name)));
    }
    Ok(Exit::Ok)
}

pub async fn drain(args: &DrainArgs, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let names = nouns::wees(&args.wees)?;
    for name in &names {
        set(&client, name, "drain").await?;
        if !args.wait {
            output::print_line(&format!("wee/{} draining", output::safe(name)));
        }
    }
    if !args.wait {
        return Ok(Exit::Ok);
    }
    let deadline = args
        .timeout
        .map(|limit| Instant::now() + Duration::from_millis(limit.ms));
    wait(client, names, deadline).await
}

/// Has the server want something of an execution environment.
pub async fn set(client: &Client, name: &str, verb: &str) -> anyhow::Result<()> {
    let path = format!("/v1/wees/{}/{verb}", encode(name));
    client.post::<Value>(&path, &[], &json!({})).await?;
    Ok(())
}

async fn wait(
    mut client: Client,
    mut names: Vec<String>,
    deadline: Option<Instant>,
) -> anyhow::Result<Exit> {
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let mut told = String::new();
    loop {
        let known = wee::in_touch(&mut client).await?;
        let mut left = Vec::new();
        names.retain(|name| {
            let found = known
                .iter()
                .find(|w| w.get("name").is_some_and(|n| n == name));
            let Some(found) = found else {
                // With it went its instances.
                output::print_line(&format!("wee/{} gone", output::safe(name)));
                return false;
            };
            let drained = found.pointer("/spec/drained") == Some(&Value::Bool(true));
            let instances = wees::instances(found);
            if drained && instances == 0 {
                output::print_line(&format!("wee/{} drained", output::safe(name)));
                return false;
            }
            let busy = super::wees::pools(found)
                .iter()
                .map(|p| super::views::number(p, "/slots_busy"))
                .sum::<u64>();
            left.push(format!(
                "wee/{name}: {}, {} in hand",
                output::count(instances, "instance"),
                output::count(busy, "task")
            ));
            true
        });
        if names.is_empty() {
            return Ok(Exit::Ok);
        }
        let line = left.join("; ");
        if line != told {
            say(&output::safe(&line));
            told = line;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            say("not drained in time; it goes on: sengu get wees");
            return Ok(Exit::Timeout);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = &mut interrupt => return Ok(Exit::Interrupted),
        }
    }
}
