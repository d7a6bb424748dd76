//! The devices that the twin plays: cooling units and two makes of power meters, as registers.

use crate::frame::Table;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// How long a cooling unit takes to change its mode.
const MODE_TAKES: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Cooling,
    Eastron,
    Sunspec,
}

impl Family {
    pub fn label(self) -> &'static str {
        match self {
            Family::Cooling => "cooling",
            Family::Eastron | Family::Sunspec => "meter",
        }
    }

    pub fn profile(self) -> &'static str {
        match self {
            Family::Cooling => "cooling-unit",
            Family::Eastron => "eastron-sdm630",
            Family::Sunspec => "sunspec-meter",
        }
    }
}

pub struct Device {
    pub family: Family,
    serial: u32,
    registers: HashMap<(Table, u16), u16>,
    started: Instant,
    mode_due: Option<(Instant, u16)>,
    /// Writes that really took place, by register.
    pub effects: BTreeMap<String, u64>,
}

impl Device {
    pub fn new(family: Family, mixed: u64) -> Device {
        let mut device = Device {
            family,
            serial: u32::try_from(mixed % 90_000_000 + 10_000_000).unwrap_or(10_000_000),
            registers: HashMap::new(),
            started: Instant::now(),
            mode_due: None,
            effects: BTreeMap::new(),
        };
        match family {
            Family::Cooling => device.cooling(),
            Family::Eastron => device.eastron(),
            Family::Sunspec => device.sunspec(),
        }
        device
    }

    fn put(&mut self, table: Table, address: u16, words: &[u16]) {
        for (address, word) in (address..).zip(words) {
            self.registers.insert((table, address), *word);
        }
    }

    fn cooling(&mut self) {
        let (input, holding) = (Table::Input, Table::Holding);
        self.put(input, 0, &[210, 300, 450, 600, 350, 0x8000, 0, 0, 0, 0, 1]);
        let serial = format!("CU{:08}", self.serial);
        self.put(input, 20, &words_of(&serial, 8));
        self.put(input, 28, &[1]);
        self.put(Table::Discrete, 0, &[0, 0, 0]);
        self.put(Table::Coil, 0, &[1]);
        self.put(holding, 100, &[210, 400]);
        // Low word first.
        let limit = float(12_000.0);
        self.put(holding, 110, &[limit[1], limit[0]]);
        self.put(holding, 120, &[1, 50]);
        self.refresh();
    }

    fn eastron(&mut self) {
        // Reserved registers read as 0.
        for (from, to) in [(0, 90), (200, 210), (224, 272), (334, 382)] {
            for address in from..to {
                self.put(Table::Input, address, &[0]);
            }
        }
        let values = [
            (0, 230.4),
            (2, 231.1),
            (4, 229.8),
            (6, 10.5),
            (8, 11.25),
            (10, 9.75),
            (12, 2_400.0),
            (14, 2_580.5),
            (16, 2_210.0),
            (30, 0.99),
            (32, 0.98),
            (34, 0.99),
            (52, 7_190.5),
            (56, 7_300.0),
            (60, 420.0),
            (62, 0.985),
            (70, 50.02),
            (74, 1.5),
            (224, 0.75),
        ];
        for (address, value) in values {
            self.put(Table::Input, address, &float(value));
        }
        let serial = self.serial.to_be_bytes();
        let words = [[serial[0], serial[1]], [serial[2], serial[3]]].map(u16::from_be_bytes);
        self.put(Table::Holding, 64_512, &words);
        self.refresh();
    }

    fn sunspec(&mut self) {
        let holding = Table::Holding;
        let base = 40_000;
        self.put(holding, base, &words_of("SunS", 2));
        self.put(holding, base + 2, &[1, 66]);
        self.put(holding, base + 4, &words_of("Example Meters", 16));
        self.put(holding, base + 20, &words_of("TM-3", 16));
        self.put(holding, base + 36, &words_of("", 8));
        self.put(holding, base + 44, &words_of("2.11", 8));
        self.put(holding, base + 52, &words_of(&self.serial.to_string(), 16));
        self.put(holding, base + 68, &[1, 0x8000]);
        let mut block = vec![0x8000; 107];
        block[..2].copy_from_slice(&[203, 105]);
        block[2..7].copy_from_slice(&[3_150, 1_050, 1_125, 975, minus(2)]);
        block[7..11].copy_from_slice(&[2_304, 2_304, 2_311, 2_298]);
        block[15..18].copy_from_slice(&[minus(1), 5_002, minus(2)]);
        block[18..23].copy_from_slice(&[7_190, 2_400, 2_580, 2_210, 0]);
        block[23] = 7_300;
        block[27] = 0;
        // Reactive power is not implemented by this meter.
        block[33] = 985;
        block[37] = minus(1);
        block[38..40].copy_from_slice(&[0, 0]);
        block[54] = 0;
        self.put(holding, base + 70, &block);
        self.put(holding, base + 177, &[0xffff, 0]);
        self.refresh();
    }

    /// What moves by itself.
    fn refresh(&mut self) {
        let elapsed = self.started.elapsed().as_secs();
        let seconds = u32::try_from(elapsed).unwrap_or(u32::MAX);
        match self.family {
            Family::Cooling => {
                if let Some((at, mode)) = self.mode_due
                    && at <= Instant::now()
                {
                    self.mode_due = None;
                    self.put(Table::Input, 28, &[mode]);
                }
                let get = |at| self.registers.get(&at).copied().unwrap_or_default();
                let (on, mode) = (get((Table::Coil, 0)), get((Table::Input, 28)));
                let (supply, fan) = (get((Table::Holding, 100)), get((Table::Holding, 101)));
                let running = u16::from(on == 1 && mode == 1);
                let hours = 12_345 + seconds / 3_600;
                let bytes = hours.to_be_bytes();
                let high = u16::from_be_bytes([bytes[0], bytes[1]]);
                let low = u16::from_be_bytes([bytes[2], bytes[3]]);
                self.put(Table::Input, 0, &[supply.wrapping_add(2)]);
                self.put(Table::Input, 3, &[fan.max(600) * running]);
                self.put(Table::Input, 6, &[low, high]);
                self.put(Table::Input, 8, &float(f32::from(running) * 8_400.0));
                self.put(Table::Input, 10, &[running]);
            }
            Family::Eastron => {
                let energy = float(1_234.5 + seconds as f32 / 500.0);
                self.put(Table::Input, 72, &energy);
            }
            Family::Sunspec => {
                let energy = (1_234_500 + seconds * 2).to_be_bytes();
                let words = [[energy[0], energy[1]], [energy[2], energy[3]]];
                self.put(Table::Holding, 40_116, &words.map(u16::from_be_bytes));
            }
        }
    }

    /// None when one of the addresses is not there.
    pub fn read(&mut self, table: Table, address: u16, count: u16) -> Option<Vec<u16>> {
        self.refresh();
        let end = address.checked_add(count.checked_sub(1)?)?;
        (address..=end)
            .map(|at| self.registers.get(&(table, at)).copied())
            .collect()
    }

    /// Whether there is such a register to write.
    pub fn has(&self, table: Table, address: u16, count: usize) -> bool {
        let there = |at: u32| {
            let at = u16::try_from(at).ok()?;
            self.registers.get(&(table, at)).copied()
        };
        let from = u32::from(address);
        (from..from + count as u32).all(|at| there(at).is_some())
    }

    pub fn write(&mut self, table: Table, address: u16, words: &[u16]) {
        *self.effects.entry("point.set".to_owned()).or_default() += 1;
        let place = format!("{table}.{address}");
        *self.effects.entry(place).or_default() += 1;
        self.put(table, address, words);
        if self.family == Family::Cooling && (table, address) == (Table::Holding, 120) {
            let mode = words.first().copied().unwrap_or_default();
            self.mode_due = Some((Instant::now() + MODE_TAKES, mode));
        }
    }

    /// Vendor, product code, revision, and model for those who have it.
    pub fn identification(&self) -> Option<Vec<(u8, String)>> {
        let objects = [
            (0, "Example Cooling"),
            (1, "CU-30"),
            (2, "1.4.2"),
            (4, "CoolUnit"),
            (5, "CoolUnit 30"),
        ];
        (self.family == Family::Cooling)
            .then(|| objects.map(|(id, text)| (id, text.to_owned())).to_vec())
    }
}

fn float(value: f32) -> [u16; 2] {
    let bytes = value.to_be_bytes();
    [[bytes[0], bytes[1]], [bytes[2], bytes[3]]].map(u16::from_be_bytes)
}

/// A negative power of ten in two's complement.
fn minus(n: u16) -> u16 {
    0u16.wrapping_sub(n)
}

fn words_of(text: &str, length: usize) -> Vec<u16> {
    let byte = |at: usize| text.as_bytes().get(at).copied().unwrap_or(0);
    (0..length)
        .map(|at| u16::from_be_bytes([byte(at * 2), byte(at * 2 + 1)]))
        .collect()
}
