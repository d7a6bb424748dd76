//! Numbers as PostgreSQL keeps them: its integers are signed.

/// A number that is compared by order in SQL.
pub fn ordered(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The number stored by `ordered`.
pub fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A page size asked by a caller, as SQL wants it.
pub fn page(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A count of small things.
pub fn small(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A random number from the operating system: names that no other process has chosen.
pub fn random() -> i64 {
    let mut bytes = [0; 8];
    // Without randomness the clock still tells two processes apart.
    if getrandom::fill(&mut bytes).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanoseconds = now.map_or(0, |n| n.subsec_nanos());
        bytes = (u64::from(nanoseconds) << 32 | u64::from(std::process::id())).to_le_bytes();
    }
    i64::from_le_bytes(bytes)
}

/// Between half of `most` and `most`, so that many who wait do not come back at once.
pub fn jittered(most: std::time::Duration) -> std::time::Duration {
    let part = f64::from((random() as u32) >> 8) / f64::from(1 << 24);
    most.mul_f64(0.5 + part / 2.0)
}
