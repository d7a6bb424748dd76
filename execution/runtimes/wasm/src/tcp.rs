//! TCP for guests: to the address of the task's target, and to nothing else.

use crate::guest::tcp_types::{Code, Failure};
use crate::{address, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

pub struct Connection(TcpStream);

impl Connection {
    pub async fn open(target: &str, until: Instant) -> Result<Connection, Failure> {
        let place = address::parse(target).map_err(|e| failure(Code::Refused, e))?;
        let Some(port) = place.port_or_default() else {
            let message = format!("the target's address {target:?} names no port");
            return Err(failure(Code::Refused, message));
        };
        let connected = TcpStream::connect((place.host.as_str(), port));
        match timeout_at(until, connected).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                Ok(Connection(stream))
            }
            Ok(Err(e)) => Err(failure(Code::Unreachable, format!("{target}: {e}"))),
            Err(_) => {
                let message = format!("{target}: no connection in time");
                Err(failure(Code::Unreachable, message))
            }
        }
    }

    pub async fn read(&mut self, bytes_max: u32, until: Instant) -> Result<Vec<u8>, Failure> {
        let most = bytes_max.clamp(1, limits::TCP_READ_BYTES_MAX) as usize;
        let mut bytes = Vec::with_capacity(most.min(16 << 10));
        let read = (&mut self.0).take(most as u64);
        tokio::pin!(read);
        match timeout_at(until, read.read_buf(&mut bytes)).await {
            Ok(Ok(_)) => Ok(bytes),
            Ok(Err(e)) => Err(failure(Code::Closed, e.to_string())),
            Err(_) => Err(failure(Code::Timeout, "nothing came in time".to_owned())),
        }
    }

    pub async fn write(&mut self, bytes: &[u8], until: Instant) -> Result<(), Failure> {
        match timeout_at(until, self.0.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(failure(Code::Closed, e.to_string())),
            Err(_) => Err(failure(
                Code::Timeout,
                "it was not taken in time".to_owned(),
            )),
        }
    }
}

pub fn too_many() -> Failure {
    let message = format!(
        "a task may hold {} connections open",
        limits::TCP_CONNECTIONS_MAX
    );
    failure(Code::Refused, message)
}

fn failure(code: Code, message: String) -> Failure {
    Failure { code, message }
}
