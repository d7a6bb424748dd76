//! `sengu delete`: records by name, by file or by selector; asks when more than one would go.

use super::nouns::{Noun, object};
use super::{Context, sources, views};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::output::{self, say};
use anyhow::bail;
use serde_json::Value;
use std::path::PathBuf;

/// Delete records
#[derive(Debug, clap::Args)]
pub struct Args {
    /// KIND/NAME.., KIND NAME.., or KIND with -l
    #[arg(value_name = "KIND/NAME")]
    what: Vec<String>,
    /// The records that these files declare
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-", conflicts_with_all = ["what", "selector"])]
    files: Vec<PathBuf>,
    /// All of KIND that match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Records that are not there are no error
    #[arg(long)]
    ignore_not_found: bool,
}

const NAMED_MAX: usize = 5;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let objects = objects(args, &client).await?;
    if objects.is_empty() {
        say("nothing matches: nothing was deleted");
        return Ok(Exit::Ok);
    }
    if objects.len() > 1 && !args.yes {
        let first: Vec<String> = objects.iter().take(NAMED_MAX).map(name_of).collect();
        let rest = objects.len().saturating_sub(NAMED_MAX);
        let rest = if rest > 0 {
            format!(" and {rest} more")
        } else {
            String::new()
        };
        match super::ask(&format!("delete {}{rest}?", first.join(", "))) {
            Some(true) => {}
            Some(false) => {
                say("nothing was deleted");
                return Ok(Exit::Ok);
            }
            None => bail!("{} records would be deleted: say --yes", objects.len()),
        }
    }
    for object in &objects {
        let (noun, name) = object;
        let path = format!(
            "/v1/records/{}/{}",
            noun.kind(),
            crate::client::encode(name)
        );
        match client.delete(&path).await {
            Ok(()) => output::print_line(&format!("{} deleted", name_of(object))),
            Err(ClientError::Problem(p)) if p.status == 404 && args.ignore_not_found => {}
            Err(e) => {
                return Err(anyhow::Error::from(e).context(format!("delete {}", name_of(object))));
            }
        }
    }
    Ok(Exit::Ok)
}

fn name_of((noun, name): &(Noun, String)) -> String {
    output::safe(&format!("{}/{name}", noun.lower()))
}

async fn objects(args: &Args, client: &Client) -> anyhow::Result<Vec<(Noun, String)>> {
    if !args.files.is_empty() {
        return declared(&args.files);
    }
    let Some(first) = args.what.first() else {
        bail!("say KIND/NAME, -f FILE, or KIND with -l")
    };
    if let Some(selector) = &args.selector {
        if args.what.len() != 1 {
            bail!("with -l say one KIND and no names");
        }
        let noun = deletable(Noun::parse(first)?)?;
        let path = format!("/v1/records/{}", noun.kind());
        let page = client
            .list::<Value>(&path, &[("selector", selector)], usize::MAX)
            .await?;
        let named = |item: &Value| (noun, views::text(item, "/metadata/name"));
        return Ok(page.items.iter().map(named).collect());
    }
    if !first.contains('/') && Noun::parse(first).is_ok() {
        if args.what.len() == 1 {
            bail!("say which: {first}/NAME, or -l SELECTOR");
        }
        let noun = deletable(Noun::parse(first)?)?;
        return Ok(args.what[1..]
            .iter()
            .map(|name| (noun, name.clone()))
            .collect());
    }
    args.what
        .iter()
        .map(|word| {
            let (noun, name) = object(std::slice::from_ref(word))?;
            Ok((deletable(noun)?, name))
        })
        .collect()
}

fn deletable(noun: Noun) -> anyhow::Result<Noun> {
    match noun {
        Noun::Task => bail!("tasks are cancelled, not deleted: sengu cancel t-..."),
        Noun::Release => bail!(
            "a Release goes with the last version of its kind: sengu delete worker/KIND@VERSION"
        ),
        _ => Ok(noun),
    }
}

/// Kind and name of every document; the last declared go first, so that users of a Secret go before it.
fn declared(files: &[PathBuf]) -> anyhow::Result<Vec<(Noun, String)>> {
    let mut objects = Vec::new();
    for source in sources::read(files)? {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&source.text)
            .map_err(|e| anyhow::anyhow!("{}: {e}", source.name))?;
        for (i, document) in documents.iter().filter(|d| !d.is_null()).enumerate() {
            let kind = views::text(document, "/kind");
            let name = views::text(document, "/metadata/name");
            if kind.is_empty() || name.is_empty() {
                bail!(
                    "{}: document {} has no kind and metadata.name",
                    source.name,
                    i + 1
                );
            }
            objects.push((deletable(Noun::parse(&kind)?)?, name));
        }
    }
    objects.sort_by_key(|(noun, _)| *noun == Noun::Secret);
    Ok(objects)
}
