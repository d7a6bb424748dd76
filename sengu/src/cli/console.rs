//! `sengu console`: a link that opens the console in a browser, with a session already begun.
//!
//! The link holds a code that is good once and for five minutes, behind `#`, which browsers send to nobody. The token
//! itself never leaves its file.

use super::Context;
use crate::client::Client;
use crate::exit::Exit;
use crate::output::{self, say};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;
use std::process::{Command, Stdio};

/// A link to the console, with a session
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Open it in the browser of this machine
    #[arg(long)]
    open: bool,
}

#[derive(Deserialize)]
struct Made {
    code: String,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let link = link(&context.client()?).await?;
    if args.open {
        open(&link)?;
        say("opened; the link was good once");
        return Ok(Exit::Ok);
    }
    output::print_line(&link);
    say("good once, for five minutes");
    Ok(Exit::Ok)
}

/// A link that begins a session of whoever the client is.
pub async fn link(client: &Client) -> anyhow::Result<String> {
    let made: Made = client.post("/v1/session/code", &[], &json!({})).await?;
    let (base, path) = (client.base(), sengu_console::PATH);
    Ok(format!("{base}{path}login#code={}", made.code))
}

fn open(link: &str) -> anyhow::Result<()> {
    let program = match cfg!(target_os = "macos") {
        true => "open",
        false => "xdg-open",
    };
    let mut opener = Command::new(program);
    opener.arg(link).stdout(Stdio::null()).stderr(Stdio::null());
    let status = opener
        .status()
        .with_context(|| format!("start {program}; without --open the link is printed"))?;
    anyhow::ensure!(
        status.success(),
        "{program} found no browser; without --open the link is printed"
    );
    Ok(())
}
