//! `sengu demo`: the whole system at work on twins.

use crate::exit::Exit;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_: Args) -> anyhow::Result<Exit> {
    anyhow::bail!("unavailable in this build")
}
