//! `sengu uncordon`: takes a target out of quarantine after a person has looked at it.

use super::Context;
use super::nouns::{Noun, object_or_target};
use crate::exit::Exit;
use crate::output;
use anyhow::bail;
use serde_json::{Value, json};

/// Take a target out of quarantine
///
/// A target that refused the credentials, or is not the device we know, is left alone until this is said.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// target/NAME or NAME
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    for word in &args.targets {
        let (noun, name) = object_or_target(word)?;
        if noun != Noun::Target {
            bail!("only targets are uncordoned");
        }
        let path = format!("{}/uncordon", super::observe::target_path(&name));
        client.post::<Value>(&path, &[], &json!({})).await?;
        output::print_line(&format!("target/{} uncordoned", output::safe(&name)));
    }
    Ok(Exit::Ok)
}
