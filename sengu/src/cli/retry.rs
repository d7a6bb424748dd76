//! `sengu retry`: only the unfinished targets of a run, again, as the same run.

use super::Context;
use super::nouns::{Noun, object};
use super::wait::{Follow, WaitArgs};
use crate::exit::Exit;
use crate::output::FormatArg;
use anyhow::bail;
use serde_json::{Value, json};

/// Run the unfinished targets of a run again
#[derive(Debug, clap::Args)]
pub struct Args {
    /// r-... or run/r-...
    run: String,
    /// Also targets that are unknown after an action that must not be repeated: look at them first
    #[arg(long)]
    unknown_too: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: FormatArg,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (noun, name) = object(std::slice::from_ref(&args.run))?;
    if noun != Noun::Run {
        bail!("only runs are retried; {} is a {}", args.run, noun.lower());
    }
    let mut client = context.client()?;
    let path = format!("{}/retry", super::run::path(&name));
    let query: &[(&str, &str)] = if args.unknown_too {
        &[("unknownToo", "true")]
    } else {
        &[]
    };
    let run: Value = client.post(&path, query, &json!({})).await?;
    let follow = Follow {
        args: &args.wait,
        format: args.output.format,
    };
    let (exit, run) = follow.follow(&mut client, run).await?;
    if let Some(run) = run {
        follow.tell(&client, &run).await?;
    }
    Ok(exit)
}
