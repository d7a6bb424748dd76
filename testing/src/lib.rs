//! What the tests of several crates share.
#![allow(clippy::unwrap_used)] // a broken set-up ends the test

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

/// Below the ports that Linux gives to those who ask for any, whether they listen or connect (32768 and up, unless a machine is set otherwise).
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port of this machine, TCP and UDP, for a server that is told its port, kept for this process until it ends.
///
/// A port that was got by `bind(0)` and let go would be given to the next who asks for any, and there are dozens a second
/// while a server needs half a minute to come up. This one is given to nobody: by the system since it lies below what
/// it gives, and by this function since it is locked.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static KEPT: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let user = fs::metadata("/proc/self").unwrap().uid();
    let folder = std::env::temp_dir().join(format!("sengu-ports-{user}"));
    fs::create_dir_all(&folder).unwrap();
    let count = u64::from(PORTS.end - PORTS.start);
    let first = RandomState::new().hash_one(std::process::id());
    let mut ports = (0..count).map(|n| PORTS.start + (first.wrapping_add(n) % count) as u16);
    let (port, lock) = ports
        .find_map(|port| Some((port, lock(folder.join(port.to_string()), port)?)))
        .expect("a free port");
    KEPT.lock().unwrap().push(lock);
    port
}

fn lock(path: PathBuf, port: u16) -> Option<File> {
    let file = File::create(path).unwrap();
    file.try_lock().ok()?;
    let address = ("127.0.0.1", port);
    let free = TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
    free.then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_port_is_given_once() {
        let ports: HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }
}
