#![allow(dead_code, clippy::unwrap_used)]
//! An end that speaks the protocol by hand, byte for byte as it is defined, and misbehaves.

use ring::hmac;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub struct Raw {
    pub stream: UnixStream,
}

impl Raw {
    pub async fn open(path: &Path) -> Raw {
        let stream = UnixStream::connect(path).await.unwrap();
        Raw { stream }
    }

    pub async fn send(&mut self, frame: &[u8]) {
        let mut bytes = u32::try_from(frame.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend_from_slice(frame);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next frame, or None at the end.
    pub async fn frame(&mut self) -> Option<Vec<u8>> {
        let read = async {
            let bytes = self.stream.read_u32_le().await.ok()?;
            let mut frame = vec![0; bytes as usize];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame)
        };
        tokio::time::timeout(super::LIMIT, read).await.unwrap()
    }

    /// Whether the other end closes within the limit, whatever it says before.
    pub async fn closes(&mut self) -> bool {
        let end = async { while self.frame().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(30), end)
            .await
            .is_ok()
    }

    pub fn hello(min: u16, max: u16, name: &str) -> Vec<u8> {
        let mut hello = b"sengu-link\x01".to_vec();
        hello.extend(min.to_le_bytes());
        hello.extend(max.to_le_bytes());
        hello.extend(7_u64.to_le_bytes());
        hello.extend([5; 32]);
        hello.push(u8::try_from(name.len()).unwrap());
        hello.extend(name.as_bytes());
        hello
    }

    /// Joins as version 1 is defined; None when it is refused.
    pub async fn join(path: &Path, name: &str, token: &str) -> Option<Raw> {
        let mut raw = Raw::open(path).await;
        raw.send(&Raw::hello(1, 1, name)).await;
        let challenge = raw.frame().await.unwrap();
        assert_eq!(&challenge[..13], b"sengu-link\x02\x01\x00");
        let mut said = Vec::new();
        said.extend([1, 0, 1, 0, 1, 0]);
        said.extend(7_u64.to_le_bytes());
        said.extend([5; 32]);
        said.extend(&challenge[13..45]);
        said.extend([0; 32]);
        said.extend(name.as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        let proof = |label: &[u8]| hmac::sign(&key, &[label, &said].concat());
        let ours = proof(b"sengu link join\0");
        raw.send(&[b"sengu-link\x03", ours.as_ref()].concat()).await;
        let answer = raw.frame().await.unwrap();
        if answer[10] == 5 {
            assert_eq!(answer[11], 1, "the token");
            return None;
        }
        let theirs = proof(b"sengu link serve");
        assert_eq!(answer, [b"sengu-link\x04", theirs.as_ref()].concat());
        Some(raw)
    }
}
