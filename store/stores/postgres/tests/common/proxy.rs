//! A connection between store and server that can be cut in the middle of a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The simple query that ends a transaction.
const COMMIT: &[u8] = b"COMMIT\0";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    /// The commit does not arrive, and both sides see the end.
    Before,
    /// The commit does not arrive, and the server does not see the end.
    Silently,
    /// The commit arrives; its answer does not.
    After,
}

pub struct Proxy {
    pub port: u16,
    /// Every so many commits one is cut; 0 for none.
    pub every: Arc<AtomicU32>,
    pub cuts: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn start(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (every, cuts) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
        let proxy = Proxy {
            port,
            every: every.clone(),
            cuts: cuts.clone(),
        };
        let seen = Arc::new(AtomicU32::new(0));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await;
                let Ok(server) = server else { continue };
                let (every, cuts, seen) = (every.clone(), cuts.clone(), seen.clone());
                tokio::spawn(carry(client, server, every, cuts, seen));
            }
        });
        proxy
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    every: Arc<AtomicU32>,
    cuts: Arc<AtomicU64>,
    seen: Arc<AtomicU32>,
) {
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let mut back = tokio::spawn(answers(from_server, to_client));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            read = from_client.read(&mut buffer) => read,
            _ = &mut back => return,
        };
        let Ok(bytes @ 1..) = read else { break };
        let every = every.load(Ordering::Relaxed);
        let commits = buffer[..bytes].windows(COMMIT.len()).any(|w| w == COMMIT);
        if commits && every > 0 {
            let number = seen.fetch_add(1, Ordering::Relaxed);
            if number % every == every - 1 {
                let cut = [Cut::Before, Cut::After, Cut::Silently][(number / every % 3) as usize];
                cuts.fetch_add(1, Ordering::Relaxed);
                back.abort();
                // The way back is gone before the server can answer.
                let halves = back.await;
                assert!(halves.is_err(), "it never ends by itself here");
                if cut == Cut::After {
                    let _ = to_server.write_all(&buffer[..bytes]).await;
                }
                drop(from_client);
                if cut != Cut::Before {
                    // Longer than the server waits.
                    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
                }
                return;
            }
        }
        if to_server.write_all(&buffer[..bytes]).await.is_err() {
            break;
        }
    }
    back.abort();
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}
