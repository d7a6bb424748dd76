//! `sengu explain`: fields of a kind, actions of a worker kind, parameters of one action, and which worker does a task.

use super::describe::Page;
use super::{Context, views};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::output::{self, FormatArg, Paint, Table, span};
use serde_json::Value;
use std::fmt::Write as _;
use views::text;

/// Fields of a kind, actions of a worker kind, which worker does a task
///
/// Examples: sengu explain, sengu explain Target, sengu explain redfish, sengu explain redfish.power.set,
/// sengu explain task t-...
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A kind, a worker kind, <worker kind>.<action>, or task and its id; nothing lists the kinds
    #[arg(value_name = "KIND|WORKER|WORKER.ACTION|task ID", num_args = 0..=2)]
    what: Vec<String>,
    #[command(flatten)]
    output: FormatArg,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    if let Some(id) = task_id(&args.what)? {
        return task(args, &client, &id).await;
    }
    let Some(what) = args.what.first() else {
        let kinds: Value = client.get("/v1/kinds", &[]).await?;
        if !args.output.format.for_people() {
            output::print_value(args.output.format, &kinds)?;
            return Ok(Exit::Ok);
        }
        let mut table = Table::new(&["KIND", "DESCRIPTION"]);
        let items = kinds.get("items").and_then(Value::as_array);
        for kind in items.into_iter().flatten() {
            table.row(vec![
                text(kind, "/kind").into(),
                text(kind, "/description").into(),
            ]);
        }
        output::print(&table.take(Paint::stdout()));
        return Ok(Exit::Ok);
    };
    // `targets` and `target` mean the kind; worker kinds are lower case and win if there is one of that name.
    let name = match super::nouns::Noun::parse(what) {
        Ok(noun) if noun != super::nouns::Noun::Task => noun.kind().to_owned(),
        _ => what.clone(),
    };
    let kind: Value = client
        .get(&format!("/v1/kinds/{}", encode(&name)), &[])
        .await?;
    if !args.output.format.for_people() {
        output::print_value(args.output.format, &kind)?;
        return Ok(Exit::Ok);
    }
    let mut page = Page {
        out: String::new(),
        paint: Paint::stdout(),
    };
    page.line("Kind", text(&kind, "/kind"));
    page.line("Description", text(&kind, "/description"));
    fields(&mut page, "Fields", kind.get("fields"));
    let actions = kind.get("actions").and_then(Value::as_array);
    if let Some(actions) = actions.filter(|a| !a.is_empty()) {
        page.heading("Actions");
        let mut table =
            Table::new(&["ACTION", "EFFECT", "TIMEOUT", "PARAMETERS", "DESCRIPTION"]).indent(2);
        for a in actions {
            let timeout = a
                .get("timeout_ms")
                .or_else(|| a.get("timeoutMs"))
                .and_then(Value::as_u64);
            table.row(vec![
                text(a, "/name").into(),
                text(a, "/effect").into(),
                timeout.map(span).unwrap_or_default().into(),
                super::params::summary(a.get("params")).into(),
                text(a, "/description").into(),
            ]);
        }
        page.table(table);
    }
    let example = text(&kind, "/example");
    if !example.is_empty() {
        page.heading("Example");
        for line in example.lines() {
            let _ = writeln!(page.out, "  {}", output::safe(line));
        }
    }
    output::print(&page.out);
    Ok(Exit::Ok)
}

/// The id of the task that is asked for, if one is.
fn task_id(words: &[String]) -> anyhow::Result<Option<String>> {
    match words {
        [] => Ok(None),
        [one] if !one.contains('/') && one.parse::<sengu_model::TaskId>().is_err() => Ok(None),
        words => match super::nouns::object(words)? {
            (super::nouns::Noun::Task, id) => Ok(Some(id)),
            (noun, name) => anyhow::bail!(
                "a single {} is not explained: sengu describe {}/{name}",
                noun.lower(),
                noun.lower()
            ),
        },
    }
}

async fn task(args: &Args, client: &Client, id: &str) -> anyhow::Result<Exit> {
    let path = format!("/v1/tasks/{}/explain", encode(id));
    let chosen: Value = client.get(&path, &[]).await?;
    if !args.output.format.for_people() {
        output::print_value(args.output.format, &chosen)?;
        return Ok(Exit::Ok);
    }
    let mut page = Page {
        out: String::new(),
        paint: Paint::stdout(),
    };
    task_page(&mut page, &chosen);
    output::print(&page.out);
    Ok(Exit::Ok)
}

/// Which worker does a task, why that one, and by what it was looked for.
fn task_page(page: &mut Page, chosen: &Value) {
    page.line("Task", text(chosen, "/task"));
    let (kind, target) = (text(chosen, "/kind"), text(chosen, "/target"));
    page.line("Target", format!("{target} ({kind})"));
    page.line("Action", text(chosen, "/action"));
    let ended = chosen.get("ended") == Some(&Value::Bool(true));
    let version = text(chosen, "/version");
    let worker = if version.is_empty() {
        "none".to_owned()
    } else {
        format!("{kind}@{version}")
    };
    let name = if ended { "Done by" } else { "Worker" };
    page.line(name, worker);
    page.line("Because", text(chosen, "/why"));
    page.line("Image", text(chosen, "/digest"));
    page.line("Instance", text(chosen, "/instance"));
    page.line("WEE", text(chosen, "/wee"));
    page.pairs("Facts", chosen.get("facts"));
    let wees = chosen.get("wees").and_then(Value::as_object);
    if let Some(wees) = wees.filter(|wees| !wees.is_empty()) {
        page.heading("Execution environments of its zone");
        let mut table = Table::new(&["WEE", "STANDS"]).indent(2);
        for (name, stands) in wees {
            table.row(vec![name.into(), views::scalar(stands).into()]);
        }
        page.table(table);
    }
}

fn fields(page: &mut Page, title: &str, fields: Option<&Value>) {
    let fields = fields.and_then(Value::as_array);
    let Some(fields) = fields.filter(|f| !f.is_empty()) else {
        return;
    };
    page.heading(title);
    let mut table = Table::new(&["FIELD", "TYPE", "REQUIRED", "DESCRIPTION"]).indent(2);
    for f in fields {
        let required = if f.get("required") == Some(&Value::Bool(true)) {
            "yes"
        } else {
            ""
        };
        table.row(vec![
            text(f, "/path").into(),
            text(f, "/type").into(),
            required.into(),
            text(f, "/description").into(),
        ]);
    }
    page.table(table);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_is_known_from_a_kind() {
        let id = sengu_model::TaskId(5).to_string();
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            task_id(&words).ok()
        };
        let slash = format!("task/{id}");
        let table: [(&[&str], Option<Option<String>>); 7] = [
            (&[], Some(None)),
            (&["Target"], Some(None)),
            (&["task"], Some(None)),
            (&["task", &id], Some(Some(id.clone()))),
            (&[&slash], Some(Some(id.clone()))),
            (&[&id], Some(Some(id.clone()))),
            (&["target", "a"], None),
        ];
        for (words, expected) in table {
            assert_eq!(of(words), expected, "{words:?}");
        }
    }

    #[test]
    fn which_worker_and_why() {
        let mut out = String::new();
        for chosen in [
            json!({"task":"t-1","target":"bmc-1","kind":"redfish","action":"observe","version":"1.5.0",
                "digest":"sha256:ab","wee":"edge-1","ended":false,"why":"rule to-1.5.0: 10% of vendor=Contoso",
                "facts":{"firmware":"1.9","vendor":"Contoso"},
                "wees":{"edge-1":"can run it","edge-2":"it is cordoned"}}),
            json!({"task":"t-2","target":"bmc-1","kind":"redfish","action":"observe","ended":false,
                "why":"pinned to 9.9.9, which is not known","facts":{},"wees":{}}),
        ] {
            let mut page = Page {
                out: String::new(),
                paint: Paint { on: false },
            };
            task_page(&mut page, &chosen);
            out += &page.out;
        }
        expect_test::expect![[r#"
            Task:         t-1
            Target:       bmc-1 (redfish)
            Action:       observe
            Worker:       redfish@1.5.0
            Because:      rule to-1.5.0: 10% of vendor=Contoso
            Image:        sha256:ab
            WEE:          edge-1
            Facts:
              firmware:  1.9
              vendor:    Contoso
            Execution environments of its zone:
              WEE      STANDS
              edge-1   can run it
              edge-2   it is cordoned
            Task:         t-2
            Target:       bmc-1 (redfish)
            Action:       observe
            Worker:       none
            Because:      pinned to 9.9.9, which is not known
        "#]]
        .assert_eq(&out);
    }
}
