//! `sengu version`: of this program and of the server, which may differ during an update.

use super::Context;
use super::views::text;
use crate::client::ClientError;
use crate::exit::Exit;
use crate::output::{self, FormatArg, say};
use serde_json::{Value, json};

/// Versions of this program and of the server
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask the server
    #[arg(long)]
    client: bool,
    #[command(flatten)]
    output: FormatArg,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let own = env!("CARGO_PKG_VERSION");
    let asked: Option<Result<Value, ClientError>> = match (args.client, context.client()) {
        (true, _) => None,
        (false, Ok(client)) => Some(client.get("/v1/version", &[]).await),
        (false, Err(e)) => Some(Err(e)),
    };
    let server = asked.as_ref().and_then(|a| a.as_ref().ok());
    if args.output.format.for_people() {
        output::print_line(&format!("sengu {own}"));
        if let Some(server) = server {
            output::print_line(&format!(
                "server {} (roles {}, store {}, since {})",
                output::safe(&text(server, "/version")),
                output::safe(&text(server, "/roles")),
                output::safe(&text(server, "/store/engine")),
                output::safe(&text(server, "/startedAt")),
            ));
        }
    } else {
        output::print_value(
            args.output.format,
            &json!({"client": {"version": own}, "server": server}),
        )?;
    }
    match asked {
        Some(Err(e @ ClientError::NoServer { .. })) => {
            say(&format!("server: {e}"));
            Ok(Exit::Ok)
        }
        Some(Err(e)) => Err(e.into()),
        _ => Ok(Exit::Ok),
    }
}
