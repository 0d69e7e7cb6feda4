//! Fixed-point numbers: shares in parts per million, evidence in millionths of a nat (natural logarithm).
//!
//! Decisions must be the same, bit by bit, on every machine; floats appear only where answers for people are built.

/// One whole, in parts per million.
pub const WHOLE_PPM: u64 = 1_000_000;

/// One nat of evidence.
pub const NAT: i64 = 1_000_000;

/// ln 2 with 32 fractional bits.
const LN_2: u128 = 2_977_044_472;

/// Binary logarithm with 32 fractional bits; 0 counts as 1.
///
/// One bit of the fraction per squaring of the mantissa (Knuth, The Art of Computer Programming 1, exercise 1.2.2-25).
fn binary_logarithm(x: u64) -> u64 {
    let x = x.max(1);
    let whole = u64::from(x.ilog2());
    // The mantissa, 1 <= m < 2, with 63 fractional bits.
    let mut mantissa = u128::from(x) << (63 - whole);
    let mut result = whole;
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        result <<= 1;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            result |= 1;
        }
    }
    result
}

/// Natural logarithm of `numerator / denominator`, in millionths of a nat; zeros count as ones. Off by at most one
/// millionth.
#[must_use]
pub fn ln(numerator: u64, denominator: u64) -> i64 {
    let (a, b) = (binary_logarithm(numerator), binary_logarithm(denominator));
    let magnitude = (u128::from(a.abs_diff(b)) * LN_2 * u128::from(WHOLE_PPM) + (1 << 63)) >> 64;
    let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
    if a >= b { magnitude } else { -magnitude }
}

/// `part` of `whole` in parts per million, rounded down; nothing of nothing is nothing.
#[must_use]
pub fn share_ppm(part: u64, whole: u64) -> u64 {
    scale(part, WHOLE_PPM, whole)
}

/// `value * times / by`, rounded down, saturating; 0 if `by` is 0.
#[must_use]
pub fn scale(value: u64, times: u64, by: u64) -> u64 {
    let product = u128::from(value) * u128::from(times);
    product.checked_div(u128::from(by)).map_or(0, |q| u64::try_from(q).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{NAT, ln, scale, share_ppm};

    #[test]
    fn logarithms_agree_with_floating_point() {
        for (n, d) in [(1, 1), (2, 1), (1, 2), (4, 1), (1_060_000, 1_000_000), (u64::MAX, 1), (1, u64::MAX), (7, 1000)]
        {
            let float = ((n as f64).ln() - (d as f64).ln()) * NAT as f64;
            assert!((ln(n, d) as f64 - float).abs() <= 1.0, "ln({n}/{d}) = {} not {float}", ln(n, d));
        }
        assert_eq!(ln(0, 0), 0);
    }

    #[test]
    fn shares_never_divide_by_zero_nor_overflow() {
        assert_eq!(share_ppm(1, 0), 0);
        assert_eq!(share_ppm(1, 2), 500_000);
        assert_eq!(scale(u64::MAX, u64::MAX, 1), u64::MAX);
    }
}
