//! Maps as people write them, and what comes out.

use super::*;

fn map(text: &str) -> Result<Map, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    Map::build(vec![file])
}

fn point(line: &str) -> Result<Map, String> {
    map(&format!("point = [{{ name = \"p\", {line} }}]"))
}

/// The value of the one point of `line` when `registers` stand from its address on.
fn value(line: &str, registers: &[u16]) -> Option<Value> {
    let map = point(line).unwrap();
    let reply = if map.places()[0].table.is_bits() {
        Reply::Bits(registers.iter().map(|r| *r != 0).collect())
    } else {
        Reply::Registers(registers.to_vec())
    };
    let raw = map.points[0].raw(map.places()[0].address, &reply)?;
    map.value(0, &BTreeMap::from([(0, raw)]))
}

#[test]
fn points_become_values_in_the_users_unit() {
    let number = |n: f64| Some(Value::Number(n));
    let table: [(&str, &[u16], Option<Value>); 17] = [
        ("table='input', address=7", &[9], number(9.0)),
        (
            "table='input', address=7, type='i16', scale=0.1",
            &[0xffb5],
            number(-7.5),
        ),
        (
            "table='input', address=7, scale=0.1, offset=-40",
            &[615],
            number(21.5),
        ),
        (
            "table='holding', address=7, type='f32', order='cdab'",
            &[0x6666, 0x4366],
            number(230.4),
        ),
        (
            "table='holding', address=7, type='f32', order='little'",
            &[0x6666, 0x4366],
            number(230.4),
        ),
        (
            "table='holding', address=7, type='u64'",
            &[0, 0, 1, 0],
            number(65_536.0),
        ),
        (
            "table='input', address=7, bit=3",
            &[0b1000],
            Some(Value::Bool(true)),
        ),
        (
            "table='input', address=7, bit=3, invert=true",
            &[0b1000],
            Some(Value::Bool(false)),
        ),
        (
            "table='input', address=7, bit=3, order='badc'",
            &[0b1000 << 8],
            Some(Value::Bool(true)),
        ),
        ("table='coil', address=7", &[1], Some(Value::Bool(true))),
        (
            "table='input', address=7, type='string', length=2",
            &[0x4142, 0x4300],
            Some(Value::Text("ABC".into())),
        ),
        // Not available, in every way a device can say so.
        (
            "table='input', address=7, type='i16', missing=[0x8000]",
            &[0x8000],
            None,
        ),
        (
            "table='input', address=7, type='i16', missing=[-32768]",
            &[0x8000],
            None,
        ),
        (
            "table='input', address=7, type='u64', missing=['0xffffffffffffffff']",
            &[0xffff; 4],
            None,
        ),
        (
            "table='input', address=7, type='i32', missing='sunspec'",
            &[0x8000, 0],
            None,
        ),
        (
            "table='input', address=7, type='f32', missing=[-9999.0]",
            &[0xc61c, 0x3c00],
            None,
        ),
        ("table='input', address=7, type='f32'", &[0x7fc0, 0], None),
    ];
    for (line, registers, expected) in table {
        assert_eq!(value(line, registers), expected, "{line}");
    }
}

#[test]
fn a_power_of_ten_from_another_register_scales_or_withholds_the_value() {
    let map = map("
        defaults = { table = 'holding', type = 'i16', missing = 'sunspec' }
        point = [
          { name = 'power', address = 0, exponent = 'power_exponent', reading = 'w' },
          { name = 'power_exponent', address = 1 },
        ]")
    .unwrap();
    assert_eq!(map.observed(), [0, 1]);
    let table = [
        (Some(-2), Some(12.34)),
        (Some(0), Some(1_234.0)),
        (Some(3), Some(1_234_000.0)),
        (Some(11), None),
        (None, None),
    ];
    for (exponent, expected) in table {
        let mut raws = BTreeMap::from([(0, Raw::Int(1_234))]);
        raws.extend(exponent.map(|n| (1, Raw::Int(n))));
        let value = map.value(0, &raws).and_then(|v| v.number());
        assert_eq!(value, expected, "{exponent:?}");
    }
}

#[test]
fn what_could_be_misunderstood_is_refused_with_its_reason() {
    let table = [
        ("address=1", "no table"),
        (
            "table='input', address=65535, type='u32'",
            "beyond the last",
        ),
        ("table='coil', address=1, type='u16'", "is a bool"),
        ("table='input', address=1, type='bool'", "has a bit"),
        ("table='input', address=1, bit=16", "has a bit"),
        (
            "table='input', address=1, type='u32', bit=1",
            "only of a bool",
        ),
        ("table='input', address=1, type='string'", "has a length"),
        ("table='input', address=1, length=2", "only of a string"),
        ("table='input', address=1, scale=0", "scale"),
        ("table='coil', address=1, scale=2", "no scale"),
        ("table='input', address=1, invert=true", "only of a bool"),
        (
            "table='input', address=1, reading='Power W'",
            "small letters",
        ),
        (
            "table='input', address=1, type='string', length=1, reading='a'",
            "fact",
        ),
        ("table='input', address=1, exponent='x'", "no point"),
        ("table='input', address=1, exponent='p'", "no plain integer"),
        (
            "table='input', address=1, fact='x', map={a='b'}",
            "no number",
        ),
        ("table='input', address=1, wrong=1", "unknown field"),
        (
            "table='input', address=1, set={min=0,max=1}",
            "only coils and holding",
        ),
        ("table='holding', address=1, set={}", "needs min and max"),
        (
            "table='holding', address=1, set={min=1}",
            "needs min and max",
        ),
        ("table='holding', address=1, set={min=1,max=1}", "less than"),
        (
            "table='holding', address=1, set={values=[3],max=2,min=1}",
            "within",
        ),
        (
            "table='holding', address=1, set={values=[3],step=1}",
            "counts from min",
        ),
        (
            "table='holding', address=1, set={min=0,max=9,step=0}",
            "over 0",
        ),
        (
            "table='holding', address=1, bit=1, set={min=0,max=1}",
            "one bit",
        ),
        (
            "table='holding', address=1, type='string', length=1, set={min=0,max=1}",
            "string",
        ),
        (
            "table='holding', address=1, type='f32', set={min=0,max=1,write='single'}",
            "one register",
        ),
        ("table='coil', address=1, set={min=0,max=1}", "no bounds"),
        (
            "table='holding', address=1, set={min=0,max=1,read_back='q'}",
            "no point",
        ),
    ];
    for (line, reason) in table {
        let why = point(line).unwrap_err();
        assert!(why.contains(reason), "{line}: {why}");
    }
    let twice = "point = [{name='a',table='input',address=1},{name='a',table='input',address=2}]";
    assert!(map(twice).unwrap_err().contains("twice"));
}

#[test]
fn a_later_file_wins_point_by_point() {
    let files = [
        "gap = 3
         point = [{name='a',table='input',address=1},{name='b',table='input',address=2}]",
        "registers_max = 10
         point = [{name='b',table='input',address=20},{name='c',table='input',address=3}]",
    ];
    let files = files.map(|text| toml::from_str(text).unwrap());
    let map = Map::build(files.to_vec()).unwrap();
    let shown: Vec<_> = map
        .points
        .iter()
        .map(|p| (p.name.as_str(), p.place.address))
        .collect();
    assert_eq!(shown, [("a", 1), ("b", 20), ("c", 3)]);
    assert_eq!((map.gap, map.registers_max), (3, 10));
}

#[test]
fn checks_tell_what_stands_there_instead() {
    let map = map("
        [[check]]
        table = 'holding'
        address = 40000
        type = 'string'
        length = 2
        in = ['SunS']
        [[check]]
        table = 'holding'
        address = 40070
        in = [203, 204]")
    .unwrap();
    let [text, number] = &map.checks[..] else {
        panic!("two")
    };
    assert_eq!(text.holds(&Reply::Registers(vec![0x5375, 0x6e53])), Ok(()));
    assert_eq!(
        text.holds(&Reply::Registers(vec![0x5375, 0x6e54])),
        Err("\"SunT\"".to_owned())
    );
    assert_eq!(number.holds(&Reply::Registers(vec![204])), Ok(()));
    assert_eq!(
        number.holds(&Reply::Registers(vec![1])),
        Err("1".to_owned())
    );
}
