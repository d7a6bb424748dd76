//! One PDU that does not exist: its objects, its outlets, and what commands do to them. Knows nothing of messages.

use async_snmp::{ErrorStatus, Oid, Value, VarBind};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub const OUTLETS: u32 = 8;
/// A cycled outlet stays off this long.
const CYCLE_OFF: Duration = Duration::from_millis(2_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// PowerNet-MIB, rPDU2 tables and the older rPDU outlet tables beside them.
    Apc,
    /// EATON-EPDU-MIB.
    Eaton,
}

/// What stands behind an OID.
#[derive(Debug, Clone)]
enum Object {
    Fixed(Value),
    UpTime,
    /// `on`, `off` are the family's numbers.
    OutletState {
        outlet: usize,
        on: i32,
        off: i32,
    },
    /// Eaton's: off 0, on 1, pendingOff 2, pendingOn 3.
    OutletStateWithPending(usize),
    OutletPending {
        outlet: usize,
        yes: i32,
        no: i32,
    },
    /// APC's: one object, the number is the command.
    Command(usize),
    /// Eaton's: one object per command, the number is a delay.
    Countdown(usize, Do),
    /// Milliamperes, watts and so on, following the outlets that are on.
    Load {
        per_outlet: f64,
        wave: f64,
    },
    Energy {
        start: u32,
        per_second: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Do {
    On,
    Off,
    Cycle,
}

#[derive(Debug, Clone, Default)]
struct Outlet {
    on: bool,
    /// What is still to come, in order.
    plan: Vec<(Instant, bool)>,
}

pub struct Device {
    objects: Vec<(Oid, Object)>,
    outlets: Mutex<Vec<Outlet>>,
    effects: Mutex<BTreeMap<String, u64>>,
    started: Instant,
    /// From a command to its effect.
    lag: Duration,
}

impl Device {
    /// The same number gives the same device.
    pub fn new(name: &str, family: Family, number: u64) -> Device {
        let mut objects = system(name, family, number);
        match family {
            Family::Apc => apc(&mut objects, number),
            Family::Eaton => eaton(&mut objects, number),
        }
        objects.sort_by(|a, b| a.0.cmp(&b.0));
        let outlets = vec![
            Outlet {
                on: true,
                plan: Vec::new()
            };
            OUTLETS as usize
        ];
        Device {
            objects,
            outlets: Mutex::new(outlets),
            effects: Mutex::new(BTreeMap::new()),
            started: Instant::now(),
            lag: Duration::from_millis(100 + number.wrapping_mul(2_654_435_761) % 400),
        }
    }

    pub fn get(&self, oid: &Oid) -> Value {
        match self.objects.binary_search_by(|(o, _)| o.cmp(oid)) {
            Ok(at) => self.value(&self.objects[at].1),
            Err(_) => Value::NoSuchInstance,
        }
    }

    /// The first object after `oid`.
    pub fn next(&self, oid: &Oid) -> VarBind {
        let at = self.objects.partition_point(|(o, _)| o <= oid);
        match self.objects.get(at) {
            Some((oid, object)) => VarBind::new(oid.clone(), self.value(object)),
            None => VarBind::new(oid.clone(), Value::EndOfMibView),
        }
    }

    /// Carries out a SET. `ignored`: acknowledges and does nothing.
    ///
    /// # Errors
    /// As a device would.
    pub fn set(&self, oid: &Oid, value: &Value, ignored: bool) -> Result<(), ErrorStatus> {
        let at = self.objects.binary_search_by(|(o, _)| o.cmp(oid));
        let Some((_, object)) = at.ok().and_then(|at| self.objects.get(at)) else {
            return Err(ErrorStatus::NoCreation);
        };
        let number = value.as_i32();
        let (outlet, what) = match object {
            Object::Command(outlet) => match number.ok_or(ErrorStatus::WrongType)? {
                1 => (*outlet, Do::On),
                2 => (*outlet, Do::Off),
                3 => (*outlet, Do::Cycle),
                _ => return Err(ErrorStatus::WrongValue),
            },
            Object::Countdown(outlet, what) => match number.ok_or(ErrorStatus::WrongType)? {
                0.. => (*outlet, *what),
                _ => return Err(ErrorStatus::WrongValue),
            },
            _ => return Err(ErrorStatus::NotWritable),
        };
        if !ignored {
            self.act(outlet, what);
        }
        Ok(())
    }

    /// How often each effect took place.
    pub fn effects(&self) -> BTreeMap<String, u64> {
        self.effects.lock().clone()
    }

    fn act(&self, outlet: usize, what: Do) {
        let at = Instant::now() + self.lag;
        let (name, plan) = match what {
            Do::On => ("outlet.on", vec![(at, true)]),
            Do::Off => ("outlet.off", vec![(at, false)]),
            Do::Cycle => ("outlet.cycle", vec![(at, false), (at + CYCLE_OFF, true)]),
        };
        self.settled()[outlet].plan = plan;
        *self.effects.lock().entry(name.to_owned()).or_insert(0) += 1;
    }

    /// The outlets as of now.
    fn settled(&self) -> parking_lot::MutexGuard<'_, Vec<Outlet>> {
        let now = Instant::now();
        let mut outlets = self.outlets.lock();
        for outlet in outlets.iter_mut() {
            while let Some((at, on)) = outlet.plan.first().copied() {
                if at > now {
                    break;
                }
                outlet.on = on;
                outlet.plan.remove(0);
            }
        }
        outlets
    }

    fn value(&self, object: &Object) -> Value {
        let seconds = self.started.elapsed().as_secs_f64();
        let next = |outlet: usize| {
            let outlets = self.settled();
            (outlets[outlet].on, outlets[outlet].plan.first().copied())
        };
        match object {
            Object::Fixed(value) => value.clone(),
            Object::UpTime => Value::TimeTicks((123_456_789.0 + seconds * 100.0) as u32),
            Object::OutletState { outlet, on, off } => {
                Value::Integer(if next(*outlet).0 { *on } else { *off })
            }
            Object::OutletStateWithPending(outlet) => Value::Integer(match next(*outlet) {
                (_, Some((_, true))) => 3,
                (_, Some((_, false))) => 2,
                (true, None) => 1,
                (false, None) => 0,
            }),
            Object::OutletPending { outlet, yes, no } => {
                Value::Integer(if next(*outlet).1.is_some() { *yes } else { *no })
            }
            Object::Command(outlet) => Value::Integer(if next(*outlet).0 { 1 } else { 2 }),
            Object::Countdown(..) => Value::Integer(-1),
            Object::Load { per_outlet, wave } => {
                let on = self.settled().iter().filter(|o| o.on).count() as f64;
                let swing = 1.0 + 0.05 * (seconds / 30.0 + wave).sin();
                Value::Gauge32((on * per_outlet * swing) as u32)
            }
            Object::Energy { start, per_second } => {
                Value::Gauge32(start.wrapping_add((seconds * per_second) as u32))
            }
        }
    }
}

fn text(text: &str) -> Object {
    Object::Fixed(Value::OctetString(text.to_owned().into()))
}

fn oid(text: &str) -> Oid {
    // The twin's own OIDs, tried by its tests; an empty one would only be an object that nobody asks for.
    Oid::parse(text).unwrap_or_else(|_| Oid::empty())
}

fn system(name: &str, family: Family, number: u64) -> Vec<(Oid, Object)> {
    let (descr, id) = match family {
        Family::Apc => ("APC Web/SNMP Management Card", "1.3.6.1.4.1.318.1.3.4.6"),
        Family::Eaton => (
            "Eaton ePDU MA 1P IN:C20 16A OUT:8xC13",
            "1.3.6.1.4.1.534.6.6.7",
        ),
    };
    let row = number / 40 + 1;
    vec![
        (oid("1.3.6.1.2.1.1.1.0"), text(descr)),
        (
            oid("1.3.6.1.2.1.1.2.0"),
            Object::Fixed(Value::ObjectIdentifier(oid(id))),
        ),
        (oid("1.3.6.1.2.1.1.3.0"), Object::UpTime),
        (oid("1.3.6.1.2.1.1.4.0"), text("facilities")),
        (oid("1.3.6.1.2.1.1.5.0"), text(name)),
        (oid("1.3.6.1.2.1.1.6.0"), text(&format!("row {row}"))),
    ]
}

fn apc(objects: &mut Vec<(Oid, Object)>, number: u64) {
    let ident = "1.3.6.1.4.1.318.1.1.26.2.1";
    let mut add = |at: String, object: Object| objects.push((oid(&at), object));
    add(format!("{ident}.3.1"), text(&format!("pdu {number}")));
    add(format!("{ident}.6.1"), text("v7.1.2"));
    add(format!("{ident}.8.1"), text("AP8941"));
    add(format!("{ident}.9.1"), text(&format!("ZA{number:010}")));
    let wave = number as f64;
    // Hundredths of a kilowatt; tenths of a kilowatt hour.
    let device = "1.3.6.1.4.1.318.1.1.26.4.3.1";
    add(format!("{device}.4.1"), Object::Fixed(Value::Integer(2)));
    add(
        format!("{device}.5.1"),
        Object::Load {
            per_outlet: 23.0,
            wave,
        },
    );
    add(
        format!("{device}.9.1"),
        Object::Energy {
            start: 81_234,
            per_second: 0.005,
        },
    );
    let phase = "1.3.6.1.4.1.318.1.1.26.6.3.1";
    add(format!("{phase}.2.1"), Object::Fixed(Value::Integer(1)));
    add(format!("{phase}.3.1"), Object::Fixed(Value::Integer(1)));
    add(format!("{phase}.4.1"), Object::Fixed(Value::Integer(2)));
    add(
        format!("{phase}.5.1"),
        Object::Load {
            per_outlet: 10.0,
            wave,
        },
    );
    add(format!("{phase}.6.1"), Object::Fixed(Value::Integer(230)));
    add(
        format!("{phase}.7.1"),
        Object::Load {
            per_outlet: 23.0,
            wave,
        },
    );
    for n in 1..=OUTLETS {
        let outlet = (n - 1) as usize;
        let state = "1.3.6.1.4.1.318.1.1.26.9.2.3.1";
        add(format!("{state}.3.{n}"), text(&format!("Outlet {n}")));
        add(
            format!("{state}.4.{n}"),
            Object::Fixed(Value::Integer(n as i32)),
        );
        // rPDU2 says off 1, on 2; the older rPDU says on 1, off 2.
        add(
            format!("{state}.5.{n}"),
            Object::OutletState {
                outlet,
                on: 2,
                off: 1,
            },
        );
        add(
            format!("{state}.6.{n}"),
            Object::OutletPending {
                outlet,
                yes: 1,
                no: 2,
            },
        );
        let command = "1.3.6.1.4.1.318.1.1.26.9.2.4.1.5";
        add(format!("{command}.{n}"), Object::Command(outlet));
        let old = "1.3.6.1.4.1.318.1.1.12.3.5.1.1";
        add(format!("{old}.2.{n}"), text(&format!("Outlet {n}")));
        add(
            format!("{old}.4.{n}"),
            Object::OutletState {
                outlet,
                on: 1,
                off: 2,
            },
        );
        add(
            format!("{old}.5.{n}"),
            Object::OutletPending {
                outlet,
                yes: 1,
                no: 2,
            },
        );
        let command = "1.3.6.1.4.1.318.1.1.12.3.3.1.1.4";
        add(format!("{command}.{n}"), Object::Command(outlet));
    }
}

fn eaton(objects: &mut Vec<(Oid, Object)>, number: u64) {
    let unit = "1.3.6.1.4.1.534.6.6.7.1.2.1";
    let mut add = |at: String, object: Object| objects.push((oid(&at), object));
    add(format!("{unit}.2.0"), text("ePDU MA"));
    add(format!("{unit}.3.0"), text("EMAB04"));
    add(format!("{unit}.4.0"), text(&format!("U{number:09}")));
    add(format!("{unit}.5.0"), text("04.02.0010"));
    add(format!("{unit}.6.0"), text(&format!("pdu {number}")));
    let wave = number as f64;
    let input = "1.3.6.1.4.1.534.6.6.7.3";
    // Tenths of a hertz, millivolts, milliamperes, watts, watt hours.
    add(
        format!("{input}.1.1.3.0.1"),
        Object::Fixed(Value::Integer(500)),
    );
    add(
        format!("{input}.2.1.3.0.1.1"),
        Object::Fixed(Value::Integer(230_400)),
    );
    add(
        format!("{input}.3.1.4.0.1.1"),
        Object::Load {
            per_outlet: 980.0,
            wave,
        },
    );
    add(
        format!("{input}.5.1.4.0.1"),
        Object::Load {
            per_outlet: 226.0,
            wave,
        },
    );
    add(
        format!("{input}.5.1.5.0.1"),
        Object::Energy {
            start: 8_123_456,
            per_second: 0.5,
        },
    );
    for n in 1..=OUTLETS {
        let outlet = (n - 1) as usize;
        let outlets = "1.3.6.1.4.1.534.6.6.7.6";
        add(
            format!("{outlets}.1.1.3.0.{n}"),
            text(&format!("Outlet {n}")),
        );
        add(
            format!("{outlets}.4.1.3.0.{n}"),
            Object::Load {
                per_outlet: 122.0,
                wave,
            },
        );
        add(
            format!("{outlets}.5.1.3.0.{n}"),
            Object::Load {
                per_outlet: 28.0,
                wave,
            },
        );
        add(
            format!("{outlets}.5.1.4.0.{n}"),
            Object::Energy {
                start: 1_000_000,
                per_second: 0.06,
            },
        );
        add(
            format!("{outlets}.6.1.2.0.{n}"),
            Object::OutletStateWithPending(outlet),
        );
        add(
            format!("{outlets}.6.1.3.0.{n}"),
            Object::Countdown(outlet, Do::Off),
        );
        add(
            format!("{outlets}.6.1.4.0.{n}"),
            Object::Countdown(outlet, Do::On),
        );
        add(
            format!("{outlets}.6.1.5.0.{n}"),
            Object::Countdown(outlet, Do::Cycle),
        );
    }
}
