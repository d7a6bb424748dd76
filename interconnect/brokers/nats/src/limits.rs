//! Every limit of this driver by name, unit and reason.

use std::time::Duration;

/// The version of JetStream that everything here exists in.
pub const VERSION_MIN: (u32, u32) = (2, 9);

/// From the connection's first byte to the end of signing in.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// One question to JetStream's API. It is also the wait for a server that has just become a leader.
pub const API_MAX: Duration = Duration::from_secs(5);
/// Consumers that one process has made at once. Each costs the server some milliseconds of its disk; more would wait
/// there, and be late.
pub const MAKING_MAX: usize = 16;
/// From a publish to its confirm. Whoever publishes must know soon that the broker is away.
pub const CONFIRM_MAX: Duration = Duration::from_secs(5);
/// First and greatest wait before another attempt to connect.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(100);
pub const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// A connection that lasted this long was a good one: the next wait is short again.
pub const GOOD_AFTER: Duration = Duration::from_secs(5);
/// Lines in the log that say the same, at most one in this time.
pub const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// A server that says nothing is asked this often; after two questions without an answer it is away.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// While the server has no room left, it is asked this often whether it takes something again.
pub const BLOCKED_PROBE_EVERY: Duration = Duration::from_secs(5);

/// Messages that wait for their confirm: of one call, and of all calls together. Enough to keep the server busy for
/// some milliseconds; more would only lie in buffers.
pub const CALL_IN_FLIGHT_MAX: usize = 1_024;
pub const IN_FLIGHT_MAX: usize = 8_192;
/// Bytes of one call that wait for their confirm.
pub const CALL_BYTES_IN_FLIGHT_MAX: usize = 16 << 20;

/// Messages in one queue, as in the embedded broker.
pub const DEPTH_MAX: usize = 131_072;
/// A message nobody took for this long is dropped. The truth is in sengu's store, and its leases send again what is
/// lost; what is a day old is of no use to anybody.
pub const MESSAGE_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// What nobody acks nor says to be at work on for this long is delivered again: its subscriber was killed.
pub const ACK_WAIT: Duration = Duration::from_secs(30);
/// What is out is said to be in work this often: three times per `ACK_WAIT`.
pub const BEAT_EVERY: Duration = Duration::from_secs(10);
/// A queue that nobody has asked for messages for this long loses its consumer (not its messages).
pub const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(3_600);
/// Pull requests that wait at one queue: two of each of some thousand WEEs.
pub const PULLS_WAITING_MAX: u32 = 8_192;
/// A message that was delivered this often and never acked is put aside: it may be what kills whoever takes it.
/// Generous, since restarts of its subscribers count as well.
pub const DELIVERIES_MAX: u64 = 20;
/// The same message put aside twice within this counts once.
pub const DUPLICATES_FOR: Duration = Duration::from_secs(120);

/// Messages asked for by one pull, and about those of a subscription that are asked for at all: what is asked for is
/// taken back only at that cost. More than what one round trip brings is of no use.
pub const PULL_MAX: usize = 512;
/// Pulls of one subscription that wait at once.
pub const PULLS_MAX: usize = 4;
/// A pull is renewed after this; until then the server says every `PULL_BEAT` that it has not forgotten it.
pub const PULL_FOR: Duration = Duration::from_secs(300);
pub const PULL_BEAT: Duration = Duration::from_secs(30);
/// A pull that was not heard of for this long was forgotten: two beats and a half.
pub const PULL_SILENCE_MAX: Duration = Duration::from_secs(75);
/// Wait before another pull after one was refused.
pub const PULL_RETRY: Duration = Duration::from_secs(1);
/// Whatever is on its way to a subscription that is closed is given back within this.
pub const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Acks of subscriptions whose connection is gone, kept for the next one. Those beyond come again after `ACK_WAIT`.
pub const LATER_MAX: usize = 65_536;

/// The server says this often that it has not forgotten who follows the directory.
pub const DIRECTORY_BEAT: Duration = Duration::from_secs(15);
pub const DIRECTORY_SILENCE_MAX: Duration = Duration::from_secs(40);
/// Somebody who follows the directory and is gone is forgotten after this.
pub const DIRECTORY_IDLE_MAX: Duration = Duration::from_secs(60);
/// The mark that a key was taken away stays this long, for those that were away; then it goes as well.
pub const MARK_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Marks that one listing takes away: it must not take long.
pub const MARKS_MAX: usize = 64;
