//! SNMP values as numbers and texts. Pure; a value that makes no sense gives nothing, never a guess.

use async_snmp::Value;

/// Text of one value handed on, in characters: sysDescr of some devices fills a page.
const TEXT_CHARS_MAX: usize = 256;

/// The value as a number: integers, counters, gauges, ticks, opaque floats, and strings that hold nothing but a number.
pub fn number(value: &Value) -> Option<f64> {
    if let Some(n) = value.as_f64() {
        return Some(n);
    }
    match value {
        Value::OctetString(bytes) => {
            let text = std::str::from_utf8(bytes).ok()?;
            let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
            // "inf" and "nan" parse as numbers, but no device means them.
            let n: f64 = text.parse().ok()?;
            n.is_finite().then_some(n)
        }
        Value::Opaque(_) => value
            .as_opaque_float()
            .map(f64::from)
            .or_else(|| value.as_opaque_double())
            .filter(|n| n.is_finite()),
        _ => None,
    }
}

/// The value as a whole number, for enumerations.
pub fn integer(value: &Value) -> Option<i64> {
    let n = number(value)?;
    // Beyond 2^53 a double is no longer exact, and no enumeration is that large.
    (n.fract() == 0.0 && n.abs() < 9e15).then_some(n as i64)
}

/// The value as a text: strings cleaned of control characters, unprintable ones as `0a:1b:..`.
pub fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::OctetString(bytes) => {
            let trimmed = trim(bytes);
            match std::str::from_utf8(trimmed) {
                Ok(t) if !t.chars().any(|c| c.is_control() && !c.is_whitespace()) => {
                    t.split_whitespace().collect::<Vec<_>>().join(" ")
                }
                _ => {
                    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                    hex.join(":")
                }
            }
        }
        Value::ObjectIdentifier(oid) => oid.to_string(),
        Value::IpAddress(a) => format!("{}.{}.{}.{}", a[0], a[1], a[2], a[3]),
        other => number(other).map(|n| n.to_string())?,
    };
    Some(text.chars().take(TEXT_CHARS_MAX).collect())
}

/// Whether there is a value at all.
pub fn present(value: &Value) -> bool {
    !matches!(
        value,
        Value::NoSuchObject | Value::NoSuchInstance | Value::EndOfMibView | Value::Null
    )
}

fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| *b == 0 || b.is_ascii_whitespace();
    let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |e| e + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_from_all_numeric_forms_and_plain_number_strings() {
        let table: [(Value, Option<f64>); 9] = [
            (Value::Integer(-5), Some(-5.0)),
            (Value::Counter64(18_000_000_000_000_000_000), Some(1.8e19)),
            (Value::TimeTicks(100), Some(100.0)),
            (Value::OctetString(" 23.5\0".into()), Some(23.5)),
            (Value::OctetString("23.5 C".into()), None),
            (Value::OctetString("nan".into()), None),
            (Value::OctetString("".into()), None),
            (Value::NoSuchInstance, None),
            (Value::Null, None),
        ];
        for (value, expected) in table {
            assert_eq!(number(&value), expected, "{value:?}");
        }
    }

    #[test]
    fn texts_are_clean() {
        let table: [(Value, Option<&str>); 6] = [
            (Value::OctetString("AP8941 \0".into()), Some("AP8941")),
            (Value::OctetString("two\r\nlines".into()), Some("two lines")),
            (
                Value::OctetString(vec![0x00, 0xc0, 0xb7, 0x01].into()),
                Some("00:c0:b7:01"),
            ),
            (Value::IpAddress([10, 0, 0, 1]), Some("10.0.0.1")),
            (Value::Integer(7), Some("7")),
            (Value::NoSuchObject, None),
        ];
        for (value, expected) in table {
            assert_eq!(text(&value).as_deref(), expected, "{value:?}");
        }
        let long = Value::OctetString("x".repeat(1000).into());
        assert_eq!(text(&long).map(|t| t.len()), Some(TEXT_CHARS_MAX));
    }
}
