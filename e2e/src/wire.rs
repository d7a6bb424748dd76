//! A network between two processes that can be slow, one-way, or away: a TCP proxy on loopback.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a way that carries nothing is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Pieces on their way in one direction of one connection.
const UNDER_WAY_MAX: usize = 4_096;

/// One direction.
#[derive(Default)]
struct Way {
    silent: AtomicBool,
    delay_ms: AtomicU64,
}

#[derive(Default)]
struct Ways {
    to_server: Way,
    to_client: Way,
    refuses: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is.
    Whole,
    /// What the client says does not arrive; it arrives late if the connection lives until the fault is over, as TCP
    /// has it.
    Mute,
    /// The same for what the server says.
    Deaf,
    /// Both.
    Silent,
    /// Each way takes this long.
    Slow(Duration),
    /// All connections are reset and none is made.
    Away,
}

pub struct Wire {
    pub port: u16,
    ways: Arc<Ways>,
}

impl Wire {
    /// One to a server on a port of this machine.
    pub fn to(server: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ways = Arc::new(Ways::default());
        let these = ways.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if these.refuses.load(Ordering::SeqCst) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)) {
                    let _ = server.set_nodelay(true);
                    let _ = client.set_nodelay(true);
                    connect(&these, client, server);
                }
            }
        });
        Wire { port, ways }
    }

    pub fn set(&self, fault: Fault) {
        let (mute, deaf) = (
            matches!(fault, Fault::Mute | Fault::Silent),
            matches!(fault, Fault::Deaf | Fault::Silent),
        );
        let delay = match fault {
            Fault::Slow(delay) => delay.as_millis() as u64,
            _ => 0,
        };
        for (way, silent) in [(&self.ways.to_server, mute), (&self.ways.to_client, deaf)] {
            way.silent.store(silent, Ordering::SeqCst);
            way.delay_ms.store(delay, Ordering::SeqCst);
        }
        let away = fault == Fault::Away;
        self.ways.refuses.store(away, Ordering::SeqCst);
        if away {
            for stream in self.ways.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// One fault for so long.
    pub fn suffers(&self, fault: Fault, time: Duration) {
        println!("{fault:?} for {time:?}");
        self.set(fault);
        std::thread::sleep(time);
        self.set(Fault::Whole);
    }
}

fn connect(ways: &Arc<Ways>, client: TcpStream, server: TcpStream) {
    let twice = |stream: &TcpStream| stream.try_clone().unwrap();
    let pairs = [
        (twice(&client), twice(&server), true),
        (twice(&server), twice(&client), false),
    ];
    for (from, to, to_server) in pairs {
        let (sender, pieces) = sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY_MAX);
        std::thread::spawn(move || read(from, &sender));
        let ways = ways.clone();
        std::thread::spawn(move || {
            let mut to = to;
            let way = match to_server {
                true => &ways.to_server,
                false => &ways.to_client,
            };
            for (at, piece) in pieces {
                loop {
                    let delay = Duration::from_millis(way.delay_ms.load(Ordering::SeqCst));
                    let left = (at + delay).saturating_duration_since(Instant::now());
                    match way.silent.load(Ordering::SeqCst) {
                        true => std::thread::sleep(LOOK),
                        false if left.is_zero() => break,
                        false => std::thread::sleep(left.min(LOOK)),
                    }
                }
                if to.write_all(&piece).is_err() {
                    break;
                }
            }
            // Whoever speaks into it is to hear that nobody is there.
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    ways.open.lock().unwrap().extend([client, server]);
}

fn read(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if sender
            .send((Instant::now(), bytes[..count].to_vec()))
            .is_err()
        {
            return;
        }
    }
}
