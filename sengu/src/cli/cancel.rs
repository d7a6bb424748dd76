//! `sengu cancel`: asks a task or run to end. What has begun on a device may still finish; it is told as it was.

use super::Context;
use super::nouns::{Noun, object};
use crate::exit::Exit;
use crate::output;
use anyhow::bail;
use serde_json::{Value, json};

/// Cancel a task or a run
#[derive(Debug, clap::Args)]
pub struct Args {
    /// t-..., r-..., task/t-... or run/r-...
    #[arg(required = true, value_name = "TASK|RUN")]
    what: Vec<String>,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    for word in &args.what {
        let (noun, name) = object(std::slice::from_ref(word))?;
        if !matches!(noun, Noun::Task | Noun::Run) {
            bail!("only tasks and runs are cancelled");
        }
        let path = format!("{}/cancel", noun.path(&name));
        client.post::<Value>(&path, &[], &json!({})).await?;
        output::print_line(&format!(
            "{}/{} asked to end",
            noun.lower(),
            output::safe(&name)
        ));
    }
    Ok(Exit::Ok)
}
