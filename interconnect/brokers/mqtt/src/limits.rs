//! Every limit of this driver by name, unit and reason.

use std::time::Duration;

/// A key of the directory, in bytes: three times as many when all of it is escaped, far below MQTT's 65,535.
pub const KEY_BYTES_MAX: usize = 512;
/// Keys that one process retains: it keeps them to say them again to a broker that forgot them.
pub const KEYS_MAX: usize = 16_384;
/// Entries of one directory, in number: what a broker full of others' keys can make us keep.
pub const ENTRIES_MAX: usize = 65_536;
/// Parts of the directory. Brokers drop what does not fit into a client's queue (1,000 messages in Mosquitto), silently;
/// parts are asked for one after another, so that each fits.
pub const SHARDS: u8 = 16;
/// One packet from the broker, in bytes: above the greatest bodies (1 MiB) with their names.
pub const PACKET_BYTES_MAX: u32 = 16 << 20;
/// Publishes on their way without an answer, whatever more the broker allows.
pub const WINDOW_MAX: u16 = 1_024;
/// What MQTT 5 means when a broker names no receive maximum.
pub const WINDOW_UNNAMED: u16 = 65_535;
/// Bytes waiting to be written to one connection; who has more to say waits.
pub const OUT_BYTES_MAX: usize = 4 << 20;
/// Requests taken over by a connection at once.
pub const REQUESTS_AT_ONCE: usize = 256;
/// Bytes read from a connection at once.
pub const READ_BYTES: usize = 64 << 10;

/// From the first packet to the broker's answer, TCP and TLS each as well.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// First and greatest wait before another attempt to connect.
pub const AGAIN_FIRST: Duration = Duration::from_millis(100);
pub const AGAIN_MAX: Duration = Duration::from_secs(5);
/// A connection that lasted this long was a good one: the next wait is short again.
pub const GOOD_AFTER: Duration = Duration::from_secs(5);
/// What was said before the end of a connection is written within this.
pub const CLOSE_MAX: Duration = Duration::from_secs(1);
/// The same line in the log, at most once in this time.
pub const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// The times that a test need not wait for.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Pings go this often; the broker hears of us at least as often.
    pub alive_every: Duration,
    /// A broker that is not heard for this long is away: three missed answers.
    pub silence_max: Duration,
    /// From a request to its end: longer than a pause of the broker's disk, shorter than a lease.
    pub call_max: Duration,
    /// Messages that nobody took are tried again this often, should the word that somebody came be lost.
    pub retry_every: Duration,
}

impl Pace {
    pub const USUAL: Pace = Pace {
        alive_every: Duration::from_secs(5),
        silence_max: Duration::from_secs(15),
        call_max: Duration::from_secs(10),
        retry_every: Duration::from_secs(2),
    };
}
