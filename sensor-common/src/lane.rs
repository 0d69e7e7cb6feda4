//! Comparisons without branches.
//!
//! Where a key stands in its bucket cannot be predicted, and a mispredicted branch costs more than the whole probe.
//! BPF has no conditional move, and LLVM turns masks made of comparisons back into branches: on that target the sign is
//! spread by an instruction it does not see through.

/// All ones if `x` is negative, else zero.
#[cfg(target_arch = "bpf")]
#[inline(always)]
fn sign(x: u64) -> u64 {
    let mut mask = x;
    // SAFETY: one arithmetic shift of one register.
    unsafe { core::arch::asm!("{0} s>>= 63", inout(reg) mask, options(pure, nomem, nostack)) };
    mask
}

#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
const fn sign(x: u64) -> u64 {
    ((x as i64) >> 63) as u64
}

/// All ones if the two are the same, else zero.
#[inline(always)]
pub(crate) fn same(a: u64, b: u64) -> u64 {
    let x = a ^ b;
    !sign(x | x.wrapping_neg())
}

/// The top bit of `x`, as a number.
#[cfg(target_arch = "bpf")]
#[inline(always)]
fn top(x: u64) -> u64 {
    let mut bit = x;
    // SAFETY: one shift of one register.
    unsafe { core::arch::asm!("{0} >>= 63", inout(reg) bit, options(pure, nomem, nostack)) };
    bit
}

#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
const fn top(x: u64) -> u64 {
    x >> 63
}

/// 1 if the two are the same, else 0. Newer verifiers follow a mask and a constant both ways; of this they know no more
/// than its range.
#[inline(always)]
pub(crate) fn is(a: u64, b: u64) -> u64 {
    let x = a ^ b;
    top(x | x.wrapping_neg()) ^ 1
}

/// All ones if `a` is less than `b`, else zero. Their difference must fit 63 bits.
#[inline(always)]
pub(crate) fn less(a: u64, b: u64) -> u64 {
    sign(a.wrapping_sub(b))
}

/// The smaller of two numbers below 2^63.
#[inline(always)]
pub(crate) fn least(a: u64, b: u64) -> u64 {
    b.wrapping_add(a.wrapping_sub(b) & less(a, b))
}

/// The place of `key` among the keys, counted from 1; 0 if it is not there.
#[inline(always)]
pub(crate) fn place<const N: usize>(keys: &[u64; N], key: u64) -> usize {
    let mut found = 0;
    for (index, other) in keys.iter().enumerate() {
        let mask = same(*other, key);
        found = found & !mask | (index as u64 + 1) & mask;
    }
    found as usize
}

#[cfg(test)]
mod tests {
    use super::{is, least, place, same};

    #[test]
    fn masks() {
        for (a, b) in [(0, 0), (1, 0), (u64::MAX, 0), (1 << 63, 1 << 63), (1 << 63, 0)] {
            assert_eq!(same(a, b), if a == b { u64::MAX } else { 0 }, "{a} {b}");
            assert_eq!(is(a, b), u64::from(a == b), "{a} {b}");
        }
        assert_eq!(place(&[5, 7, 0, 9], 9), 4);
        assert_eq!(place(&[5, 7, 0, 9], 0), 3);
        assert_eq!(place(&[5, 7, 0, 9], 8), 0);
        let most = (1 << 63) - 1;
        assert_eq!((least(3, 4), least(4, 3), least(most, 0), least(0, most)), (3, 3, 0, 0));
    }
}
