//! From registers to values and back: types, word order, scale.
//!
//! Pure. Decoding and encoding are each other's inverse; a value that a register cannot hold is refused, never clipped.

use serde::Deserialize;

/// What a point's registers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A coil, a discrete input, or one bit of a register.
    Bool,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    /// Two characters per register.
    String,
}

/// The order of bytes in a value of two registers, most significant = a. In longer values words follow the same rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// High word first, as the protocol's authors meant it.
    #[default]
    #[serde(alias = "big")]
    Abcd,
    /// Low word first.
    #[serde(alias = "little")]
    Cdab,
    /// High word first, bytes within each word swapped.
    #[serde(alias = "big_swapped")]
    Badc,
    /// Low word first, bytes swapped.
    #[serde(alias = "little_swapped")]
    Dcba,
}

/// What stands in the registers, before scale.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    Bool(bool),
    /// All integer types.
    Int(i128),
    Float(f64),
    Text(String),
}

impl Type {
    /// Registers of one value; strings say their own length.
    pub fn words(self) -> u16 {
        match self {
            Type::Bool | Type::U16 | Type::I16 | Type::String => 1,
            Type::U32 | Type::I32 | Type::F32 => 2,
            Type::U64 | Type::I64 | Type::F64 => 4,
        }
    }

    /// The pattern of bits that an integer of this type has.
    pub fn pattern(self, value: i128) -> u64 {
        let mask = match self.words() {
            1 => 0xffff,
            2 => 0xffff_ffff,
            _ => u64::MAX,
        };
        // The low bits of two's complement, whatever the sign.
        (value as u64) & mask
    }

    fn range(self) -> Option<(i128, i128)> {
        let signed = |bits: u32| (-(1 << (bits - 1)), (1 << (bits - 1)) - 1);
        let unsigned = |bits: u32| (0, (1 << bits) - 1);
        Some(match self {
            Type::U16 => unsigned(16),
            Type::I16 => signed(16),
            Type::U32 => unsigned(32),
            Type::I32 => signed(32),
            Type::U64 => unsigned(64),
            Type::I64 => signed(64),
            Type::Bool | Type::F32 | Type::F64 | Type::String => return None,
        })
    }

    pub fn is_integer(self) -> bool {
        self.range().is_some()
    }
}

/// `None` when there are not enough registers, or a float is not a number: "not available" in every known map.
pub fn decode(kind: Type, order: Order, registers: &[u16]) -> Option<Raw> {
    if kind == Type::String {
        return Some(Raw::Text(text(order, registers)));
    }
    let bytes = arrange(order, registers.get(..usize::from(kind.words()))?);
    let bits = bytes.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    Some(match kind {
        Type::Bool => Raw::Bool(bits != 0),
        Type::U16 | Type::U32 | Type::U64 => Raw::Int(i128::from(bits)),
        // Truncation keeps the pattern; the cast to the signed type gives it its sign.
        Type::I16 => Raw::Int(i128::from(bits as u16 as i16)),
        Type::I32 => Raw::Int(i128::from(bits as u32 as i32)),
        Type::I64 => Raw::Int(i128::from(bits as i64)),
        Type::F32 => Raw::Float(widen(f32::from_bits(bits as u32))?),
        Type::F64 => Raw::Float(Some(f64::from_bits(bits)).filter(|v| v.is_finite())?),
        Type::String => return None,
    })
}

/// # Errors
/// A line for the user when the type cannot hold the value.
pub fn encode(kind: Type, order: Order, raw: &Raw) -> Result<Vec<u16>, String> {
    let bits = match (kind, raw) {
        (Type::F32, Raw::Float(v)) => {
            let narrow = *v as f32;
            if !narrow.is_finite() {
                return Err(format!("{v} does not fit into an f32"));
            }
            u64::from(narrow.to_bits())
        }
        (Type::F64, Raw::Float(v)) if v.is_finite() => v.to_bits(),
        (_, Raw::Int(v)) => match kind.range() {
            Some((least, most)) if (least..=most).contains(v) => kind.pattern(*v),
            Some((least, most)) => {
                return Err(format!("{v} in the register is outside {least} to {most}"));
            }
            None => return Err("not a number of this type".to_owned()),
        },
        _ => return Err("not a value of this type".to_owned()),
    };
    let bytes = bits.to_be_bytes();
    let bytes = &bytes[8 - usize::from(kind.words()) * 2..];
    let words: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect();
    // Each order undoes itself.
    let bytes = arrange(order, &words);
    Ok(bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect())
}

/// The bytes of `registers`, most significant first.
fn arrange(order: Order, registers: &[u16]) -> Vec<u8> {
    let low_first = matches!(order, Order::Cdab | Order::Dcba);
    let swapped = matches!(order, Order::Badc | Order::Dcba);
    let word = |word: &u16| {
        if swapped {
            word.to_le_bytes()
        } else {
            word.to_be_bytes()
        }
    };
    if low_first {
        registers.iter().rev().flat_map(word).collect()
    } else {
        registers.iter().flat_map(word).collect()
    }
}

/// Text ends at the first NUL. Words of a text always follow each other; only bytes may be swapped.
fn text(order: Order, registers: &[u16]) -> String {
    let swapped = match order {
        Order::Abcd | Order::Cdab => Order::Abcd,
        Order::Badc | Order::Dcba => Order::Badc,
    };
    let bytes = arrange(swapped, registers);
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    text.trim_matches(|c: char| c.is_control() || c.is_whitespace())
        .to_owned()
}

/// The shortest decimal of an f32, so that 21.3 is 21.3 and not 21.299999.
fn widen(narrow: f32) -> Option<f64> {
    if !narrow.is_finite() {
        return None;
    }
    narrow.to_string().parse().ok()
}

/// `raw * scale + offset`, without the noise of binary fractions where the scale is 0.1, 0.01 and kin.
pub fn scaled(raw: f64, scale: f64, offset: f64) -> f64 {
    let inverse = (1.0 / scale).round();
    let product = if scale.abs() < 1.0 && (inverse * scale - 1.0).abs() < 1e-9 {
        raw / inverse
    } else {
        raw * scale
    };
    if offset == 0.0 {
        product
    } else {
        product + offset
    }
}

/// What must stand in the registers for `value`.
pub fn unscaled(value: f64, scale: f64, offset: f64) -> f64 {
    let difference = value - offset;
    let inverse = (1.0 / scale).round();
    if scale.abs() < 1.0 && (inverse * scale - 1.0).abs() < 1e-9 {
        difference * inverse
    } else {
        difference / scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Order::{Abcd, Badc, Cdab, Dcba};

    #[test]
    fn every_type_and_order_decodes_and_encodes() {
        let table: [(Type, Order, &[u16], Raw); 24] = [
            (Type::U16, Abcd, &[0xfffe], Raw::Int(0xfffe)),
            (Type::U16, Badc, &[0xfe00], Raw::Int(0x00fe)),
            (Type::I16, Abcd, &[0xfffe], Raw::Int(-2)),
            (Type::I16, Dcba, &[0xfeff], Raw::Int(-2)),
            (Type::U32, Abcd, &[0x1234, 0x5678], Raw::Int(0x1234_5678)),
            (Type::U32, Cdab, &[0x5678, 0x1234], Raw::Int(0x1234_5678)),
            (Type::U32, Badc, &[0x3412, 0x7856], Raw::Int(0x1234_5678)),
            (Type::U32, Dcba, &[0x7856, 0x3412], Raw::Int(0x1234_5678)),
            (Type::U32, Abcd, &[0xffff, 0xffff], Raw::Int(0xffff_ffff)),
            (Type::I32, Abcd, &[0xffff, 0xffff], Raw::Int(-1)),
            (
                Type::I32,
                Abcd,
                &[0x8000, 0],
                Raw::Int(i128::from(i32::MIN)),
            ),
            (
                Type::U64,
                Abcd,
                &[1, 2, 3, 4],
                Raw::Int(0x0001_0002_0003_0004),
            ),
            (
                Type::U64,
                Cdab,
                &[4, 3, 2, 1],
                Raw::Int(0x0001_0002_0003_0004),
            ),
            (
                Type::U64,
                Badc,
                &[0x100, 0x200, 0x300, 0x400],
                Raw::Int(0x0001_0002_0003_0004),
            ),
            (
                Type::U64,
                Dcba,
                &[0x400, 0x300, 0x200, 0x100],
                Raw::Int(0x0001_0002_0003_0004),
            ),
            (
                Type::U64,
                Abcd,
                &[0xffff; 4],
                Raw::Int(i128::from(u64::MAX)),
            ),
            (Type::I64, Abcd, &[0xffff; 4], Raw::Int(-1)),
            (Type::F32, Abcd, &[0x4366, 0x6666], Raw::Float(230.4)),
            (Type::F32, Cdab, &[0x6666, 0x4366], Raw::Float(230.4)),
            (Type::F32, Badc, &[0x6643, 0x6666], Raw::Float(230.4)),
            (Type::F32, Dcba, &[0x6666, 0x6643], Raw::Float(230.4)),
            (Type::F32, Abcd, &[0x8000, 0], Raw::Float(0.0)),
            (Type::F64, Abcd, &[0x3ff8, 0, 0, 0], Raw::Float(1.5)),
            (Type::F64, Cdab, &[0, 0, 0, 0x3ff8], Raw::Float(1.5)),
        ];
        for (kind, order, registers, raw) in table {
            let got = decode(kind, order, registers);
            assert_eq!(got, Some(raw.clone()), "{kind:?} {order:?} {registers:?}");
            // -0 and 0 are one number.
            if raw != Raw::Float(0.0) {
                assert_eq!(encode(kind, order, &raw).unwrap(), registers, "{kind:?}");
            }
        }
    }

    #[test]
    fn what_is_no_number_or_too_short_is_no_value() {
        let table: [(Type, &[u16]); 6] = [
            (Type::F32, &[0x7fc0, 0]),
            (Type::F32, &[0x7f80, 0]),
            (Type::F64, &[0x7ff8, 0, 0, 0]),
            (Type::U32, &[1]),
            (Type::F64, &[1, 2, 3]),
            (Type::U16, &[]),
        ];
        for (kind, registers) in table {
            assert_eq!(
                decode(kind, Abcd, registers),
                None,
                "{kind:?} {registers:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_clipped() {
        let table = [
            (Type::U16, Raw::Int(65_536)),
            (Type::U16, Raw::Int(-1)),
            (Type::I16, Raw::Int(32_768)),
            (Type::I16, Raw::Int(-32_769)),
            (Type::U32, Raw::Int(1 << 32)),
            (Type::I32, Raw::Int(1 << 31)),
            (Type::U64, Raw::Int(1 << 64)),
            (Type::I64, Raw::Int(1 << 63)),
            (Type::F32, Raw::Float(1e39)),
            (Type::F64, Raw::Float(f64::NAN)),
            (Type::U16, Raw::Text("1".into())),
            (Type::String, Raw::Text("1".into())),
        ];
        for (kind, raw) in table {
            assert!(encode(kind, Abcd, &raw).is_err(), "{kind:?} {raw:?}");
        }
    }

    #[test]
    fn texts_end_at_nul_and_keep_their_word_order() {
        let table: [(Order, &[u16], &str); 4] = [
            (Abcd, &[0x4142, 0x4344, 0, 0x4545], "ABCD"),
            (Cdab, &[0x4142, 0x4344], "ABCD"),
            (Badc, &[0x4241, 0x4443], "ABCD"),
            (Abcd, &[0x2041, 0x2020], "A"),
        ];
        for (order, registers, text) in table {
            let got = decode(Type::String, order, registers);
            assert_eq!(got, Some(Raw::Text(text.into())));
        }
    }

    #[test]
    fn scale_leaves_no_noise_and_has_an_inverse() {
        let table = [
            (3.0, 0.1, 0.0, 0.3),
            (215.0, 0.1, 0.0, 21.5),
            (-7.0, 0.001, 0.0, -0.007),
            (12.0, 3_600_000.0, 0.0, 43_200_000.0),
            (295.0, 1.0, -273.0, 22.0),
            (50.0, 0.5, 10.0, 35.0),
            (1.0, -1.0, 1.0, 0.0),
            (333.0, 0.3, 0.0, 99.899_999_999_999_99),
        ];
        for (raw, scale, offset, value) in table {
            let got = scaled(raw, scale, offset);
            assert!((got - value).abs() < 1e-9, "{raw} {scale} {offset}: {got}");
            assert!((unscaled(got, scale, offset) - raw).abs() < 1e-9, "{raw}");
        }
        assert_eq!(scaled(3.0, 0.1, 0.0), 0.3);
        assert_eq!(scaled(2_307.0, 0.1, 0.0), 230.7);
    }
}
