//! `sengu config`: whether sengu could run as configured (see `config_check`), and which server and token would be used, and where each was found.

use super::{Context, config_check};
use crate::exit::Exit;
use crate::output::{self, FormatArg};
use serde_json::json;

/// How this program is set up
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Whether sengu could run with its configuration: looks at store and interconnect without changing anything
    Check(config_check::Args),
    /// Which server and token would be used, and where each was found
    View {
        #[command(flatten)]
        output: FormatArg,
    },
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let format = match &args.verb {
        Verb::Check(args) => return config_check::run(args, context),
        Verb::View { output } => &output.format,
    };
    let connect = &context.connect;
    let (server, from) = match connect.endpoint() {
        Ok((server, from)) => (Some(server), from),
        Err(e) => (None, e.to_string()),
    };
    let token = connect.token_path();
    // Whether it can be read, never what it is.
    let readable = std::fs::File::open(&token).is_ok();
    let data = connect.data_dir();
    if !format.for_people() {
        let value = json!({"server": server, "serverFrom": from, "tokenFile": token,
            "tokenReadable": readable, "dataDir": data, "caFile": connect.ca_file});
        output::print_value(*format, &value)?;
        return Ok(Exit::Ok);
    }
    let none = "(none)".to_owned();
    output::print_line(&format!(
        "server       {}",
        server.unwrap_or_else(|| none.clone())
    ));
    output::print_line(&format!("  found by   {from}"));
    let state = if readable {
        "readable"
    } else {
        "cannot be read"
    };
    output::print_line(&format!("token file   {} ({state})", token.display()));
    output::print_line(&format!("data dir     {}", data.display()));
    let ca = connect
        .ca_file
        .as_ref()
        .map_or(none, |p| p.display().to_string());
    output::print_line(&format!("ca file      {ca}"));
    Ok(Exit::Ok)
}
