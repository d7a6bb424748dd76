//! One keep-alive connection to the API: as little client as possible, so that the load generator costs little.
//! It knows only what the server sends: a length or chunks, never a redirect or a stream of events.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest silence of the server; the longest `wait` asked for is far below.
const SILENCE_MAX: Duration = Duration::from_secs(120);
const BODY_BYTES_MAX: usize = 256 << 20;
const HEAD_LINES_MAX: usize = 64;

pub struct Client {
    reader: BufReader<TcpStream>,
    head: String,
    body: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr, token: &str) -> Result<Client> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(Client {
            reader: BufReader::with_capacity(64 << 10, stream),
            head: format!("host: {address}\r\nauthorization: Bearer {token}\r\n"),
            body: Vec::new(),
        })
    }

    pub fn get(&mut self, path: &str) -> Result<Value> {
        let body = self.call("GET", path, "", b"")?;
        serde_json::from_slice(body).with_context(|| format!("read the answer to GET {path}"))
    }

    pub fn get_text(&mut self, path: &str) -> Result<String> {
        let body = self.call("GET", path, "", b"")?;
        Ok(String::from_utf8_lossy(body).into_owned())
    }

    /// Posts JSON and gives back the answer unread.
    pub fn post(&mut self, path: &str, json: &[u8]) -> Result<&[u8]> {
        self.call("POST", path, "application/json", json)
    }

    pub fn post_json(&mut self, path: &str, json: &Value) -> Result<Value> {
        let body = self.post(path, json.to_string().as_bytes())?;
        serde_json::from_slice(body).with_context(|| format!("read the answer to POST {path}"))
    }

    /// # Errors
    /// When the connection breaks or the answer is not of class 2xx; the answer is in the error.
    pub fn call(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<&[u8]> {
        let length = body.len();
        let mut out = format!("{method} {path} HTTP/1.1\r\n{}", self.head).into_bytes();
        if !kind.is_empty() {
            write!(out, "content-type: {kind}\r\ncontent-length: {length}\r\n")?;
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        let what = || format!("{method} {path}");
        self.reader.get_mut().write_all(&out).with_context(what)?;
        let status = self.answer().with_context(what)?;
        if !(200..300).contains(&status) {
            let clip = &self.body[..self.body.len().min(1_000)];
            bail!(
                "{method} {path}: {status} {}",
                String::from_utf8_lossy(clip)
            );
        }
        Ok(&self.body)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = (&mut self.reader).take(16 << 10).read_line(&mut line)?;
        ensure!(read > 0, "the server closed the connection");
        Ok(line.trim_end().to_owned())
    }

    fn answer(&mut self) -> Result<u16> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status: u16 = status.with_context(|| format!("not HTTP: {first:?}"))?;
        let (mut length, mut chunked) = (0, false);
        for _ in 0..HEAD_LINES_MAX {
            let line = self.line()?;
            if line.is_empty() {
                self.body.clear();
                if chunked {
                    self.chunks()?;
                } else {
                    self.more(length)?;
                }
                return Ok(status);
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("content-length")?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.trim().eq_ignore_ascii_case("chunked");
            }
        }
        bail!("more than {HEAD_LINES_MAX} header lines")
    }

    fn chunks(&mut self) -> Result<()> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default();
            let size =
                usize::from_str_radix(size, 16).with_context(|| format!("chunk {line:?}"))?;
            self.more(size)?;
            ensure!(self.line()?.is_empty(), "a chunk ends with an empty line");
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn more(&mut self, length: usize) -> Result<()> {
        let start = self.body.len();
        ensure!(
            start + length <= BODY_BYTES_MAX,
            "answer above {BODY_BYTES_MAX} bytes"
        );
        self.body.resize(start + length, 0);
        self.reader.read_exact(&mut self.body[start..])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn lengths_chunks_and_refusals_are_read_on_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for answer in [
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n",
                "HTTP/1.1 409 Conflict\r\ncontent-length: 3\r\n\r\nbad",
            ] {
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut client = Client::connect(address, "t").unwrap();
        assert_eq!(client.get("/a").unwrap(), serde_json::json!({}));
        assert_eq!(client.get("/b").unwrap(), serde_json::json!([1, 2]));
        let refused = client.get("/c").unwrap_err().to_string();
        assert_eq!(refused, "GET /c: 409 bad");
        assert!(client.get("/d").is_err());
        served.join().unwrap();
    }
}
