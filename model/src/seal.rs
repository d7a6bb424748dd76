//! Sealed secrets: readable only with the system's key, at rest and on the interconnect.
//!
//! Form: `sealed:1:` and base64 of nonce (24 bytes) and XChaCha20-Poly1305 ciphertext. The name of the secret and
//! its key are bound in, so that a sealed value cannot be moved to another place.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

const PREFIX: &str = "sealed:1:";
pub const KEY_BYTES: usize = 32;
pub const NONCE_BYTES: usize = 24;

/// The system's key. Has no Display and no Debug content.
#[derive(Clone)]
pub struct SealKey(pub [u8; KEY_BYTES]);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("not a sealed value")]
    Form,
    #[error("sealed with another key, for another place, or altered")]
    Open,
}

pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Seals `value` for `place` (`<secret name>/<key>`). `nonce` must never be used twice: draw it from the system.
pub fn seal(key: &SealKey, nonce: [u8; NONCE_BYTES], place: &str, value: &str) -> String {
    let cipher = XChaCha20Poly1305::new((&key.0).into());
    let payload = Payload {
        msg: value.as_bytes(),
        aad: place.as_bytes(),
    };
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .expect("values are far below the cipher's limit of 256 GiB");
    let mut bytes = nonce.to_vec();
    bytes.extend_from_slice(&sealed);
    format!("{PREFIX}{}", BASE64.encode(bytes))
}

/// Opens what `seal` made for the same place.
///
/// # Errors
/// `Form` when it is no sealed value, `Open` when key, place or bytes differ.
pub fn open(key: &SealKey, place: &str, sealed: &str) -> Result<String, SealError> {
    let text = sealed.strip_prefix(PREFIX).ok_or(SealError::Form)?;
    let bytes = BASE64.decode(text).map_err(|_| SealError::Form)?;
    let (nonce, body) = bytes.split_at_checked(NONCE_BYTES).ok_or(SealError::Form)?;
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| SealError::Form)?;
    let cipher = XChaCha20Poly1305::new((&key.0).into());
    let plain = cipher
        .decrypt(
            &XNonce::from(nonce),
            Payload {
                msg: body,
                aad: place.as_bytes(),
            },
        )
        .map_err(|_| SealError::Open)?;
    String::from_utf8(plain).map_err(|_| SealError::Open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_key_at_the_place() {
        let key = SealKey([7; 32]);
        let sealed = seal(&key, [1; 24], "bmc/password", "hunter2");
        assert!(is_sealed(&sealed) && !sealed.contains("hunter2"));
        assert_eq!(open(&key, "bmc/password", &sealed).unwrap(), "hunter2");
        assert_eq!(open(&key, "other/password", &sealed), Err(SealError::Open));
        assert_eq!(
            open(&SealKey([8; 32]), "bmc/password", &sealed),
            Err(SealError::Open)
        );
        assert_eq!(open(&key, "bmc/password", "hunter2"), Err(SealError::Form));
    }
}
