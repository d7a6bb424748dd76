//! What the operating system calls random is drawn from the seed on threads that simulate.
//!
//! Hash maps get their keys from there, and with them the order in which they are walked: a run could not be repeated.
//! On every other thread it must stay what it is.

use std::cell::Cell;
use std::ffi::{c_uint, c_void};
use std::mem::MaybeUninit;

thread_local! {
    /// None: this thread simulates nothing.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Bytes of the keys of a hash map: the only request that depends on the seed. Other readers keep what they draw for the
/// life of the process (keys of other crates' maps), so they are always given the same.
const MAP_KEYS_BYTES: usize = 16;

/// From now on this thread draws from `seed`. To be called before the thread makes its first map.
pub fn seed_this_thread(seed: u64) {
    SEED.set(Some(seed));
}

/// Stands in the place of the C library's function of that name, which the standard library and the `getrandom` crate
/// call.
///
/// # Safety
/// As getrandom(2): `buffer` points at `length` writable bytes.
// SAFETY of the name: the signature is that of the C library (ssize_t getrandom(void *, size_t, unsigned int)), and what
// it does is what that one promises: it fills the buffer and gives the count, or -1.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if buffer.is_null() || length == 0 {
        return 0;
    }
    // SAFETY: the caller owns `length` writable bytes at `buffer`, by the contract of getrandom(2), and nobody else
    // touches them during the call.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<MaybeUninit<u8>>(), length) };
    let Some(seed) = SEED.get() else {
        let flags = rustix::rand::GetRandomFlags::from_bits_retain(flags);
        return match rustix::rand::getrandom(bytes, flags) {
            Ok((filled, _)) => isize::try_from(filled.len()).unwrap_or(isize::MAX),
            Err(_) => -1,
        };
    };
    let seed = if length == MAP_KEYS_BYTES { seed } else { 0 };
    let mut random = crate::random::Random::new(seed);
    for chunk in bytes.chunks_mut(8) {
        for (byte, value) in chunk.iter_mut().zip(random.next().to_le_bytes()) {
            byte.write(value);
        }
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// A seed that nobody has had, small enough to be typed.
pub fn fresh_seed() -> u64 {
    let mut bytes = [0_u8; 8];
    // Where even that fails, the seeds are those of 0 on.
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    u64::from_le_bytes(bytes) % 1_000_000_000_000
}
