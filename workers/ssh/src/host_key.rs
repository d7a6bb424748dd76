//! Who a host must be: pins from `identity.hostKey`, and what to do without one.
//!
//! A decision about values: what was pinned, what was seen. It must never let a host through that it could not tell.

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey};
use std::borrow::Cow;

/// At most this many pins per target: old and new key while keys are changed, one per algorithm.
const PINS_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub enum Pin {
    /// `SHA256:<base64 without padding>`, as ssh-keygen prints it.
    Fingerprint(String),
    Key(Box<PublicKey>),
    /// `@cert-authority <public key line>`, as in known_hosts: hosts that show a certificate of this authority.
    Authority(Box<PublicKey>),
}

/// Reads `identity.hostKey`: fingerprints, public key lines or certificate authorities, separated by commas or newlines.
///
/// # Errors
/// In words, when a part is neither.
pub fn parse_pins(text: &str) -> Result<Vec<Pin>, String> {
    let parts = text.split([',', '\n']).map(str::trim);
    let pins = parts
        .filter(|part| !part.is_empty())
        .map(parse_pin)
        .collect::<Result<Vec<_>, _>>()?;
    if pins.is_empty() || pins.len() > PINS_MAX {
        return Err(format!(
            "identity.hostKey: 1 to {PINS_MAX} keys or fingerprints"
        ));
    }
    Ok(pins)
}

fn parse_pin(text: &str) -> Result<Pin, String> {
    let wrong = || {
        format!(
            "identity.hostKey: {:?} is neither SHA256:<fingerprint> nor a public key line",
            text.chars().take(60).collect::<String>()
        )
    };
    if let Some(digest) = text.strip_prefix("SHA256:") {
        let digest = digest.trim_end_matches('=');
        let base64 = |c: u8| c.is_ascii_alphanumeric() || c == b'+' || c == b'/';
        // 32 bytes are 43 characters of base64.
        return if digest.len() == 43 && digest.bytes().all(base64) {
            Ok(Pin::Fingerprint(format!("SHA256:{digest}")))
        } else {
            Err(wrong())
        };
    }
    if let Some(key) = text.strip_prefix("@cert-authority ") {
        return match parse_pin(key.trim())? {
            Pin::Key(key) => Ok(Pin::Authority(key)),
            _ => Err(wrong()),
        };
    }
    // Lines of ssh-keyscan and known_hosts have the host's name in front.
    let fields: Vec<&str> = text.split_whitespace().collect();
    let at = fields
        .iter()
        .position(|f| f.starts_with("ssh-") || f.starts_with("ecdsa-"));
    let key = at
        .filter(|at| *at <= 1)
        .and_then(|at| fields.get(at..at + 2))
        .ok_or_else(wrong)?;
    let key = PublicKey::from_openssh(&key.join(" ")).map_err(|_| wrong())?;
    Ok(Pin::Key(Box::new(key)))
}

/// The fingerprint as ssh-keygen prints it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Whether one of `pins` is `key`.
pub fn matches(pins: &[Pin], key: &PublicKey) -> bool {
    pins.iter().any(|pin| match pin {
        Pin::Fingerprint(pinned) => *pinned == fingerprint(key),
        Pin::Key(pinned) => pinned.key_data() == key.key_data(),
        Pin::Authority(_) => false,
    })
}

/// Whether a pinned authority vouches for this certificate as the host that is known by one of `names`.
/// `now_s` is in seconds since the Unix epoch.
pub fn vouched_for(pins: &[Pin], certificate: &Certificate, names: &[&str], now_s: u64) -> bool {
    let authorities: Vec<_> = pins
        .iter()
        .filter_map(|pin| match pin {
            Pin::Authority(key) => Some(key.fingerprint(HashAlg::Sha256)),
            _ => None,
        })
        .collect();
    // A certificate for no name in particular would make every host of the authority the same host.
    let named = certificate
        .valid_principals()
        .iter()
        .any(|principal| names.contains(&principal.as_str()));
    certificate.cert_type() == CertType::Host
        && named
        && certificate.critical_options().is_empty()
        && certificate.validate_at(now_s, &authorities).is_ok()
}

/// Whether certificates should be asked for.
pub fn has_authority(pins: &[Pin]) -> bool {
    pins.iter().any(|pin| matches!(pin, Pin::Authority(_)))
}

/// Kinds of host keys, the cheapest and usual first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Ed25519,
    Ecdsa,
    Rsa,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Ed25519, Kind::Ecdsa, Kind::Rsa];

    pub fn of(key: &PublicKey) -> Option<Kind> {
        match key.algorithm() {
            Algorithm::Ed25519 => Some(Kind::Ed25519),
            Algorithm::Ecdsa { .. } => Some(Kind::Ecdsa),
            Algorithm::Rsa { .. } => Some(Kind::Rsa),
            _ => None,
        }
    }

    fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Kind::Ed25519 => &[Algorithm::Ed25519],
            Kind::Ecdsa => &[
                Algorithm::Ecdsa {
                    curve: EcdsaCurve::NistP256,
                },
                Algorithm::Ecdsa {
                    curve: EcdsaCurve::NistP384,
                },
                Algorithm::Ecdsa {
                    curve: EcdsaCurve::NistP521,
                },
            ],
            // Without ssh-rsa (SHA-1): a signature of it proves nothing any more.
            Kind::Rsa => &[
                Algorithm::Rsa {
                    hash: Some(HashAlg::Sha512),
                },
                Algorithm::Rsa {
                    hash: Some(HashAlg::Sha256),
                },
            ],
        }
    }
}

/// The algorithms to offer for these kinds.
pub fn offered(kinds: &[Kind]) -> Cow<'static, [Algorithm]> {
    Cow::Owned(kinds.iter().flat_map(|k| k.algorithms()).cloned().collect())
}

/// The kinds to ask for, in this order: a host with several keys must show the one that was pinned. A fingerprint
/// does not tell its kind, so then every kind comes into question.
pub fn kinds_of(pins: &[Pin]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for pin in pins {
        match pin {
            Pin::Fingerprint(_) | Pin::Authority(_) => return Kind::ALL.to_vec(),
            Pin::Key(key) => match Kind::of(key) {
                Some(kind) if !kinds.contains(&kind) => kinds.push(kind),
                _ => {}
            },
        }
    }
    if kinds.is_empty() {
        return Kind::ALL.to_vec();
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const ED_PRINT: &str = "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ";

    #[test]
    fn pins_are_fingerprints_or_key_lines() {
        let table = [
            (ED, 1),
            (ED_PRINT, 1),
            (&format!("{ED} root@host"), 1),
            (&format!("host,10.0.0.1 {ED}").replace(',', ""), 1),
            (&format!("{ED_PRINT}=, {ED}"), 2),
            (&format!("{ED}\n{ED_PRINT}\n"), 2),
            ("", 0),
            ("SHA256:short", 0),
            ("MD5:aa:bb", 0),
            ("ssh-ed25519 AAAA", 0),
            ("ssh-ed25519", 0),
            (&format!("@cert-authority {ED}"), 1),
            (&format!("@cert-authority {ED_PRINT}"), 0),
            (&format!("@cert-authority @cert-authority {ED}"), 0),
            (&[ED_PRINT; 9].join(","), 0),
        ];
        for (text, count) in table {
            let pins = parse_pins(text);
            assert_eq!(pins.as_ref().map_or(0, Vec::len), count, "{text}: {pins:?}");
        }
    }

    #[test]
    fn only_the_pinned_key_matches() {
        let key = PublicKey::from_openssh(ED).unwrap();
        let print = fingerprint(&key);
        assert!(matches(&parse_pins(ED).unwrap(), &key));
        assert!(matches(&parse_pins(&print).unwrap(), &key));
        assert!(matches(&parse_pins(&format!("{print}=")).unwrap(), &key));
        let other = format!("SHA256:{}", "A".repeat(43));
        assert!(!matches(&parse_pins(&other).unwrap(), &key));
        assert!(!matches(&[], &key));
        let authority = parse_pins(&format!("@cert-authority {ED}")).unwrap();
        assert!(!matches(&authority, &key), "an authority is not a host");
    }

    #[test]
    fn a_pinned_key_says_which_kind_to_ask_for() {
        assert_eq!(kinds_of(&parse_pins(ED).unwrap()), [Kind::Ed25519]);
        assert_eq!(kinds_of(&parse_pins(ED_PRINT).unwrap()), Kind::ALL);
        assert_eq!(kinds_of(&[]), Kind::ALL);
    }
}
