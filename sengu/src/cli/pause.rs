//! `sengu pause` and `sengu resume`: hold a run, and let it go on. What is in hand ends in any case.

use super::Context;
use super::nouns::{Noun, object};
use crate::exit::Exit;
use crate::output;
use anyhow::bail;
use serde_json::{Value, json};

/// Hold a run: what is in hand ends, nothing further begins
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// r-... or run/r-...
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
}

/// Go on with a run that was paused
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// r-... or run/r-...
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
}

pub async fn pause(args: &PauseArgs, context: &Context) -> anyhow::Result<Exit> {
    turn(&args.runs, "pause", "paused", context).await
}

pub async fn resume(args: &ResumeArgs, context: &Context) -> anyhow::Result<Exit> {
    turn(&args.runs, "resume", "resumed", context).await
}

async fn turn(words: &[String], verb: &str, done: &str, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    for word in words {
        let (noun, name) = object(std::slice::from_ref(word))?;
        if noun != Noun::Run {
            bail!("only runs are {done}; {word} is a {}", noun.lower());
        }
        let path = format!("{}/{verb}", noun.path(&name));
        client.post::<Value>(&path, &[], &json!({})).await?;
        output::print_line(&format!("run/{} {done}", output::safe(&name)));
    }
    Ok(Exit::Ok)
}
