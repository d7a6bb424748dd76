//! The fleet as observed: one line per kind, vendor and model.

use super::super::views::{self, text};
use crate::output::{self, Cell, Table, Tone};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    pub kind: String,
    pub vendor: String,
    pub model: String,
    pub count: u64,
    pub reachable: u64,
    pub quarantined: u64,
    /// Targets by power state, where the kind has one.
    pub power: BTreeMap<String, u64>,
    pub readings: u64,
}

/// Groups Target records.
pub fn groups(targets: &[Value]) -> Vec<Group> {
    let mut groups = BTreeMap::<(String, String, String), Group>::new();
    for target in targets {
        let kind = text(target, "/spec/kind");
        let vendor = views::fact(target, views::VENDOR_FACTS);
        let model = views::fact(target, views::MODEL_FACTS);
        let group = groups
            .entry((kind.clone(), vendor.clone(), model.clone()))
            .or_default();
        (group.kind, group.vendor, group.model) = (kind, vendor, model);
        group.count += 1;
        match views::target_state(target).0 {
            "Reachable" => group.reachable += 1,
            "Quarantined" => group.quarantined += 1,
            _ => {}
        }
        let power = views::fact(target, &["power_state"]);
        if !power.is_empty() {
            *group.power.entry(power).or_default() += 1;
        }
        let readings = target.pointer("/status/readings").and_then(Value::as_array);
        group.readings += readings.map_or(0, Vec::len) as u64;
    }
    groups.into_values().collect()
}

pub fn table(groups: &[Group]) -> Table {
    let mut table = Table::new(&[
        "KIND",
        "VENDOR",
        "MODEL",
        "COUNT",
        "REACHABLE",
        "READINGS",
        "POWER",
    ]);
    for group in groups {
        let tone = if group.reachable == group.count {
            Tone::Good
        } else {
            Tone::Warn
        };
        let power: Vec<String> = group
            .power
            .iter()
            .map(|(state, n)| format!("{} {state}", output::thousands(*n)))
            .collect();
        let or_dash = |text: &str| Cell::new(if text.is_empty() { "-" } else { text });
        table.row(vec![
            Cell::new(&group.kind),
            or_dash(&group.vendor),
            or_dash(&group.model),
            Cell::new(output::thousands(group.count)),
            Cell::new(output::thousands(group.reachable)).tone(tone),
            Cell::new(output::thousands(group.readings)),
            or_dash(&power.join(", ")),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn targets_are_grouped_by_what_they_are() {
        let one = |power: &str, reachable: &str| {
            json!({"spec":{"kind":"redfish"},"status":{
                "facts":{"vendor":"Contoso","model":"R1","power_state":power},"readings":[{},{}],
                "conditions":[{"type":"Reachable","status":reachable}]}})
        };
        let groups = groups(&[one("On", "True"), one("Off", "True"), one("On", "False")]);
        assert_eq!(groups.len(), 1);
        assert_eq!(
            (groups[0].count, groups[0].reachable, groups[0].readings),
            (3, 2, 6)
        );
        assert_eq!(
            groups[0].power,
            BTreeMap::from([("On".into(), 2), ("Off".into(), 1)])
        );
    }
}
