//! A TCP proxy in the test that can go silent, in both directions or in one, without closing anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
pub struct Silence {
    pub to_server: AtomicBool,
    pub to_client: AtomicBool,
}

pub struct Proxy {
    pub port: u16,
    pub silence: Arc<Silence>,
}

impl Proxy {
    pub async fn open(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silence = Arc::new(Silence::default());
        let these = silence.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, these.clone(), |s| {
                    &s.to_server
                }));
                tokio::spawn(carry(from_server, to_client, these.clone(), |s| {
                    &s.to_client
                }));
            }
        });
        Proxy { port, silence }
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    silence: Arc<Silence>,
    which: fn(&Silence) -> &AtomicBool,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        // What is said in silence is lost, and so is the stream: it says nothing any more, not even its end.
        if which(&silence).load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
