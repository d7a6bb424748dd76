//! What is read of the store.

use super::*;

impl State {
    pub fn record(&self, kind: &str, name: &str) -> Option<StoredRecord> {
        self.records
            .get(&(kind.to_owned(), name.to_owned()))
            .cloned()
    }

    pub fn records(
        &self,
        kind: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Vec<StoredRecord> {
        let after = after.map(|(k, n)| (k.to_owned(), n.to_owned()));
        let all = self.records.iter().filter(|(key, _)| {
            after.as_ref().is_none_or(|a| *key > a) && (kind.is_empty() || key.0 == kind)
        });
        match &after {
            // Straight to the place: a start reads all in pages.
            Some(after) if kind.is_empty() => {
                let from = (
                    std::ops::Bound::Excluded(after.clone()),
                    std::ops::Bound::Unbounded,
                );
                let rest = self.records.range(from);
                rest.take(limit).map(|(_, r)| r.clone()).collect()
            }
            _ => all.take(limit).map(|(_, r)| r.clone()).collect(),
        }
    }

    pub fn changes(&self, from: Revision, limit: usize) -> Result<Changes, StoreError> {
        if from < self.compacted {
            return Err(StoreError::Compacted {
                oldest: self.compacted + 1,
            });
        }
        // A write that a later one replaced is passed over: the later one comes in its turn.
        let changes =
            self.changes
                .range(from + 1..)
                .filter_map(|(revision, (kind, name, deleted))| {
                    let record = self.record(kind, name);
                    let record = record.filter(|record| record.revision == *revision);
                    (*deleted || record.is_some()).then(|| Change {
                        revision: *revision,
                        kind: kind.clone(),
                        name: name.clone(),
                        record,
                    })
                });
        let changes = changes.take(limit).collect();
        Ok(Changes {
            changes,
            newest: self.revision,
        })
    }

    pub fn open_tasks(
        &self,
        priority: Priority,
        line: Line,
        after: TaskId,
        limit: usize,
    ) -> Vec<OpenTask> {
        let list = self.open.get(&(priority as u8, line));
        let ids = list.into_iter().flat_map(|l| l.range(above(after)));
        ids.filter_map(|id| self.tasks.get(id)?.open())
            .take(limit)
            .collect()
    }

    pub fn lines(&self) -> Vec<(Priority, Line)> {
        let places = self.open.keys();
        places
            .filter_map(|(p, line)| Some((Priority::from_number(*p)?, *line)))
            .collect()
    }

    pub fn lane_tasks(&self, target: Uid, after: TaskId, limit: usize) -> Vec<OpenTask> {
        let list = self.lanes.get(&target);
        let ids = list.into_iter().flat_map(|l| l.range(above(after)));
        ids.filter_map(|id| self.tasks.get(id)?.open())
            .filter(|task| task.priority != Priority::Held)
            .take(limit)
            .collect()
    }

    pub fn task(&self, id: TaskId) -> Option<StoredTask> {
        self.tasks.get(&id).map(Row::stored)
    }

    pub fn tasks(&self, query: &TaskQuery) -> Vec<StoredTask> {
        let below = query.before.unwrap_or(TaskId(u64::MAX));
        let all = self.tasks.range(..below).rev().map(|(_, row)| row);
        all.filter(|row| {
            let status = match &row.state {
                RowState::Open { .. } => None,
                RowState::Ended { status, .. } => Some(*status),
            };
            query.target.is_none_or(|t| t == row.new.target)
                && query.run.is_none_or(|r| Some(r) == row.new.run)
                && (!query.open || status.is_none())
                && (query.status.is_empty() || status.is_some_and(|s| query.status.contains(&s)))
        })
        .take(query.limit)
        .map(Row::stored)
        .collect()
    }

    pub fn run_tasks(&self, run: RunId) -> Vec<RunTask> {
        let mut newest: BTreeMap<Uid, &Row> = BTreeMap::new();
        for id in self.runs.get(&run).into_iter().flatten() {
            if let Some(row) = self.tasks.get(id) {
                newest.insert(row.new.target, row);
            }
        }
        let mut rows: Vec<&Row> = newest.into_values().collect();
        rows.sort_by_key(|row| row.new.id);
        let of = |row: &Row| {
            let (attempt, status, changed, priority, sent) = match &row.state {
                RowState::Open {
                    priority,
                    attempt,
                    sent,
                    ..
                } => (*attempt, None, false, Some(*priority), sent.is_some()),
                RowState::Ended {
                    status,
                    changed,
                    attempt,
                    ..
                } => (*attempt, Some(*status), *changed, None, false),
            };
            RunTask {
                id: row.new.id,
                target: row.new.target,
                batch: row.new.batch,
                attempt,
                status,
                changed,
                priority,
                sent,
            }
        };
        rows.into_iter().map(of).collect()
    }

    pub fn entries(&self, stream: &str, key: u64, after: Position, limit: usize) -> Vec<Entry> {
        let list = self.entries.get(stream);
        let all = list.into_iter().flat_map(|l| l.range(after + 1..));
        all.map(|(_, entry)| entry)
            .filter(|entry| key == 0 || entry.key == key)
            .take(limit)
            .cloned()
            .collect()
    }

    pub fn entries_back(&self, stream: &str, before: Position, limit: usize) -> Vec<Entry> {
        let list = self.entries.get(stream);
        let all = list.into_iter().flat_map(|l| l.range(..before).rev());
        all.map(|(_, entry)| entry).take(limit).cloned().collect()
    }

    pub fn results(&self, after: Position, limit: usize) -> Vec<(Position, StoredTask)> {
        let all = self.results.range(after + 1..).take(limit);
        all.filter_map(|(position, id)| Some((*position, self.task(*id)?)))
            .collect()
    }

    pub fn meta(&self, key: &str) -> Option<Bytes> {
        self.meta.get(key).cloned()
    }

    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            engine: "simulated".to_owned(),
            revision: self.revision,
            records: self.records.len() as u64,
            tasks_open: self.open_count,
            tasks_ended: self.ended,
            bytes: 0,
            last_id: self.last_id,
            lacks: Vec::new(),
        }
    }
}
