//! JSON pointers (RFC 6901) in which a segment `*` stands for every element of an array or every member of an object.
//!
//! A pointer is parsed once, when the record is read; looking up never fails, it only finds nothing.

use crate::limits;
use serde_json::Value;

/// A parsed pointer. The member named `*` itself cannot be addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Key(String),
    Any,
}

/// One place that matched, with what each wildcard stood for, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Match<'a> {
    pub keys: Vec<String>,
    pub value: &'a Value,
}

impl Pointer {
    /// # Errors
    /// When `text` is neither empty nor begins with `/`, or has a stray `~` or too many wildcards.
    pub fn parse(text: &str) -> Result<Pointer, String> {
        let wrong = |why: &str| format!("pointer {text:?}: {why}");
        if text.is_empty() {
            return Ok(Pointer {
                text: String::new(),
                segments: Vec::new(),
            });
        }
        let rest = text
            .strip_prefix('/')
            .ok_or_else(|| wrong("it begins with / (RFC 6901)"))?;
        let segments = rest
            .split('/')
            .map(|raw| match raw {
                "*" => Some(Segment::Any),
                raw => unescape(raw).map(Segment::Key),
            })
            .collect::<Option<Vec<Segment>>>()
            .ok_or_else(|| wrong("~ is written ~0, and / inside a name ~1"))?;
        let pointer = Pointer {
            text: text.to_owned(),
            segments,
        };
        if pointer.wildcards() > limits::WILDCARDS_MAX {
            return Err(wrong(&format!(
                "at most {} wildcards",
                limits::WILDCARDS_MAX
            )));
        }
        Ok(pointer)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn wildcards(&self) -> usize {
        self.segments.iter().filter(|s| **s == Segment::Any).count()
    }

    /// The one value, for a pointer without wildcards.
    pub fn one<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.at(document, &[])
    }

    /// The value where the wildcards stand for `keys`, in order; a pointer with fewer wildcards uses the first ones.
    pub fn at<'a>(&self, document: &'a Value, keys: &[String]) -> Option<&'a Value> {
        let mut keys = keys.iter();
        self.segments
            .iter()
            .try_fold(document, |value, segment| match segment {
                Segment::Key(key) => child(value, key),
                Segment::Any => child(value, keys.next()?),
            })
    }

    /// All places that match, in the document's order, at most `limits::MATCHES_MAX`; true = there were more.
    pub fn all<'a>(&self, document: &'a Value) -> (Vec<Match<'a>>, bool) {
        let mut found = vec![Match {
            keys: Vec::new(),
            value: document,
        }];
        let mut more = false;
        for segment in &self.segments {
            let mut next = Vec::new();
            for place in found {
                let children = match segment {
                    Segment::Key(key) => {
                        if let Some(value) = child(place.value, key) {
                            next.push(Match { value, ..place });
                        }
                        continue;
                    }
                    Segment::Any => children(place.value),
                };
                for (key, value) in children {
                    if next.len() >= limits::MATCHES_MAX {
                        more = true;
                        break;
                    }
                    let mut keys = place.keys.clone();
                    keys.push(key);
                    next.push(Match { keys, value });
                }
            }
            found = next;
        }
        (found, more)
    }
}

fn unescape(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        match c {
            '~' => text.push(match rest.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            }),
            c => text.push(c),
        }
    }
    Some(text)
}

fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(key),
        Value::Array(elements) => {
            // RFC 6901: no sign, no leading zeros.
            let canonical = key == "0" || !key.starts_with(['0', '+', '-']);
            let index = key.parse::<usize>().ok().filter(|_| canonical)?;
            elements.get(index)
        }
        _ => None,
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = (String, &Value)> + '_> {
    match value {
        Value::Object(members) => Box::new(members.iter().map(|(k, v)| (k.clone(), v))),
        Value::Array(elements) => Box::new(
            elements
                .iter()
                .enumerate()
                .map(|(index, v)| (index.to_string(), v)),
        ),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_rfc_6901_hold() {
        let document = json!({
            "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8,
        });
        let table = [
            ("", Some(document.clone())),
            ("/foo", Some(json!(["bar", "baz"]))),
            ("/foo/0", Some(json!("bar"))),
            ("/", Some(json!(0))),
            ("/a~1b", Some(json!(1))),
            ("/c%d", Some(json!(2))),
            ("/e^f", Some(json!(3))),
            ("/g|h", Some(json!(4))),
            ("/i\\j", Some(json!(5))),
            ("/k\"l", Some(json!(6))),
            ("/ ", Some(json!(7))),
            ("/m~0n", Some(json!(8))),
            ("/foo/00", None),
            ("/foo/-", None),
            ("/foo/+1", None),
            ("/foo/2", None),
            ("/foo/0/x", None),
        ];
        for (text, want) in table {
            let pointer = Pointer::parse(text).unwrap();
            assert_eq!(pointer.one(&document), want.as_ref(), "{text}");
        }
        for wrong in ["foo", "/a~", "/a~2", "/*/*/*/*/*"] {
            assert!(Pointer::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wildcard_names_what_it_stood_for() {
        let document = json!({"racks": [
            {"name": "a", "feeds": {"l1": 1, "l2": 2}}, {"name": "b", "feeds": {}}, {"name": "c"}, {"feeds": {"l1": 3}},
        ]});
        let pointer = Pointer::parse("/racks/*/feeds/*").unwrap();
        let (found, more) = pointer.all(&document);
        let got: Vec<String> = found
            .iter()
            .map(|m| format!("{}={}", m.keys.join("."), m.value))
            .collect();
        assert_eq!(
            (got.join(" ").as_str(), more),
            ("0.l1=1 0.l2=2 3.l1=3", false)
        );
        let name = Pointer::parse("/racks/*/name").unwrap();
        assert_eq!(name.at(&document, &found[0].keys), Some(&json!("a")));
        assert_eq!(name.at(&document, &found[2].keys), None);
        let many = json!(vec![0; limits::MATCHES_MAX + 1]);
        let (found, more) = Pointer::parse("/*").unwrap().all(&many);
        assert_eq!((found.len(), more), (limits::MATCHES_MAX, true));
    }
}
