//! Every limit of this worker by name, unit and reason. Servers are slow, broken, and sometimes not what they say.

/// One answer after decompression, in bytes, unless the target's record says otherwise: a large exporter gives 2 MB.
pub const RESPONSE_BYTES: usize = 4 << 20;
/// And the most that a record may say: several tasks of an instance hold one each.
pub const RESPONSE_BYTES_MAX: usize = 32 << 20;
/// One request's body, in bytes: parameters of a task are at most 512 KiB.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// One request and its answer, inside the task's deadline, in milliseconds.
pub const REQUEST_MAX_MS: u64 = 30_000;
/// TCP and TLS handshake, in milliseconds. Management cards take up to 2 s for an RSA handshake.
pub const CONNECT_MAX_MS: u64 = 8_000;
/// Redirects followed for one request, all on the same origin.
pub const REDIRECTS_MAX: u32 = 5;
/// Pages of one source that are followed by its `next` pointer.
pub const PAGES_MAX: u32 = 64;
/// Sources of one target.
pub const SOURCES_MAX: usize = 32;
/// Declared requests of one target.
pub const REQUESTS_MAX: usize = 64;
/// Readings and facts of one source that may be declared.
pub const RULES_MAX: usize = 256;
/// Readings of one observation: what the control plane keeps per target.
pub const READINGS_MAX: usize = 2_000;
/// Facts of one observation: what the control plane keeps per target.
pub const FACTS_MAX: usize = 256;
/// A fact or label longer than this is cut, in bytes: labels of records end there too.
pub const TEXT_BYTES_MAX: usize = 256;
/// Readings and facts of one observation, in bytes of JSON: a result may have 1 MiB in all.
pub const OBSERVED_BYTES_MAX: usize = 700 << 10;
/// Places that one pointer with wildcards may match.
pub const MATCHES_MAX: usize = READINGS_MAX;
/// Problems of one observation that are named; the rest is counted.
pub const PROBLEMS_MAX: usize = 20;
/// Wildcards in one pointer.
pub const WILDCARDS_MAX: usize = 4;
/// A body given back as a result, in bytes of JSON; a longer one is a `bad_reply` for a read and left out after a change.
pub const RESULT_BYTES_MAX: usize = 512 << 10;
/// Kept free before the deadline to hand over what is known, in milliseconds.
pub const HANDOVER_MS: u64 = 400;
/// A request is not begun with less time than this left, in milliseconds: it could only fail.
pub const REQUEST_MIN_MS: u64 = 20;
/// First and longest wait between two read-backs, in milliseconds.
pub const READ_BACK_FIRST_MS: u64 = 150;
pub const READ_BACK_LONGEST_MS: u64 = 3_000;
/// How long after a lost request its effect may still come, in milliseconds, unless the record says otherwise.
pub const SETTLE_MS: u64 = 10_000;
pub const SETTLE_MAX_MS: u64 = 300_000;
/// A server may ask to be left alone at most this long, in milliseconds.
pub const RETRY_AFTER_MAX_MS: u64 = 600_000;
/// Rest after `busy` that names no time is the lane's; this is the token endpoint's, which has no lane.
pub const TOKEN_BUSY_MS: u64 = 5_000;
/// An OAuth token without `expires_in` is kept this long, in milliseconds; a 401 renews it earlier.
pub const TOKEN_KEEP_MS: u64 = 300_000;
/// A token is renewed this long before it expires, in milliseconds (or at half its life, whichever is later).
pub const TOKEN_EARLY_MS: u64 = 30_000;
/// While another task asks for the same token, look for it this often, in milliseconds.
pub const TOKEN_LOOK_MS: u64 = 20;
/// Tokens and refused credentials remembered by one instance.
pub const REMEMBERED_MAX: usize = 4_096;
/// After refused credentials nobody tries the same ones for this long, in milliseconds: tasks in hand must not lock the
/// account.
pub const AUTH_REFUSED_REST_MS: u64 = 2_000;
/// A message quoted from a server, in characters.
pub const QUOTE_CHARS_MAX: usize = 200;
/// Header lines of one request that a record may declare.
pub const HEADERS_MAX: usize = 32;
/// A path with its query, in bytes.
pub const PATH_BYTES_MAX: usize = 4_096;

/// A connection that nobody used this long is closed, in milliseconds. Servers close theirs after 15 to 75 s.
pub const CONNECTION_IDLE_MS: u64 = 10_000;
/// How long the server may take to close a connection that we closed, in milliseconds; then it counts as closed.
pub const CLOSE_MAX_MS: u64 = 1_000;
/// Idle connections kept over all targets of an instance: about 40 KB each.
pub const CONNECTIONS_IDLE_MAX: usize = 256;
/// Origins known to one instance; idle ones beyond are forgotten first.
pub const ORIGINS_MAX: usize = 16_384;
/// An origin is forgotten after this long without a task, in milliseconds.
pub const ORIGIN_IDLE_MS: u64 = 900_000;
/// The idle ones are looked for this often, in milliseconds.
pub const REAP_EVERY_MS: u64 = 5_000;
