//! Changes of records as they are shown to whoever follows them, by whatever way: secrets hidden, and what was observed
//! of a target as a change of the target.

use crate::core::Shared;
use crate::records::hide;
use sengu_model::Record;
use sengu_store::{Change, StoredRecord};

/// One change of a record, as it may be shown.
pub struct Shown {
    pub kind: String,
    pub name: String,
    pub revision: u64,
    /// None when it was deleted.
    pub record: Option<Record>,
}

impl Shared {
    /// Any record, as stored (secrets sealed), with status.
    pub fn record(&self, kind: &str, name: &str) -> Option<Record> {
        let inventory = self.inventory.read();
        if kind == "Target" {
            return inventory.target(name).map(|t| t.record());
        }
        inventory.other(kind, name).map(|o| o.record.clone())
    }
}

/// None where another change says all that this one would.
pub fn shown(shared: &Shared, change: &Change) -> Option<Shown> {
    // What was observed of a target is shown as a change of the target.
    let status_only = change.kind == "TargetStatus";
    let kind = if status_only { "Target" } else { &change.kind };
    let record = match (&change.record, shared.record(kind, &change.name)) {
        // A status goes with its target; when that is gone or yet to come, its own change says so.
        (Some(_), Some(known)) if status_only => Some(known),
        _ if status_only => return None,
        (None, _) => None,
        (Some(_), Some(known)) if known.metadata.revision >= Some(change.revision) => Some(known),
        // Commits are seen in the store before they are in the inventory.
        (Some(stored), _) => Some(as_stored(stored)?),
    };
    Some(Shown {
        kind: kind.to_owned(),
        name: change.name.clone(),
        revision: change.revision,
        record: record.map(hide),
    })
}

fn as_stored(stored: &StoredRecord) -> Option<Record> {
    let mut record: Record = serde_json::from_slice(&stored.body).ok()?;
    record.metadata.uid = Some(stored.uid);
    record.metadata.revision = Some(stored.revision);
    Some(record)
}
