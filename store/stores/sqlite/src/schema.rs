//! The tables, and how a connection is set up. The schema goes forward only: an older program must never touch the
//! file of a newer one.

use crate::error::{broken, from_engine, unavailable};
use rusqlite::{Connection, OpenFlags};
use sengu_store::StoreError;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const DATABASE_FILE: &str = "store.db";
/// Version of the tables below, kept in `PRAGMA user_version`.
const VERSION: i64 = 1;
/// Written into a new file only. Measured from 2 to 8 KiB: smaller costs more CPU, larger more log for a lone commit.
const PAGE_BYTES: u32 = 4096;
/// Page cache of the writer: the tails of all tables and indexes.
const WRITER_CACHE_KIB: u32 = 8 << 10;
/// Page cache of each reader: reads are pages of lists, seldom repeated.
const READER_CACHE_KIB: u32 = 1 << 10;
/// The log is written back into the database when it has this many pages (4 MB). More saves nothing (measured up to
/// 64 MB) and makes the pause of whoever commits then longer.
const LOG_PAGES: u32 = 1_000;
/// The write-ahead log is cut back to this after a checkpoint.
const LOG_KEPT_BYTES: u64 = 16 << 20;
/// Only a checkpoint that restarts the log can make a reader wait, for microseconds.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// Why each table looks as it does:
/// - `task` is written once and never changed; how a task stands is in `open` (narrow, small, hot) until it ends, then
///   in `result`, in the order of ending. So a task costs four appends and one delete, and no row is ever rewritten.
/// - `lane` is the index of tasks by target, written in sorted parts (see `lanes`).
/// - `record` has a rowid because rows of a `WITHOUT ROWID` table spill to a page of their own beyond 1 kB.
/// - `entry.id` is stream << 48 | position, so each stream is one run of pages.
const TABLES: &str = "
CREATE TABLE head(
    id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER NOT NULL, change_oldest INTEGER NOT NULL,
    position INTEGER NOT NULL, last_id INTEGER NOT NULL, records INTEGER NOT NULL,
    tasks_open INTEGER NOT NULL, tasks_ended INTEGER NOT NULL);
INSERT INTO head VALUES (0, 0, 1, 0, 0, 0, 0, 0);
CREATE TABLE task(
    id INTEGER PRIMARY KEY, target INTEGER NOT NULL, run INTEGER, batch INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE lane(
    part INTEGER NOT NULL, target INTEGER NOT NULL, id INTEGER NOT NULL,
    PRIMARY KEY (part, target, id)) WITHOUT ROWID;
CREATE TABLE lane_part(id INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE INDEX task_run ON task(run) WHERE run IS NOT NULL;
CREATE TABLE open(
    id INTEGER PRIMARY KEY, priority INTEGER NOT NULL, line INTEGER NOT NULL, attempt INTEGER NOT NULL,
    run INTEGER, batch INTEGER NOT NULL, not_before INTEGER, sent_epoch INTEGER, sent_at INTEGER,
    checkpoint BLOB, history TEXT);
CREATE INDEX open_line ON open(priority, line);
CREATE INDEX open_held ON open(run, batch) WHERE priority = 0;
CREATE TABLE result(
    position INTEGER PRIMARY KEY, task INTEGER NOT NULL, status INTEGER NOT NULL, changed INTEGER NOT NULL,
    attempt INTEGER NOT NULL, at INTEGER NOT NULL, ending BLOB NOT NULL);
CREATE INDEX result_task ON result(task, status, changed, attempt);
CREATE INDEX result_bad ON result(status, task) WHERE status != 1;
CREATE TABLE record(
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, uid INTEGER NOT NULL,
    revision INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX record_name ON record(kind, name);
CREATE TABLE change(
    revision INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, deleted INTEGER NOT NULL);
CREATE TABLE stream(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE entry(id INTEGER PRIMARY KEY, key INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX entry_key ON entry(key) WHERE key != 0;
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
";

/// A number that is compared by order in SQL: SQLite's integers are signed.
pub fn ordered(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The number stored by `ordered`.
pub fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A page size asked by a caller, as SQL wants it.
pub fn page(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

const STREAM_SHIFT: u32 = 48;

/// The ids of a stream's entries: those above `.0` up to `.1`, starting after position `after`.
pub fn entry_range(stream: i64, after: u64) -> (i64, i64) {
    let last = (1 << STREAM_SHIFT) - 1;
    let base = stream << STREAM_SHIFT;
    (base | ordered(after).min(last), base | last)
}

pub fn entry_position(id: i64) -> u64 {
    unsigned(id & ((1 << STREAM_SHIFT) - 1))
}

/// Makes the data directory, readable by its owner only, and gives the path of the database.
pub fn prepare_directory(directory: &Path) -> Result<PathBuf, StoreError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(unavailable)?;
    let path = directory.join(DATABASE_FILE);
    // SQLite gives its log files the mode of the database, so making it first closes all of them to others.
    std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(unavailable)?;
    let sync = std::fs::File::open(directory).and_then(|d| d.sync_all());
    sync.map_err(unavailable)?;
    Ok(path)
}

/// Opens the one connection that writes, and brings the schema forward.
pub fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB)
        .map_err(|e| from_engine("open the store", e))?;
    let found = migrate(&connection).map_err(|e| from_engine("prepare the store's tables", e))?;
    if found > VERSION {
        return Err(broken(format!(
            "{} has schema {found}, this program knows up to {VERSION}: use a newer sengu",
            path.display()
        )));
    }
    Ok(connection)
}

pub fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags, cache_kib: u32) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_MAX)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Returns the schema version found, which is greater than `VERSION` when nothing was touched.
fn migrate(connection: &Connection) -> rusqlite::Result<i64> {
    let version =
        |c: &Connection| c.pragma_query_value(None, "user_version", |r| r.get::<_, i64>(0));
    let found = version(connection)?;
    if found > VERSION {
        return Ok(found);
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", ordered(LOG_KEPT_BYTES))?;
    if found == 0 {
        // All or nothing: a crash here leaves an empty file, which is made anew.
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;{TABLES}PRAGMA user_version = {VERSION};COMMIT"
        ))?;
    }
    version(connection)
}

/// Size of the database and its log.
pub fn bytes_on_disk(directory: &Path) -> u64 {
    [DATABASE_FILE.to_owned(), format!("{DATABASE_FILE}-wal")]
        .iter()
        .filter_map(|name| std::fs::metadata(directory.join(name)).ok())
        .map(|found| found.len())
        .sum()
}
