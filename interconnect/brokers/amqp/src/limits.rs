//! Every limit of this driver by name, unit and reason.

use std::time::Duration;

/// Quorum queues keep a delivery limit, and hand what is beyond it to the parked queue at least once, from here on.
pub const VERSION_MIN: (u32, u32) = (3, 10);

/// From the first byte to the end of signing in, of each of the two connections.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The server says something this often, and is taken for gone after twice that: a cut that nobody tells of is noticed
/// within 10 s.
pub const HEARTBEAT_S: u16 = 5;
/// The kernel gives up on bytes that nobody acknowledges after this, as after two missed heartbeats.
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
/// One question to the server (declare, consume, cancel). A quorum queue that has just lost its leader chooses another.
pub const REPLY_MAX: Duration = Duration::from_secs(10);
/// Nothing of a batch was confirmed for this long, or the server takes nothing: the broker is away. Whoever publishes
/// must know soon.
pub const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(5);
/// First and greatest wait before another attempt to connect.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(100);
pub const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// A connection that lasted this long was a good one: the next wait is short again.
pub const GOOD_AFTER: Duration = Duration::from_secs(5);
/// A queue that was just made is not relied on before this, at servers older than `KEEPS_AT_ONCE`: those write down that
/// there is a quorum queue only 0.5 to 1 s later, and after 3 s where many are made. When one is killed before that, it
/// finds nothing of what it confirmed, and the queue has no leader until somebody deletes it.
pub const KEPT_AFTER: Duration = Duration::from_secs(4);
/// From here on the server writes it down before it says that the queue is there (Ra's change 443 of May 2024).
pub const KEEPS_AT_ONCE: (u32, u32) = (4, 0);
/// Lines in the log that say the same, at most one in this time.
pub const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Batches that are published at once, each on a channel of its own; others wait their turn.
pub const BATCHES_MAX: usize = 8;
/// Messages and bytes of one batch that wait for their confirm: enough to keep a quorum queue busy for a flush or two.
pub const IN_FLIGHT_MAX: usize = 1_024;
pub const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// One body, in bytes. The greatest (a task's result, a part of a blob) are about 1 MiB.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// A batch whose queue was taken away meanwhile is published again this often.
pub const HEALS_MAX: usize = 3;
/// Name of a queue with its prefix, and of a vhost, in bytes: the protocol has one byte for the length.
pub const NAME_BYTES_MAX: usize = 255;

/// Messages in one queue, as in the embedded broker.
pub const DEPTH_MAX: usize = 131_072;
/// A queue of tasks or commands that nobody consumes from for this long is taken away: it belongs to a version or a WEE
/// that is gone. The truth is in sengu's store, and what was in it is sent again.
pub const QUEUE_UNUSED_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A message that was delivered this often and never acked is parked: it may be what kills whoever takes it. Generous,
/// since restarts of its subscribers count as well.
pub const DELIVERIES_MAX: u32 = 20;

/// Messages that the server may have out at one subscription, whatever its credit: RabbitMQ's own bound for those that
/// set none.
pub const PREFETCH_MAX: u16 = 2_000;
/// Credit went down and acks cannot make up for it: a new consumer takes the place of the old one after this. Credit
/// often goes up again at once.
pub const SHRINK_AFTER: Duration = Duration::from_millis(50);
/// Credit went up and the server still has some: a new consumer after this.
pub const GROW_AFTER: Duration = Duration::from_millis(100);
/// Acks are held back at most this long to make up for less credit. What is not told when the process dies is
/// delivered again.
pub const HOLD_MAX: Duration = Duration::from_secs(1);
/// What is said on dropping a subscription is sent within this, or its connection is given up.
pub const CLOSE_MAX: Duration = Duration::from_secs(10);
