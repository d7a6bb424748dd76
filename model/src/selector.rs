//! Selectors: which targets. `site=tyo1,rack in (r1,r2),vendor!=Contoso,firmware<2.0,!retired,name~bmc-*`
//!
//! Terms are joined by commas and all must hold. A key is a label, a field (`name`, `kind`, `zone`, `reachable`,
//! ...) or an observed fact, looked up in that order. `<` and kin compare as versions: number by number, then text by text.

use std::{borrow::Cow, cmp::Ordering, fmt, str::FromStr};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    pub terms: Vec<Term>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub key: String,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    /// Holds also when the key is absent, as in Kubernetes.
    NotIn(Vec<String>),
    /// `*` and `?`.
    Like(String),
    Compare(Relation, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("selector term {term:?}: {what}")]
pub struct SelectorError {
    pub term: String,
    pub what: &'static str,
}

impl Selector {
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether all terms hold; `get` gives the value of a key.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        self.terms.iter().all(|term| {
            let value = get(&term.key);
            match (&term.test, value) {
                (Test::Exists, v) => v.is_some(),
                (Test::Absent, v) => v.is_none(),
                (Test::In(set), Some(v)) => set.iter().any(|s| *s == v),
                (Test::NotIn(set), Some(v)) => !set.iter().any(|s| *s == v),
                (Test::NotIn(_), None) => true,
                (Test::Like(pattern), Some(v)) => like(pattern.as_bytes(), v.as_bytes()),
                (Test::Compare(relation, bound), Some(v)) => {
                    let order = compare_versions(&v, bound);
                    match relation {
                        Relation::Less => order == Ordering::Less,
                        Relation::LessOrEqual => order != Ordering::Greater,
                        Relation::Greater => order == Ordering::Greater,
                        Relation::GreaterOrEqual => order != Ordering::Less,
                    }
                }
                (_, None) => false,
            }
        })
    }
}

/// Glob over bytes, iterative so that hostile patterns cost at most pattern x text steps.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len()
            && (pattern[p] == b'?' || (pattern[p] == text[t] && pattern[p] != b'*'))
        {
            p += 1;
            t += 1;
        } else if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if let Some((sp, st)) = star {
            p = sp + 1;
            t = st + 1;
            star = Some((sp, st + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Number runs compare as numbers, the rest as text: `2.9 < 2.10`, `1.0-rc1 < 1.0-rc2`.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    fn parts(text: &str) -> Vec<(bool, &str)> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let digit = first.is_ascii_digit();
            let end = rest
                .find(|c: char| c.is_ascii_digit() != digit)
                .unwrap_or(rest.len());
            out.push((digit, &rest[..end]));
            rest = &rest[end..];
        }
        out
    }
    let (a, b) = (parts(a), parts(b));
    for (x, y) in a.iter().zip(&b) {
        let order = if x.0 && y.0 {
            let (x, y) = (x.1.trim_start_matches('0'), y.1.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            x.1.cmp(y.1)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

impl FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for raw in split_outside_parentheses(text) {
            let raw = raw.trim();
            if !raw.is_empty() {
                terms.push(parse_term(raw)?);
            }
        }
        Ok(Selector {
            terms,
            text: text.trim().to_owned(),
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0_i32, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn parse_term(raw: &str) -> Result<Term, SelectorError> {
    let fail = |what| SelectorError {
        term: raw.chars().take(80).collect(),
        what,
    };
    let key_of = |key: &str| {
        let key = key.trim();
        if crate::record::valid_label_key(key) {
            Ok(key.to_owned())
        } else {
            Err(fail("a key is letters, digits and . - _ /"))
        }
    };
    if let Some(key) = raw.strip_prefix('!') {
        return Ok(Term {
            key: key_of(key)?,
            test: Test::Absent,
        });
    }
    for (word, negated) in [(" notin ", true), (" in ", false)] {
        if let Some((key, set)) = raw.split_once(word) {
            let set = set.trim();
            let inner = set.strip_prefix('(').and_then(|s| s.strip_suffix(')'));
            let inner = inner.ok_or_else(|| fail("a set is written (a,b,c)"))?;
            let values: Vec<String> = inner.split(',').map(|v| v.trim().to_owned()).collect();
            let test = if negated {
                Test::NotIn(values)
            } else {
                Test::In(values)
            };
            return Ok(Term {
                key: key_of(key)?,
                test,
            });
        }
    }
    let Some(at) = raw.find(['=', '!', '<', '>', '~']) else {
        return Ok(Term {
            key: key_of(raw)?,
            test: Test::Exists,
        });
    };
    let (key, rest) = raw.split_at(at);
    type MakeTest = fn(String) -> Test;
    let operators: [(&str, MakeTest); 8] = [
        ("!=", |v| Test::NotIn(vec![v])),
        ("==", |v| Test::In(vec![v])),
        ("<=", |v| Test::Compare(Relation::LessOrEqual, v)),
        (">=", |v| Test::Compare(Relation::GreaterOrEqual, v)),
        ("=", |v| Test::In(vec![v])),
        ("<", |v| Test::Compare(Relation::Less, v)),
        (">", |v| Test::Compare(Relation::Greater, v)),
        ("~", Test::Like),
    ];
    for (operator, test) in operators {
        if let Some(value) = rest.strip_prefix(operator) {
            return Ok(Term {
                key: key_of(key)?,
                test: test(value.trim().to_owned()),
            });
        }
    }
    Err(fail(
        "known operators: = != < <= > >= ~ in notin, or a bare key",
    ))
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, expected: bool) {
        let values = [
            ("site", "tyo1"),
            ("rack", "r12"),
            ("firmware", "2.9.1"),
            ("name", "bmc-r12-u01"),
        ];
        let parsed: Selector = selector.parse().unwrap();
        let get = |key: &str| {
            values
                .iter()
                .find(|(k, _)| *k == key)
                .map(|(_, v)| Cow::Borrowed(*v))
        };
        assert_eq!(parsed.matches(get), expected, "{selector}");
    }

    #[test]
    fn terms_hold_or_not() {
        for yes in [
            "",
            "site=tyo1",
            "site==tyo1,rack=r12",
            "rack in (r11, r12)",
            "rack notin (r1)",
            "!retired",
            "site",
            "env!=prod",
            "firmware<2.10",
            "firmware>=2.9.1",
            "name~bmc-*-u??",
        ] {
            check(yes, true);
        }
        for no in [
            "site=tyo",
            "rack in (r1)",
            "retired",
            "firmware<2.9",
            "firmware>10",
            "name~*-u1",
            "age<3",
        ] {
            check(no, false);
        }
    }

    #[test]
    fn wrong_terms_are_refused() {
        for bad in ["a b", "=x", "rack in r1", "rack in (r1", "!", "a!b"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
