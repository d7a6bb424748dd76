//! `sengu worker`: what authors of workers need: to check one, and to push it into a sengu that runs.

mod check;
pub mod drill;
mod image;
mod push;

use super::Context;
use crate::exit::Exit;

/// For authors of workers
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Check(check::Args),
    Drill(drill::Args),
    Push(push::Args),
}

pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Check(args) => check::run(args).await,
        Verb::Drill(args) => drill::run(&args),
        Verb::Push(args) => push::run(&args, context).await,
    }
}
