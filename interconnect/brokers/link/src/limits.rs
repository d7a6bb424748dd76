//! Every limit of the link by name, unit and reason. They are part of the protocol: both ends keep them.

use std::time::Duration;

/// Versions of the protocol spoken here: the newest, and the one before it where there is one.
pub const VERSION_MAX: u16 = 1;
pub const VERSION_MIN: u16 = 1;

/// One frame, in bytes. The greatest bodies (a task's result) are 1 MiB.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// One body or retained value, in bytes: a frame holds one with its names.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - (64 << 10);
/// A frame is closed beyond this, so that others' frames need not wait long behind it.
pub const FRAME_BYTES_USUAL: usize = 256 << 10;
/// One batch, in bytes: what the serving end keeps of a batch until its last frame is there.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// Bytes waiting to be written to one connection; who has more to say waits.
pub const OUTBOUND_BYTES_MAX: usize = 1 << 20;
/// Frames of the hello, in bytes: a stranger makes nobody keep more.
pub const HELLO_BYTES_MAX: usize = 1_024;
/// Name of whoever joins, a queue, and a key or prefix of the directory, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
pub const QUEUE_BYTES_MAX: usize = 512;
pub const KEY_BYTES_MAX: usize = 512;

/// Connections served at once: WEEs of one interconnect, with room for those that reconnect.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Subscriptions of one connection: two per worker kind.
pub const SUBSCRIPTIONS_MAX: usize = 8_192;
pub const DIRECTORIES_MAX: usize = 64;
/// Keys retained by one connection.
pub const KEYS_MAX: usize = 256;
/// Requests of one connection that are not answered yet.
pub const REQUESTS_MAX: usize = 1_024;
/// Entries of one directory that are on their way, in bytes.
pub const ENTRIES_BYTES_MAX: usize = 256 << 20;
/// Deliveries taken from the broker at once.
pub const RECEIVE_MAX: usize = 512;

/// From the connection to the end of the hello.
pub const HELLO_MAX: Duration = Duration::from_secs(5);
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// First and greatest wait before another attempt to join.
pub const REJOIN_FIRST: Duration = Duration::from_millis(100);
pub const REJOIN_MAX: Duration = Duration::from_secs(5);
/// The broker behind the serving end takes this long at most for one request.
pub const BROKER_MAX: Duration = Duration::from_secs(10);
/// From a request to its answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);
/// What was said before the end of a connection is written, and what was heard is settled, within this.
pub const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Lines in the log about strangers, at most one in this time.
pub const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// The times that both ends keep. They are one value so that a test need not wait for the usual ones.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Somebody who has nothing to say says so this often.
    pub alive_every: Duration,
    /// Whoever is not heard for this long is dead: three missed signs of life. Likewise one who reads nothing.
    pub silence_max: Duration,
    /// What a connection retained is withdrawn when it has been gone this long.
    pub retained_grace: Duration,
    /// A call waits this long for the connection to come back.
    pub away_wait: Duration,
}

impl Pace {
    pub const USUAL: Pace = Pace {
        alive_every: Duration::from_secs(5),
        silence_max: Duration::from_secs(15),
        retained_grace: Duration::from_secs(10),
        away_wait: Duration::from_secs(3),
    };
}
