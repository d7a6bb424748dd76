//! How a record comes into the store without logic.

use super::*;

pub(super) fn put(
    kind: &str,
    name: &str,
    uid: u64,
    labels: BTreeMap<String, String>,
    spec: serde_json::Value,
) -> Op {
    let record = Record {
        api_version: API_VERSION.to_owned(),
        kind: kind.to_owned(),
        metadata: Metadata {
            name: name.to_owned(),
            labels,
            created_at: Some(Time(life::START_MS)),
            ..Metadata::default()
        },
        spec,
        status: serde_json::Value::Null,
    };
    Op::PutRecord {
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: Uid(uid),
        expect: Expect::Anything,
        body: serde_json::to_vec(&record).unwrap_or_default().into(),
    }
}
