//! Who asks: an operator or a viewer, by a token or by the cookie that was given for one.
//!
//! A cookie says until when it counts and for whom, and only who has the token can have made it. Nothing of it is kept
//! here, so it survives restarts and takeovers, and a new token ends it. Codes stand for a token once and briefly, so
//! that a browser can be given a session without ever seeing the token.

use crate::clock;
use crate::core::Tokens;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use sengu_model::{Time, limits};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

pub const COOKIE: &str = "sengu_session";
/// What the key of cookies is for: the same token makes no other such key.
const KEY_PURPOSE: &[u8] = b"sengu session cookie v1";
const CODE_BYTES: usize = 32;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Operator,
    /// May look, and change nothing.
    Viewer,
}

impl Role {
    const ALL: [Role; 2] = [Role::Operator, Role::Viewer];

    pub fn word(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Viewer => "viewer",
        }
    }
}

/// What a session was begun with.
pub enum Proof<'a> {
    Token(&'a str),
    Code(&'a str),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Denied {
    /// The token or code is not right.
    Wrong,
    /// So many were wrong lately that none is looked at.
    TooMany,
}

/// Whose session it is, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub role: Role,
    /// As whom it was begun, by the word of who did.
    pub name: Option<String>,
    pub expires_at: Time,
}

/// A session that was begun.
#[derive(Debug, PartialEq, Eq)]
pub struct Begun {
    pub holder: Holder,
    /// Value of the cookie.
    pub cookie: String,
}

#[derive(Default)]
pub struct Sessions {
    codes: Mutex<VecDeque<Code>>,
    /// When wrong ones came, oldest first.
    wrong: Mutex<VecDeque<Time>>,
}

struct Code {
    /// Of the code: what is kept opens nothing.
    hash: [u8; 32],
    holder: Holder,
}

/// Whose token this is.
pub fn role_of(tokens: &Tokens, given: &str) -> Option<Role> {
    // Both are compared, so that the time says nothing.
    let operator = same(given.as_bytes(), tokens.operator.as_bytes());
    let viewer = same(given.as_bytes(), tokens.viewer.as_bytes());
    match (operator, viewer) {
        (true, _) => Some(Role::Operator),
        (_, true) => Some(Role::Viewer),
        _ => None,
    }
}

/// Whose session a cookie is, and until when.
pub fn holder_of(tokens: &Tokens, cookie: &str, now: Time) -> Option<Holder> {
    let (said, mark) = cookie.rsplit_once('.')?;
    let (expires, who) = said.split_once('.')?;
    let (word, name) = who.split_once('.')?;
    let role = Role::ALL.into_iter().find(|role| role.word() == word)?;
    let mark = BASE64.decode(mark).ok()?;
    marker(tokens, role, said).verify_slice(&mark).ok()?;
    let expires_at = Time(expires.parse().ok()?);
    let name = String::from_utf8(BASE64.decode(name).ok()?).ok()?;
    (expires_at > now).then_some(Holder {
        role,
        name: (!name.is_empty()).then_some(name),
        expires_at,
    })
}

fn cookie(tokens: &Tokens, holder: &Holder) -> String {
    let name = BASE64.encode(holder.name.as_deref().unwrap_or_default());
    let said = format!("{}.{}.{name}", holder.expires_at.0, holder.role.word());
    let mark = marker(tokens, holder.role, &said).finalize().into_bytes();
    format!("{said}.{}", BASE64.encode(mark))
}

fn marker(tokens: &Tokens, role: Role, said: &str) -> Hmac<Sha256> {
    let token = match role {
        Role::Operator => &tokens.operator,
        Role::Viewer => &tokens.viewer,
    };
    let keyed = |key: &[u8], text: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
        mac.update(text);
        mac
    };
    let key = keyed(token.as_bytes(), KEY_PURPOSE).finalize().into_bytes();
    keyed(&key, said.as_bytes())
}

impl Sessions {
    /// Begins a session; one by a code is of whoever asked for the code, unless `name` says otherwise.
    ///
    /// # Errors
    /// When the proof is not right, or so many were wrong that it was not looked at.
    pub fn begin(
        &self,
        tokens: &Tokens,
        proof: &Proof,
        name: Option<String>,
        now: Time,
    ) -> Result<Begun, Denied> {
        if self.wrong_lately(now) >= limits::SESSION_DENIALS_MAX {
            return Err(Denied::TooMany);
        }
        let known = match proof {
            Proof::Token(token) => role_of(tokens, token).map(|role| (role, None)),
            Proof::Code(code) => self.redeem(code, now).map(|of| (of.role, of.name)),
        };
        let Some((role, named)) = known else {
            self.wrong.lock().push_back(now);
            return Err(Denied::Wrong);
        };
        let holder = Holder {
            role,
            name: name.or(named),
            expires_at: now.plus_ms(limits::SESSION_MS),
        };
        let cookie = cookie(tokens, &holder);
        Ok(Begun { holder, cookie })
    }

    fn wrong_lately(&self, now: Time) -> usize {
        let mut wrong = self.wrong.lock();
        // A clock that was set back must not lock anybody out.
        wrong.retain(|at| *at <= now && now.ms_since(*at) < limits::SESSION_DENIALS_MS);
        wrong.len()
    }

    /// A code that stands for this role once, and until when.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn code(
        &self,
        role: Role,
        name: Option<String>,
    ) -> Result<(String, Time), getrandom::Error> {
        let mut bytes = [0; CODE_BYTES];
        getrandom::fill(&mut bytes)?;
        let code = BASE64.encode(bytes);
        let expires_at = clock::now().plus_ms(limits::SESSION_CODE_MS);
        let mut codes = self.codes.lock();
        if codes.len() >= limits::SESSION_CODES_MAX {
            codes.pop_front();
        }
        codes.push_back(Code {
            hash: Sha256::digest(&code).into(),
            holder: Holder {
                role,
                name,
                expires_at,
            },
        });
        Ok((code, expires_at))
    }

    fn redeem(&self, code: &str, now: Time) -> Option<Holder> {
        let hash: [u8; 32] = Sha256::digest(code).into();
        let mut codes = self.codes.lock();
        codes.retain(|c| c.holder.expires_at > now);
        let at = codes.iter().position(|c| c.hash == hash)?;
        codes.remove(at).map(|c| c.holder)
    }
}

/// Compares in a time that does not depend on where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens {
            operator: "of the operator".to_owned(),
            viewer: "of the viewer".to_owned(),
        }
    }

    #[test]
    fn a_cookie_counts_until_it_expires_and_for_its_role_only() {
        let (now, tokens) = (Time(1_000_000), tokens());
        for (token, role) in [
            ("of the operator", Role::Operator),
            ("of the viewer", Role::Viewer),
        ] {
            let sessions = Sessions::default();
            let name = (role == Role::Operator).then(|| "alice. ü".to_owned());
            let begun = sessions.begin(&tokens, &Proof::Token(token), name.clone(), now);
            let begun = begun.unwrap();
            let end = now.plus_ms(limits::SESSION_MS);
            let holder = Holder {
                role,
                name,
                expires_at: end,
            };
            assert_eq!(begun.holder, holder);
            let look = |cookie: &str, at| holder_of(&tokens, cookie, at);
            assert_eq!(look(&begun.cookie, now), Some(holder));
            assert_eq!(look(&begun.cookie, end), None, "expired");
            let other = Tokens {
                operator: "another".to_owned(),
                viewer: "yet another".to_owned(),
            };
            assert_eq!(holder_of(&other, &begun.cookie, now), None);
        }
    }

    #[test]
    fn what_was_not_given_is_no_cookie() {
        let (now, tokens) = (Time(1_000_000), tokens());
        let sessions = Sessions::default();
        let begun = sessions.begin(&tokens, &Proof::Token("of the viewer"), None, now);
        let good = begun.unwrap().cookie;
        let (said, mark) = good.rsplit_once('.').unwrap();
        let forged = [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            said.to_owned(),
            format!("{said}."),
            good.replace("viewer", "operator"),
            good.replace("viewer", "root"),
            good.replace("viewer.", "viewer.YWxpY2U"),
            format!("9{good}"),
            format!("{said}.{}", &mark[1..]),
            format!("{said}.{}", mark.to_uppercase()),
        ];
        for cookie in forged {
            assert_eq!(holder_of(&tokens, &cookie, now), None, "{cookie}");
        }
    }

    #[test]
    fn a_code_counts_once_and_not_for_long() {
        let (now, tokens, sessions) = (clock::now(), tokens(), Sessions::default());
        let (code, until) = sessions
            .code(Role::Operator, Some("bob".to_owned()))
            .unwrap();
        let begin = |code: &str, at| sessions.begin(&tokens, &Proof::Code(code), None, at);
        let holder = begin(&code, now).unwrap().holder;
        assert_eq!(
            (holder.role, holder.name.as_deref()),
            (Role::Operator, Some("bob"))
        );
        assert_eq!(begin(&code, now), Err(Denied::Wrong), "a second time");
        let (late, _) = sessions.code(Role::Viewer, None).unwrap();
        assert_eq!(begin(&late, until.plus_ms(1_000)), Err(Denied::Wrong));
        let (first, _) = sessions.code(Role::Viewer, None).unwrap();
        for _ in 0..limits::SESSION_CODES_MAX {
            sessions.code(Role::Viewer, None).unwrap();
        }
        assert_eq!(begin(&first, now), Err(Denied::Wrong), "only so many");
    }

    #[test]
    fn after_many_wrong_ones_none_is_looked_at_for_a_while() {
        let (now, tokens, sessions) = (Time(1_000_000), tokens(), Sessions::default());
        let begin = |token, at| sessions.begin(&tokens, &Proof::Token(token), None, at);
        for _ in 0..limits::SESSION_DENIALS_MAX {
            assert_eq!(begin("guessed", now), Err(Denied::Wrong));
        }
        assert_eq!(begin("of the operator", now), Err(Denied::TooMany));
        let later = now.plus_ms(limits::SESSION_DENIALS_MS);
        assert!(begin("of the operator", later).is_ok());
    }
}
