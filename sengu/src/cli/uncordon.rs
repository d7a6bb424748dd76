//! `sengu uncordon`: takes a target out of quarantine, or an execution environment back into work, after a person has
//! looked at it.

use super::nouns::{Noun, object_or_target};
use super::{Context, cordon};
use crate::exit::Exit;
use crate::output;
use anyhow::bail;
use serde_json::{Value, json};

/// Take a target out of quarantine, or an execution environment back into work
///
/// A target that refused the credentials, or is not the device we know, is left alone until this is said. An
/// execution environment that was cordoned or drained takes tasks again.
///
/// Example: sengu uncordon bmc-17 wee/edge-1
#[derive(Debug, clap::Args)]
pub struct Args {
    /// target/NAME, NAME of a target, or wee/NAME
    #[arg(required = true, value_name = "TARGET|WEE")]
    what: Vec<String>,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut objects = Vec::new();
    for word in &args.what {
        match object_or_target(word)? {
            (noun @ (Noun::Target | Noun::Wee), name) => objects.push((noun, name)),
            _ => bail!("only targets and wees are uncordoned"),
        }
    }
    let client = context.client()?;
    for (noun, name) in objects {
        if noun == Noun::Wee {
            cordon::set(&client, &name, "uncordon").await?;
        } else {
            let path = format!("{}/uncordon", super::observe::target_path(&name));
            client.post::<Value>(&path, &[], &json!({})).await?;
        }
        output::print_line(&format!(
            "{}/{} uncordoned",
            noun.lower(),
            output::safe(&name)
        ));
    }
    Ok(Exit::Ok)
}
