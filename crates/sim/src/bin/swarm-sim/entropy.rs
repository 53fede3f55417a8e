//! The entropy of this process: always the same.
//!
//! tokio draws its own seed, which decides in which order the waiters of a `watch` channel wake, from the keys of the
//! standard library's hash maps, and those come from `getrandom`. The standard library calls that through a weak symbol, so
//! that a program may define its own. This one gives the same bytes to everybody, and counts: whatever else asks for
//! entropy has slipped past `Env`.

use std::{
    ffi::{c_uint, c_void},
    sync::atomic::{AtomicU64, Ordering},
};

/// How often somebody asked.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often somebody has asked for entropy so far.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// Fills `buffer` with `length` bytes, as the function of this name in the C library does, but always with the same.
#[expect(unsafe_code, reason = "a symbol of the C library is replaced, with its signature")]
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> isize {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: whoever calls this function promises that `buffer` has room for `length` bytes.
    unsafe { buffer.cast::<u8>().write_bytes(0x5a, length) };
    isize::try_from(length).unwrap_or(isize::MAX)
}
