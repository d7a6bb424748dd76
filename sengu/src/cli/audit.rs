//! `sengu audit`: who did what.

use super::{Context, views};
use crate::client::Pages;
use crate::exit::Exit;
use crate::output::{self, Cell, FormatArg, Paint, Table, say};
use serde_json::{Value, json};
use views::text;

/// Who did what, newest first
///
/// What people asked for and was accepted, and what sengu decided by itself about Releases. WHO is the role, and as whom
/// the caller gave itself out: all operators have the same token, so nobody proves a name.
///
/// Example: sengu audit target/bmc-r01-07
#[derive(Debug, clap::Args)]
pub struct Args {
    /// KIND, KIND/NAME, or the NAME of anything
    #[arg(value_name = "KIND[/NAME]")]
    what: Option<String>,
    /// Only by this role or name
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Only what was done so: created, configured, deleted, promoted, rolled-back, cancelled..
    #[arg(long, value_name = "ACT")]
    act: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    output: FormatArg,
}

/// Fields shown in one line.
const FIELDS_MAX: usize = 3;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (kind, name) = object(args.what.as_deref());
    let query: Vec<(&str, &str)> = [
        ("kind", kind.as_deref()),
        ("name", name.as_deref()),
        ("what", args.act.as_deref()),
        ("by", args.by.as_deref()),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect();
    let client = context.client()?;
    let mut pages = Pages::new(&client, "/v1/audit", &query, args.limit);
    let mut table = Table::new(&["WHEN", "WHO", "ACT", "WHAT", "HOW"]);
    let (mut held, mut found) = (Vec::new(), false);
    while let Some(page) = pages.next::<Value>().await? {
        found |= !page.items.is_empty();
        if !args.output.format.for_people() {
            held.extend(page.items);
            continue;
        }
        page.items.iter().for_each(|item| table.row(row(item)));
        if !table.is_empty() {
            output::print(&table.take(Paint::stdout()));
        }
    }
    if !args.output.format.for_people() {
        let list = json!({"kind": "List", "items": held});
        output::print_value(args.output.format, &list)?;
    } else if !found {
        say("nothing was done that this asks for");
    }
    Ok(Exit::Ok)
}

/// Kind and name of what is asked about; kinds as records write them.
fn object(what: Option<&str>) -> (Option<String>, Option<String>) {
    const KINDS: [&str; 9] = [
        "Target", "Secret", "Schedule", "Release", "Worker", "Wee", "Run", "Task", "Store",
    ];
    let Some(what) = what else {
        return (None, None);
    };
    let (word, name) = match what.split_once('/') {
        Some((word, name)) => (word, Some(name.to_owned())),
        None => (what, None),
    };
    let word = word.to_lowercase();
    let kind = KINDS.iter().find(|kind| {
        let kind = kind.to_lowercase();
        word == kind || word.strip_suffix('s') == Some(&kind)
    });
    match (kind, name) {
        // What was done to a target is told of its tasks too.
        (Some(&"Target"), Some(name)) => (None, Some(name)),
        (Some(kind), name) => (Some((*kind).to_owned()), name),
        (None, _) => (None, Some(what.to_owned())),
    }
}

fn row(item: &Value) -> Vec<Cell> {
    let name = text(item, "/by/name");
    let who = match name.as_str() {
        "" => text(item, "/by/role"),
        name => format!("{} ({name})", text(item, "/by/role")),
    };
    vec![
        Cell::new(format!("{} ago", views::age_at(item, "/at"))),
        Cell::new(who),
        Cell::new(text(item, "/what")),
        Cell::new(format!(
            "{}/{}",
            text(item, "/kind").to_lowercase(),
            text(item, "/name")
        )),
        Cell::new(how(item)),
    ]
}

fn how(item: &Value) -> String {
    let note = text(item, "/note");
    let list = |key: &str| {
        item.get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let targets = list("targets");
    let targets: Vec<String> = targets.iter().take(FIELDS_MAX).map(views::scalar).collect();
    if !note.is_empty() {
        return match targets.is_empty() {
            true => note,
            false => format!("{note}: {}", targets.join(", ")),
        };
    }
    let fields = list("fields");
    let mut parts: Vec<String> = fields.iter().take(FIELDS_MAX).map(field).collect();
    if fields.len() > FIELDS_MAX {
        parts.push(format!("and {} more", fields.len() - FIELDS_MAX));
    }
    parts.join(", ")
}

fn field(field: &Value) -> String {
    let path = text(field, "/path");
    let side = |key: &str| field.get(key).map(views::scalar);
    match (side("before"), side("after")) {
        (None, Some(after)) => format!("{path}={after}"),
        (Some(before), None) => format!("{path} was {before}"),
        (before, after) => format!(
            "{path}: {} -> {}",
            before.unwrap_or_default(),
            after.unwrap_or_default()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_one_line() {
        let item = json!({
            "at": "2026-01-01T00:00:00Z", "by": {"role": "operator", "name": "alice@ops1"},
            "what": "configured", "kind": "Target", "name": "bmc-1",
            "fields": [
                {"path": "labels.rack", "before": "r1", "after": "r2"},
                {"path": "labels.new", "after": "n"},
                {"path": "spec.port", "before": 22},
                {"path": "spec.x", "after": 1}
            ],
        });
        assert_eq!(
            how(&item),
            "labels.rack: r1 -> r2, labels.new=n, spec.port was 22, and 1 more"
        );
        let item = json!({"note": "power-on on 2 targets", "targets": ["a", "b"]});
        assert_eq!(how(&item), "power-on on 2 targets: a, b");
        assert_eq!(how(&json!({})), "");
    }

    #[test]
    fn what_is_asked_about_is_said_as_everywhere() {
        let of = |what| object(Some(what));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("release/redfish"), (some("Release"), some("redfish")));
        assert_eq!(of("releases"), (some("Release"), None));
        assert_eq!(of("target/bmc-1"), (None, some("bmc-1")));
        assert_eq!(of("bmc-1"), (None, some("bmc-1")));
        assert_eq!(of("t-123"), (None, some("t-123")));
        assert_eq!(object(None), (None, None));
    }
}
