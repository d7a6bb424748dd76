//! `sengu get parked`: messages that nobody could make sense of.

use super::views;
use crate::client::{Client, Pages};
use crate::exit::Exit;
use crate::output::{self, Cell, Format, Paint, Table, Tone, say};
use serde_json::{Value, json};

/// The word of `sengu get`.
pub const WORD: &str = "parked";
const PATH: &str = "/v1/parked";

pub async fn list(client: &Client, format: Format, limit: usize) -> anyhow::Result<Exit> {
    let mut pages = Pages::new(client, PATH, &[], limit);
    let mut table = Table::new(&["WHEN", "QUEUE", "REASON", "BYTES"]);
    let mut held = Vec::new();
    let mut found = false;
    while let Some(page) = pages.next::<Value>().await? {
        found |= !page.items.is_empty();
        match format {
            Format::Table | Format::Wide => {
                page.items.iter().for_each(|item| table.row(row(item)));
                if !table.is_empty() {
                    output::print(&table.take(Paint::stdout()));
                }
            }
            Format::Name => {
                for item in &page.items {
                    let position = views::number(item, "/position");
                    output::print_line(&format!("{WORD}/{position}"));
                }
            }
            Format::Json | Format::Yaml => held.extend(page.items),
        }
    }
    if matches!(format, Format::Json | Format::Yaml) {
        output::print_value(format, &json!({"kind": "List", "items": held}))?;
    } else if !found && format.for_people() {
        say("nothing is parked: every message was understood");
    }
    Ok(Exit::Ok)
}

fn row(item: &Value) -> Vec<Cell> {
    vec![
        Cell::new(format!("{} ago", views::age_at(item, "/at"))),
        Cell::new(views::text(item, "/queue")),
        Cell::new(views::text(item, "/reason")).tone(Tone::Warn),
        Cell::new(output::thousands(views::number(item, "/bytes"))),
    ]
}
