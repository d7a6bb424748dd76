//! Every limit of this worker by name, unit and reason. None may be without one: BMCs are slow, small and sometimes broken.

use std::time::Duration;

/// One HTTP response, in bytes. A Sensors collection with all members expanded is about 0.5 MB.
pub const RESPONSE_BYTES_MAX: usize = 4 << 20;
/// TCP and TLS handshake. BMCs take up to 2 s for an RSA handshake.
pub const CONNECT_MAX: Duration = Duration::from_secs(8);
/// One request and its answer, inside the task's deadline. iDRACs were seen to take 20 s for Thermal.
pub const REQUEST_MAX: Duration = Duration::from_secs(25);
/// Opening a session, independent of the task that asked for it: a login cut short would leak its session.
pub const LOGIN_MAX: Duration = Duration::from_secs(15);
/// Deleting a session when idle or draining; drain as a whole has 5 s.
pub const LOGOUT_MAX: Duration = Duration::from_secs(4);
/// After refused credentials no login is tried this long with the same ones: tasks in hand must not lock the account.
pub const AUTH_REFUSED_REST: Duration = Duration::from_secs(2);
/// When all sessions are taken, no login is tried this long: the tasks in hand would each ask in vain.
pub const SESSIONS_FULL_SHORT_REST: Duration = Duration::from_secs(3);
/// A session that nobody used this long is deleted. BMCs have as few as 4.
pub const SESSION_IDLE: Duration = Duration::from_secs(30);
/// A connection that nobody used this long is closed. BMCs close theirs after 30 to 60 s.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(15);
/// How long a BMC may take to close a connection that we closed; then it counts as closed.
pub const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Idle connections kept over all BMCs of an instance: about 40 KB each.
pub const CONNECTIONS_IDLE_MAX: usize = 256;
/// What is known of a BMC (links, TLS tickets) is forgotten after this long without a task.
pub const BMC_IDLE: Duration = Duration::from_secs(900);
/// BMCs known to one instance; idle ones beyond are forgotten first.
pub const BMCS_MAX: usize = 16_384;
/// The idle ones are looked for this often.
pub const REAP_EVERY: Duration = Duration::from_secs(5);
/// Sessions deleted at once when many are due.
pub const LOGOUTS_AT_ONCE: usize = 64;
/// Sessions that ended in doubt, kept to be deleted later, per BMC.
pub const STALE_SESSIONS_MAX: usize = 4;
/// Redirects followed for one GET, all on the same origin.
pub const REDIRECTS_MAX: u32 = 3;
/// Pages of a collection.
pub const PAGES_MAX: u32 = 64;
/// Members of a collection that are read one by one (sensors, fans, firmware).
pub const MEMBERS_MAX: usize = 64;
/// Chassis and managers of one system that are read.
pub const CHASSIS_MAX: usize = 4;
/// The firmware inventory is read at most this often per BMC: up to 64 requests for what changes once a month.
pub const INVENTORY_KEEP: Duration = Duration::from_secs(3_600);
/// Kept free before the deadline to hand over what was read.
pub const HANDOVER: Duration = Duration::from_millis(400);
/// A part of an observation is not begun with less time than this left: it could only fail.
pub const PART_MIN: Duration = Duration::from_millis(50);
/// First and longest wait between two read-backs.
pub const READ_BACK_FIRST: Duration = Duration::from_millis(150);
pub const READ_BACK_LONGEST: Duration = Duration::from_secs(3);
/// How long an accepted setting (boot, light, limit) may take to show. Power has the whole deadline.
pub const SETTLE_MAX: Duration = Duration::from_secs(20);
/// How long after a lost power cycle the BMC may still be about to do it.
pub const CYCLE_SETTLE: Duration = Duration::from_secs(12);
/// The longest wait between two looks at an asynchronous Redfish Task, whatever its Retry-After says.
pub const MONITOR_WAIT_MAX: Duration = Duration::from_secs(10);
/// Rest of a lane whose target's sessions are all taken: iDRACs free them by time-out only.
pub const SESSIONS_FULL_REST_MS: u64 = 60_000;
/// A message quoted from a BMC, in characters.
pub const QUOTE_CHARS_MAX: usize = 240;
