//! Every limit by name, unit and reason. A queue, retry, payload or wait without one here is a defect.

/// One limit, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub name: &'static str,
    pub value: u64,
    pub why: &'static str,
}

impl Limit {
    /// The name says it.
    pub fn unit(&self) -> &'static str {
        if self.name.ends_with("_MS") {
            "ms"
        } else if self.name.contains("_BYTES") {
            "bytes"
        } else {
            "count"
        }
    }
}

/// Each limit as a constant, and all of them as a list that can be shown.
macro_rules! limits {
    ($($(#[doc = $why:literal])+ pub const $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[doc = $why])+ pub const $name: $type = $value;)*

        pub const ALL: &[Limit] = &[$(Limit {
            name: stringify!($name),
            value: $name as u64,
            why: concat!($($why),+),
        }),*];
    };
}

limits! {
/// One line on stdin or stdout of a worker, in bytes. A 4 MB result took 20 s on a peer's bus; larger things are blobs.
pub const WORKER_LINE_BYTES_MAX: usize = 1 << 20;
/// Outcome with readings of one task, in bytes.
pub const TASK_RESULT_BYTES_MAX: usize = 1 << 20;
/// Params of one task, in bytes (file.put carries content).
pub const TASK_PARAMS_BYTES_MAX: usize = 512 << 10;
/// Log of one task, in bytes; what is beyond is counted and dropped with a mark.
pub const TASK_LOG_BYTES_MAX: usize = 1 << 20;
/// Log lines of one task.
pub const TASK_LOG_LINES_MAX: u32 = 10_000;
/// One log line, in bytes.
pub const LOG_LINE_BYTES_MAX: usize = 16 << 10;
/// Tasks one instance may declare to run at once.
pub const SLOTS_PER_INSTANCE_MAX: u32 = 1024;
/// Instances of one pool.
pub const INSTANCES_PER_POOL_MAX: u32 = 64;
/// A worker that is silent this long is dead: three missed beats.
pub const WORKER_SILENCE_MAX_MS: u64 = 15_000;
/// Workers beat this often.
pub const BEAT_MS: u64 = 5_000;
/// From start of the process to `hello`.
pub const HELLO_MAX_MS: u64 = 10_000;
/// From `drain` to exit; then killed.
pub const DRAIN_MAX_MS: u64 = 10_000;
/// Beyond the task's own timeout, before the instance is asked to cancel, and again before it is killed.
pub const TIMEOUT_GRACE_MS: u64 = 2_000;
/// A started task without a beat from its WEE this long is lost.
pub const LEASE_MS: u64 = 20_000;
/// The active logic role says this often that it is there, where several share a store.
pub const LEADER_BEAT_MS: u64 = 1_000;
/// A standby takes over when it has seen no beat for this long: three missed ones. With the time to load, below 5 s.
pub const LEADER_SILENCE_MS: u64 = 3_000;
/// A standby looks this often: the store has no way to call it.
pub const LEADER_LOOK_MS: u64 = 250;
/// A claim that is not answered within this is said again: the answer may be lost. Until the task has to be started.
pub const CLAIM_WAIT_MS: u64 = 2_000;
/// Attempts of one task, the first included.
pub const ATTEMPTS_MAX: u32 = 5;
/// First wait between attempts, and between restarts of a crashing worker; each next one is twice as long.
pub const RETRY_FIRST_MS: u64 = 500;
/// Greatest wait between attempts, and between restarts of a crashing worker.
pub const RETRY_MAX_MS: u64 = 30_000;
/// A device may ask to be left alone at most this long.
pub const RETRY_AFTER_MAX_MS: u64 = 600_000;
/// One attempt of any action.
pub const ACTION_TIMEOUT_MAX_MS: u64 = 3_600_000;
/// Tasks of one lane kept in memory; the rest of a long lane stays in the store.
pub const LANE_WINDOW_MAX: usize = 16;
/// Waiting tasks of one priority and line (zone, kind, class) kept in memory; the rest stays in the store.
pub const LINE_WINDOW_MAX: usize = 4_096;
/// One read from the store while the backlog is drained.
pub const BACKLOG_PAGE: usize = 1_024;
/// Sweeps of an unreachable target are spaced out to at most this, in milliseconds.
pub const SWEEP_BACKOFF_MAX_MS: u64 = 300_000;

/// One image as a blob, in bytes: a container image with tools and their libraries stays below.
pub const IMAGE_BYTES_MAX: u64 = 1 << 30;
/// Files of one image.
pub const IMAGE_FILES_MAX: usize = 10_000;
/// One part of a blob on the interconnect, in bytes: its base64 stays below a worker's line.
pub const BLOB_PART_BYTES: usize = 512 << 10;
/// Parts of blobs that one WEE asks for at once.
pub const BLOB_PARTS_OUT_MAX: usize = 4;
/// A part that does not come within this is asked for again.
pub const BLOB_PART_WAIT_MS: u64 = 10_000;
/// A WEE that says nothing for this long (three announcements) is taken for gone: no task is sent to it.
pub const WEE_SILENCE_MAX_MS: u64 = 16_000;
/// Versions of one worker kind that are known at once.
pub const VERSIONS_PER_KIND_MAX: usize = 64;
/// Rules of one Release.
pub const RULES_PER_RELEASE_MAX: usize = 64;

/// Body of one API request, in bytes: 100,000 targets are about 30 MB of YAML.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;
/// One document of a set, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Documents applied as one set.
pub const DOCUMENTS_PER_SET_MAX: usize = 200_000;
/// Targets of one request whose frames are kept: each of their logs may grow to `TASK_LOG_BYTES_MAX`.
pub const FRAMES_TARGETS_MAX: usize = 100;
/// Tasks created by one request.
pub const TASKS_PER_REQUEST_MAX: usize = 10_000;
/// Targets of one run.
pub const TARGETS_PER_RUN_MAX: usize = 200_000;
/// Items on one page of a list.
pub const PAGE_MAX: usize = 1_000;
/// Items on a page when nobody says how many.
pub const PAGE_DEFAULT: usize = 100;
/// Name of a record, or key of a label.
pub const NAME_BYTES_MAX: usize = 128;
/// Labels, and annotations, of one record.
pub const LABELS_PER_RECORD_MAX: usize = 64;
/// Value of a label.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;
/// Watches open at once.
pub const WATCHES_MAX: usize = 256;
/// Idempotency keys remembered, newest first.
pub const IDEMPOTENCY_KEYS_MAX: usize = 10_000;
/// Readings kept per target from one observation.
pub const READINGS_PER_TARGET_MAX: usize = 2_000;
/// Facts kept per target.
pub const FACTS_PER_TARGET_MAX: usize = 256;

/// The name that somebody gives himself for the audit.
pub const ACTOR_NAME_BYTES_MAX: usize = 100;

/// A browser's session. A shift is over by then.
pub const SESSION_MS: u64 = 12 * 3_600_000;
/// A code that stands for a session once: as long as it takes to open a browser.
pub const SESSION_CODE_MS: u64 = 300_000;
/// Such codes at once; the oldest goes.
pub const SESSION_CODES_MAX: usize = 64;
/// Wrong tokens and codes for a session within `SESSION_DENIALS_MS`; then none is looked at.
pub const SESSION_DENIALS_MAX: usize = 20;
/// How long a wrong one counts.
pub const SESSION_DENIALS_MS: u64 = 60_000;

/// The overview is computed at most this often, for all who watch together.
pub const OVERVIEW_EVERY_MS: u64 = 1_000;
/// Changed tiles and grids are told at most this often: a screen shows no more.
pub const TILES_EVERY_MS: u64 = 500;
/// Racks on one list.
pub const RACKS_MAX: usize = 5_000;
/// Tiles of one view, and targets of one run's grid: a screen has no room for more.
pub const TILES_MAX: usize = 20_000;
/// Views of tiles kept current at once; tabs that look at the same share one. Each holds at most 20,000 tiles.
pub const TILE_VIEWS_MAX: usize = 32;
/// Grids of runs kept current at once; tabs that look at the same share one.
pub const GRID_VIEWS_MAX: usize = 32;
/// Targets looked at under one lock by whoever walks over all: nobody waits for longer than that takes.
pub const WALK_STEP: usize = 512;
/// A task that is in hand for less than this is not slow, whatever is usual.
pub const SLOW_MIN_MS: u64 = 5_000;
/// A task that is in hand for this many times what 90 of 100 take is slow.
pub const SLOW_TIMES: u64 = 3;
/// A task that somebody waits for goes within this; else it is slow.
pub const SLOW_WAIT_PEOPLE_MS: u64 = 60_000;
/// A task of a large run may stand behind others of it for this long.
pub const SLOW_WAIT_BATCH_MS: u64 = 1_800_000;
/// Slow tasks named at once.
pub const SLOW_NAMED_MAX: usize = 20;
/// Runs shown in the overview.
pub const OVERVIEW_RUNS_MAX: usize = 50;
/// Memory for earlier values of readings, over all targets, in bytes: the larger the fleet, the fewer are kept of each.
pub const READING_HISTORY_BYTES_MAX: usize = 32 << 20;
/// Values kept of one reading, at most.
pub const READING_POINTS_MAX: usize = 120;
/// Tasks looked at for one page of a filtered list; a page may be short and still have a next one.
pub const TASK_SCAN_MAX: usize = 10_000;
}

pub(crate) fn busy_cooldown_default_ms() -> u64 {
    5_000
}
pub(crate) fn action_timeout_default_ms() -> u64 {
    30_000
}
