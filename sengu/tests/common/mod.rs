//! A server that answers from a script, so that the command line can be tried against any answer.
#![allow(clippy::unwrap_used)] // helpers of tests, which clippy does not see as tests
#![allow(dead_code)] // each test takes what it needs

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// The start of a request line, the status and the body that answer it. Of several with the same start each answers
/// once, in order, and the last one from then on.
pub type Script = &'static [(&'static str, u16, &'static str)];

/// Answers every request by the first start in the script that fits; notes what came.
pub struct Server {
    pub url: String,
    notes: Arc<Notes>,
}

#[derive(Default)]
struct Notes {
    seen: Mutex<Vec<String>>,
    answered: Mutex<HashMap<&'static str, usize>>,
}

impl Server {
    pub fn start(script: Script) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let notes = Arc::new(Notes::default());
        let server = Server {
            url,
            notes: notes.clone(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notes = notes.clone();
                std::thread::spawn(move || while answer(&stream, script, &notes).is_some() {});
            }
        });
        server
    }

    /// Where nobody listens.
    pub fn absent() -> Server {
        Server {
            url: "http://127.0.0.1:1".to_owned(),
            notes: Arc::default(),
        }
    }

    pub fn sengu(&self, arguments: &[&str]) -> Output {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "secret-token\n").unwrap();
        Command::new(env!("CARGO_BIN_EXE_sengu"))
            .args(arguments)
            .env_clear()
            .env("SENGU_SERVER", &self.url)
            .env("SENGU_DATA", dir.path())
            .output()
            .unwrap()
    }

    /// Requests so far: head, empty line, body.
    pub fn seen(&self) -> Vec<String> {
        self.notes.seen.lock().unwrap().clone()
    }

    /// Bodies of the requests that begin like this.
    pub fn bodies(&self, start: &str) -> Vec<String> {
        let seen = self.seen().into_iter();
        seen.filter(|r| r.starts_with(start))
            .filter_map(|r| Some(r.split_once("\n\n")?.1.to_owned()))
            .collect()
    }
}

fn answer(mut stream: &TcpStream, script: Script, notes: &Notes) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        chunked |= lower.starts_with("transfer-encoding: chunked");
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    while chunked {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut part = vec![0; length + 2];
        reader.read_exact(&mut part).ok()?;
        body.extend_from_slice(&part[..length]);
        chunked = length > 0;
    }
    let body = String::from_utf8_lossy(&body);
    notes.seen.lock().unwrap().push(format!("{head}\n{body}"));
    let (status, text) = next(script, &head, notes);
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    stream.write_all(format!("{head}{text}").as_bytes()).ok()
}

fn next(script: Script, head: &str, notes: &Notes) -> (u16, &'static str) {
    let found = script.iter().find(|(start, ..)| head.starts_with(start));
    let Some((start, ..)) = found else {
        return (404, "no such entry in the script");
    };
    let mut answered = notes.answered.lock().unwrap();
    let count = answered.entry(start).or_default();
    let alike: Vec<_> = script.iter().filter(|(other, ..)| other == start).collect();
    let (_, status, text) = alike[(*count).min(alike.len() - 1)];
    *count += 1;
    (*status, text)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
