//! Random numbers for jitter and trace ids: fast, seeded from the system, not for secrets.
use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
};

thread_local! {
    /// SplitMix64's state; `RandomState` takes its keys from the system's random numbers.
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}

/// Makes this thread's numbers repeatable: for simulations.
pub fn seed(seed: u64) {
    STATE.with(|state| state.set(seed));
}

/// 64 random bits (SplitMix64).
pub fn u64() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// 32 random bits.
pub fn u32() -> u32 {
    (u64() & 0xffff_ffff) as u32
}

/// Random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(8) {
        let random = u64().to_le_bytes();
        chunk.copy_from_slice(&random[..chunk.len()]);
    }
    bytes
}

/// A number uniform in 0..1.
#[allow(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds")]
pub fn unit() -> f64 {
    (u64() >> 11) as f64 / (1u64 << 53) as f64
}
