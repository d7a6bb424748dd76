//! A small HTTP/1.1 client: one connection per request, as strict as the tests need it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const ANSWER_MAX: Duration = Duration::from_secs(90);
/// How long a role may say that it is not the active one while it is.
const AGAIN_MAX: Duration = Duration::from_secs(20);

/// The API of one instance, with its token.
#[derive(Debug, Clone)]
pub struct Api {
    /// `127.0.0.1:port`
    pub address: String,
    pub token: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, v)| v)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    /// When it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }

    /// The JSON of an answer with that status.
    ///
    /// # Panics
    /// When the status is another.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }
}

impl Api {
    /// # Panics
    /// When there is no such thing.
    pub fn get(&self, path: &str) -> Value {
        let end = Instant::now() + AGAIN_MAX;
        loop {
            let reply = self.call("GET", path, &[], b"");
            // For a moment it could not be sure to be the active one: its store was slow.
            let passes = reply.status == 503 && reply.text().contains("\"standby\"");
            if !passes || Instant::now() > end {
                return reply.expect(200);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        let json = [("content-type", "application/json")];
        self.call("POST", path, &json, body.to_string().as_bytes())
    }

    pub fn yaml(&self, text: &str) -> Reply {
        let yaml = [("content-type", "application/yaml")];
        self.call("POST", "/v1/apply", &yaml, text.as_bytes())
    }

    /// # Panics
    /// When there is no answer.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_call(method, path, headers, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// # Errors
    /// When the connection does not last for the answer.
    pub fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let (mut reader, status, headers) = self.begin(method, path, headers, body)?;
        let mut reply = Reply {
            status,
            headers,
            body: Vec::new(),
        };
        if reply.header("transfer-encoding") == "chunked" {
            while let Some(mut chunk) = chunk(&mut reader)? {
                reply.body.append(&mut chunk);
            }
        } else if let Ok(length) = reply.header("content-length").parse::<usize>() {
            reply.body = vec![0; length];
            reader.read_exact(&mut reply.body)?;
        }
        Ok(reply)
    }

    /// Opens a stream of server-sent events.
    ///
    /// # Panics
    /// When it is refused.
    pub fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let (reader, status, headers) = self
            .begin("GET", path, headers, b"")
            .unwrap_or_else(|e| panic!("GET {path}: {e}"));
        assert_eq!(status, 200, "GET {path}");
        let kind = headers.iter().find(|(n, _)| n == "content-type");
        assert!(
            kind.is_some_and(|(_, v)| v.starts_with("text/event-stream")),
            "{headers:?}"
        );
        Events {
            reader,
            text: String::new(),
        }
    }

    #[allow(clippy::type_complexity)] // one caller below each of the two forms
    fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<(BufReader<TcpStream>, u16, Vec<(String, String)>)> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        if let Some(token) = &self.token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(head.as_bytes())?;
        stream.write_all(b"\r\n")?;
        // A body that is too large is refused before it is read; the answer counts, not the write.
        let written = stream.write_all(body);
        let mut reader = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                written?;
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status = lines[0].split(' ').nth(1).and_then(|s| s.parse().ok());
        let headers = lines[1..].iter().filter_map(|l| {
            let (name, value) = l.split_once(':')?;
            Some((name.to_lowercase(), value.trim().to_owned()))
        });
        Ok((reader, status.unwrap_or(0), headers.collect()))
    }
}

fn chunk(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let length = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok((length > 0).then_some(bytes))
}

/// Server-sent events as they come.
pub struct Events {
    reader: BufReader<TcpStream>,
    text: String,
}

#[derive(Debug, Clone)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: Value,
}

impl Events {
    /// The next event, or none within `wait` or when the stream ended.
    pub fn next(&mut self, wait: Duration) -> Option<Event> {
        let end = Instant::now() + wait;
        loop {
            while let Some(at) = self.text.find("\n\n") {
                let block: String = self.text.drain(..at + 2).collect();
                if let Some(event) = event(&block) {
                    return Some(event);
                }
            }
            let left = end.checked_duration_since(Instant::now())?;
            let left = left.max(Duration::from_millis(1));
            self.reader.get_ref().set_read_timeout(Some(left)).ok()?;
            // Wait for the first byte only: a chunk that has begun is read whole.
            match self.reader.fill_buf() {
                Ok([]) | Err(_) => return None,
                Ok(_) => {}
            }
            self.reader
                .get_ref()
                .set_read_timeout(Some(ANSWER_MAX))
                .ok()?;
            let chunk = chunk(&mut self.reader).ok()??;
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

/// None for comments, which keep the connection alive.
fn event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|l| l.strip_prefix(name));
        lines
            .map(|v| v.strip_prefix(' ').unwrap_or(v))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let data = field("data:");
    let name = field("event:");
    (!name.is_empty()).then(|| Event {
        name,
        id: field("id:"),
        data: serde_json::from_str(&data).unwrap_or(Value::String(data)),
    })
}
