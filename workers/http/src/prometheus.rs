//! Prometheus text exposition (0.0.4) and OpenMetrics text to readings: names stay, a list says which are kept.
//!
//! Source: prometheus.io/docs/instrumenting/exposition_formats; OpenMetrics 1.0 section 4.

use crate::limits;
use crate::outcome::Reading;
use crate::source::{Found, Source, clip};
use serde_json::Value;
use std::collections::BTreeMap;

/// One line of the exposition.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Reads one line; none for comments and empty lines.
///
/// # Errors
/// With what was expected.
pub fn line(text: &str) -> Result<Option<Sample>, &'static str> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let end = text
        .find(|c: char| c == '{' || c.is_whitespace())
        .ok_or("a value is missing")?;
    let (name, rest) = text.split_at(end);
    let mut name = name.to_owned();
    let mut labels = BTreeMap::new();
    let rest = match rest.trim_start().strip_prefix('{') {
        None => rest,
        Some(inner) => {
            let mut rest = inner.trim_start();
            loop {
                if let Some(after) = rest.strip_prefix('}') {
                    break after;
                }
                // A name with characters of its own stands in quotes, the metric's alone.
                let (key, after) = match rest.strip_prefix('"') {
                    Some(quoted) => unquote(quoted)?,
                    None => {
                        let end = rest
                            .find(['=', ' ', '\t'])
                            .ok_or("= is missing in a label")?;
                        (rest[..end].to_owned(), &rest[end..])
                    }
                };
                rest = after.trim_start();
                if let Some(after) = rest.strip_prefix('=') {
                    let quoted = after.trim_start().strip_prefix('"');
                    let (value, after) = unquote(quoted.ok_or("a label's value is not quoted")?)?;
                    labels.insert(key, value);
                    rest = after.trim_start();
                } else if name.is_empty() {
                    name = key;
                } else {
                    return Err("= is missing in a label");
                }
                match rest.strip_prefix(',') {
                    Some(after) => rest = after.trim_start(),
                    None if rest.starts_with('}') => {}
                    None => return Err("} is missing after the labels"),
                }
            }
        }
    };
    if name.is_empty() {
        return Err("a name is missing");
    }
    // After the value may come a timestamp and an exemplar; both are of no use here.
    let value = rest.split_whitespace().next().ok_or("a value is missing")?;
    let value = number(value).ok_or("the value is no number")?;
    Ok(Some(Sample {
        name,
        labels,
        value,
    }))
}

fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" | "nan" => Some(f64::NAN),
        "+Inf" | "Inf" | "inf" | "+inf" => Some(f64::INFINITY),
        "-Inf" | "-inf" => Some(f64::NEG_INFINITY),
        // Rust reads words such as "infinity", too.
        text if text.bytes().any(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// The text up to the closing quote, and what comes after.
fn unquote(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next().ok_or("a quote is not closed")?.1 {
                'n' => '\n',
                other => other,
            }),
            c => value.push(c),
        }
    }
    Err("a quote is not closed")
}

/// The readings and facts of one exposition.
///
/// # Errors
/// With the number of the first line that is none.
pub fn extract(text: &str, source: &Source) -> Result<Found, String> {
    let mut found = Found::default();
    let mut kept = vec![false; source.only.len()];
    for (number, raw) in text.lines().enumerate() {
        let sample = line(raw).map_err(|why| {
            let shown: String = raw.chars().take(60).collect();
            format!("line {}: {why}: {shown:?}", number + 1)
        })?;
        let Some(sample) = sample else { continue };
        for (fact, of) in &source.metric_facts {
            if of.metric == sample.name
                && let Some(value) = sample.labels.get(&of.label)
            {
                found
                    .facts
                    .entry(fact.clone())
                    .or_insert_with(|| Value::String(clip(value)));
            }
        }
        let mut wanted = source.only.is_empty();
        for (glob, kept) in source.only.iter().zip(&mut kept) {
            if glob_matches(glob, &sample.name) {
                (*kept, wanted) = (true, true);
            }
        }
        if !wanted || !sample.value.is_finite() {
            continue;
        }
        if found.readings.len() >= limits::READINGS_MAX {
            found.cut = true;
            continue;
        }
        let mut labels = source.labels.clone();
        labels.extend(sample.labels.into_iter().map(|(k, v)| (k, clip(&v))));
        found.readings.push(Reading {
            unit: unit_of(&sample.name).to_owned(),
            name: sample.name,
            value: sample.value,
            labels,
        });
    }
    let missing = source.only.iter().zip(kept).filter(|(_, kept)| !kept);
    found
        .problems
        .extend(missing.map(|(glob, _)| format!("no metric {glob}")));
    let facts = source.metric_facts.iter();
    let missing = facts.filter(|(fact, _)| !found.facts.contains_key(fact.as_str()));
    let missing: Vec<String> = missing
        .map(|(fact, of)| {
            format!(
                "fact {fact}: no metric {} with label {}",
                of.metric, of.label
            )
        })
        .collect();
    found.problems.extend(missing);
    Ok(found)
}

/// The UCUM unit that a name's suffix says (Prometheus naming: base units).
pub fn unit_of(name: &str) -> &'static str {
    const UNITS: &[(&str, &str)] = &[
        ("_celsius", "Cel"),
        ("_watts", "W"),
        ("_joules", "J"),
        ("_volts", "V"),
        ("_amperes", "A"),
        ("_hertz", "Hz"),
        ("_bytes", "By"),
        ("_seconds", "s"),
        ("_ratio", "1"),
        ("_rpm", "{rev}/min"),
        ("_meters", "m"),
        ("_grams", "g"),
        ("_pascals", "Pa"),
        ("_kelvin", "K"),
    ];
    let base = ["_total", "_sum", "_bucket"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    // A histogram counts in its buckets, whatever it measures.
    if name.ends_with("_bucket") {
        return "";
    }
    let found = UNITS.iter().find(|(suffix, _)| base.ends_with(suffix));
    found.map_or("", |(_, unit)| unit)
}

/// `*` stands for anything, anywhere.
pub fn glob_matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(text: &str) -> String {
        match line(text) {
            Ok(None) => "-".to_owned(),
            Ok(Some(s)) => format!("{} {:?} {}", s.name, s.labels, s.value),
            Err(e) => format!("! {e}"),
        }
    }

    #[test]
    fn lines_are_read_as_the_format_says() {
        let table = [
            ("", "-"),
            ("# HELP a b", "-"),
            ("# EOF", "-"),
            ("up 1", "up {} 1"),
            ("  up\t1  ", "up {} 1"),
            ("up 1 1395066363000", "up {} 1"),
            ("up{} 1", "up {} 1"),
            ("up { } 1", "up {} 1"),
            (
                r#"t{room="a",row="1",} 2.5e1"#,
                r#"t {"room": "a", "row": "1"} 25"#,
            ),
            (
                r#"t{ room = "a" , row = "1" } 3"#,
                r#"t {"room": "a", "row": "1"} 3"#,
            ),
            (
                r#"t{p="C:\\D \"x\" \n}{="} 3"#,
                r#"t {"p": "C:\\D \"x\" \n}{="} 3"#,
            ),
            (r#"{"my.name", a="b"} 4"#, r#"my.name {"a": "b"} 4"#),
            (
                r#"h_bucket{le="+Inf"} 7 # {trace="x"} 0.5 1.5"#,
                r#"h_bucket {"le": "+Inf"} 7"#,
            ),
            ("a NaN", "a {} NaN"),
            ("a +Inf", "a {} inf"),
            ("a -Inf", "a {} -inf"),
            ("a 0x10", "! the value is no number"),
            ("a infinity", "! the value is no number"),
            ("a", "! a value is missing"),
            ("a ", "! a value is missing"),
            ("a{b=\"c\"}", "! a value is missing"),
            ("a{b=\"c} 1", "! a quote is not closed"),
            ("a{b=c} 1", "! a label's value is not quoted"),
            ("a{b=\"c\" 1", "! } is missing after the labels"),
            ("{} 1", "! a name is missing"),
            ("<html> <body>", "! the value is no number"),
            ("a{", "! = is missing in a label"),
        ];
        for (text, want) in table {
            assert_eq!(shown(text), want, "{text:?}");
        }
    }

    #[test]
    fn the_list_says_what_is_kept() {
        let text = "# TYPE room_celsius gauge\nroom_celsius{room=\"a\"} 21.5\nroom_celsius{room=\"b\"} NaN\n\
                    energy_joules_total 7\nplant_info{version=\"2.1\",model=\"CRAH-9\"} 1\nnoise 1\n";
        let source = Source::parse(
            0,
            &json!({
                "path": "/metrics", "format": "prometheus", "only": ["room_*", "energy_*_total", "absent"],
                "labels": {"hall": "1"}, "facts": {"firmware": "plant_info/version", "serial": "plant_info/serial"},
            }),
        )
        .unwrap();
        let found = extract(text, &source).unwrap();
        let readings: Vec<String> = found
            .readings
            .iter()
            .map(|r| format!("{} {} {} {:?}", r.name, r.value, r.unit, r.labels))
            .collect();
        assert_eq!(
            readings,
            [
                r#"room_celsius 21.5 Cel {"hall": "1", "room": "a"}"#,
                r#"energy_joules_total 7 J {"hall": "1"}"#,
            ]
        );
        assert_eq!(json!(found.facts), json!({"firmware": "2.1"}));
        assert_eq!(
            found.problems,
            [
                "no metric absent",
                "fact serial: no metric plant_info with label serial"
            ]
        );
        let broken = extract("a 1\nb{ 2\n", &source).unwrap_err();
        assert!(broken.starts_with("line 2: "), "{broken}");
    }

    #[test]
    fn units_come_from_the_suffix() {
        let table = [
            ("node_memory_MemFree_bytes", "By"),
            ("node_cpu_seconds_total", "s"),
            ("http_seconds_bucket", ""),
            ("http_seconds_sum", "s"),
            ("http_seconds_count", ""),
            ("fan_rpm", "{rev}/min"),
            ("up", ""),
        ];
        for (name, unit) in table {
            assert_eq!(unit_of(name), unit, "{name}");
        }
    }

    #[test]
    fn globs_match_names() {
        let table = [
            ("*", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c*e", "abcde", true),
            ("a*x*e", "abcde", false),
        ];
        for (glob, name, want) in table {
            assert_eq!(glob_matches(glob, name), want, "{glob} {name}");
        }
    }
}
