//! `sengu worker check`: the conformance kit for authors of workers.

use crate::exit::Exit;
use anyhow::bail;

/// For authors of workers
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Check a worker against the protocol
    ///
    /// Give the folder with worker.toml, or a command to start.
    Check {
        /// Folder, or command and its arguments
        #[arg(
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "FOLDER|COMMAND"
        )]
        what: Vec<String>,
    },
}

pub async fn run(args: Args) -> anyhow::Result<Exit> {
    let Verb::Check { what } = args.verb;
    bail!("worker check {}: unavailable in this build", what.join(" "))
}
