//! The join token, and how each end proves to the other that it knows it. It never goes over the wire.

use ring::{hmac, rand, rand::SecureRandom};
use std::{fmt, str::FromStr};

/// Shorter ones could be guessed by whoever saw a proof.
pub const TOKEN_BYTES_MIN: usize = 16;
pub const TOKEN_BYTES_MAX: usize = 512;

/// A secret that all who may use the interconnect share.
#[derive(Clone)]
pub struct JoinToken {
    text: String,
    key: hmac::Key,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("a join token has {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} bytes, this one {bytes}")]
    Length { bytes: usize },
    #[error("a join token is one word of visible ASCII characters")]
    NotVisible,
    #[error("the system gave no random bytes")]
    NoRandom,
}

impl FromStr for JoinToken {
    type Err = TokenError;

    /// White space around it is not part of it: tokens live in files.
    fn from_str(text: &str) -> Result<JoinToken, TokenError> {
        let text = text.trim();
        if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len()) {
            return Err(TokenError::Length { bytes: text.len() });
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::NotVisible);
        }
        Ok(JoinToken {
            text: text.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()),
        })
    }
}

impl JoinToken {
    /// A new one of 256 random bits.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn random() -> Result<JoinToken, TokenError> {
        use fmt::Write;
        let bytes: [u8; 32] = random().ok_or(TokenError::NoRandom)?;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.parse()
    }

    /// The token itself, to be written into a file or shown to the person who asked for it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    pub(crate) fn prove(&self, side: Side, said: &Transcript) -> [u8; 32] {
        let tag = hmac::sign(&self.key, &said.bytes(side));
        let mut proof = [0; 32];
        proof.copy_from_slice(tag.as_ref());
        proof
    }

    /// Compares in constant time.
    pub(crate) fn is_proven(&self, side: Side, said: &Transcript, proof: &[u8]) -> bool {
        hmac::verify(&self.key, &said.bytes(side), proof).is_ok()
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken")
    }
}

/// Whose proof it is, so that one end's cannot be sent back as the other's.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Joining,
    Serving,
}

/// All that the hello said: a proof holds for this one connection alone.
pub(crate) struct Transcript<'a> {
    pub versions: (u16, u16),
    pub version: u16,
    pub incarnation: u64,
    pub joining_nonce: [u8; 32],
    pub serving_nonce: [u8; 32],
    /// Bound to the TLS session, where there is one: a proof cannot be passed on by somebody in between.
    pub channel: [u8; 32],
    pub name: &'a str,
}

impl Transcript<'_> {
    fn bytes(&self, side: Side) -> Vec<u8> {
        let label: &[u8; 16] = match side {
            Side::Joining => b"sengu link join\0",
            Side::Serving => b"sengu link serve",
        };
        // All fields but the last have a fixed length, so no two transcripts are the same bytes.
        [
            label.as_slice(),
            &self.versions.0.to_le_bytes(),
            &self.versions.1.to_le_bytes(),
            &self.version.to_le_bytes(),
            &self.incarnation.to_le_bytes(),
            &self.joining_nonce,
            &self.serving_nonce,
            &self.channel,
            self.name.as_bytes(),
        ]
        .concat()
    }
}

pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rand::SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str) -> Transcript<'_> {
        Transcript {
            versions: (1, 1),
            version: 1,
            incarnation: 7,
            joining_nonce: [1; 32],
            serving_nonce: [2; 32],
            channel: [0; 32],
            name,
        }
    }

    #[test]
    fn a_proof_holds_for_its_side_its_hello_and_its_token_only() {
        let token: JoinToken = "0123456789abcdef\n".parse().unwrap();
        let other: JoinToken = "0123456789abcdeF".parse().unwrap();
        let proof = token.prove(Side::Joining, &said("a"));
        assert!(token.is_proven(Side::Joining, &said("a"), &proof));
        assert!(!token.is_proven(Side::Serving, &said("a"), &proof));
        assert!(!token.is_proven(Side::Joining, &said("b"), &proof));
        assert!(!other.is_proven(Side::Joining, &said("a"), &proof));
        assert!(!token.is_proven(Side::Joining, &said("a"), &proof[..31]));
        let mut later = said("a");
        later.serving_nonce = [3; 32];
        assert!(!token.is_proven(Side::Joining, &later, &proof));
        let mut elsewhere = said("a");
        elsewhere.channel = [9; 32];
        assert!(!token.is_proven(Side::Joining, &elsewhere, &proof));
    }

    #[test]
    fn tokens_are_long_words_and_are_never_printed() {
        assert_eq!(
            "short".parse::<JoinToken>().unwrap_err(),
            TokenError::Length { bytes: 5 }
        );
        assert_eq!(
            "two words of a token".parse::<JoinToken>().unwrap_err(),
            TokenError::NotVisible
        );
        let token = JoinToken::random().unwrap();
        assert_eq!(token.reveal().len(), 64);
        assert!(!format!("{token:?}").contains(token.reveal()));
        assert_ne!(token.reveal(), JoinToken::random().unwrap().reveal());
    }
}
