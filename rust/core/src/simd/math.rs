//! exp, tanh, the logistic function, sine and cosine on lanes, in f32 and f64: at most 2 ULP from the correctly rounded
//! value.
//!
//! The first three use one reduction, x = k ln 2 + r with |r| <= ln(2) / 2 (Cody and Waite 1980, ln 2 in two parts so
//! that k times the larger is exact), and one polynomial for exp(r) - 1. Its coefficients are the Chebyshev approximation
//! of (exp(r) - 1 - r) / r^2, with an error of 5e-10 for f32 and 5e-19 for f64, far below half an ULP.

use super::Lanes;
use crate::scalar::Scalar;

/// The constants of one element type.
pub trait MathConstants: Scalar {
    /// 1.5 * 2^(mantissa bits). Adding it to a small number rounds that to an integer, in the low bits of the sum.
    const ROUND: Self;
    /// [`MathConstants::ROUND`] plus the exponent bias.
    const ROUND_BIASED: Self;
    const LOG2_E: Self;
    /// ln 2 in few enough bits that k times it is exact.
    const LN2_HIGH: Self;
    /// ln 2 - LN2_HIGH
    const LN2_LOW: Self;
    /// Above it exp is infinite. Small enough that 2^k is the product of two powers in range.
    const EXP_MAX: Self;
    /// Below it exp rounds to 0.
    const EXP_MIN: Self;
    /// From it on tanh rounds to 1.
    const TANH_ONE: Self;
    /// The coefficients of (exp(r) - 1 - r) / r^2 in powers of r, the constant first.
    const POLYNOMIAL: &'static [Self];
    /// The coefficients of (tanh(x) / x - 1) / x^2 in powers of x^2, the constant first, for |x| below 0.3.
    const TANH_POLYNOMIAL: &'static [Self];
    /// From this number of turns on, sine and cosine are those of 0: larger numbers have no bit below 1/2.
    const MAX_TURNS: Self;
    /// The number nearest to 2 pi.
    const TAU: Self;
    /// The coefficients of sin(2 pi t) / t - TAU in powers of t^2, the constant first, for |t| up to 1/8.
    const SINE_POLYNOMIAL: &'static [Self];
    /// The coefficients of (cos(2 pi t) - 1) / t^2 in powers of t^2, the constant first, for |t| up to 1/8.
    const COSINE_POLYNOMIAL: &'static [Self];
}

#[expect(clippy::excessive_precision, reason = "all computed digits; the compiler rounds them")]
impl MathConstants for f32 {
    const ROUND: f32 = 12_582_912.0;
    const ROUND_BIASED: f32 = 12_582_912.0 + 127.0;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2_HIGH: f32 = 0.693_145_75;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    const EXP_MAX: f32 = 89.0;
    const EXP_MIN: f32 = -104.0;
    const TANH_ONE: f32 = 9.1;
    const POLYNOMIAL: &'static [f32] =
        &[0.5, 0.166_666_666_8, 0.041_666_464_6, 0.008_333_310_89, 0.001_393_368_586, 0.000_198_910_306_5];
    const TANH_POLYNOMIAL: &'static [f32] = &[-0.333_333_329, 0.133_331_814, -0.053_883_591_6, 0.020_345_983_6];
    const MAX_TURNS: f32 = 4_194_304.0;
    const TAU: f32 = std::f32::consts::TAU;
    const SINE_POLYNOMIAL: &'static [f32] =
        &[-1.7487275e-7, -41.341_702_153, 81.605_204_711, -76.697_866_350, 41.472_833_240];
    const COSINE_POLYNOMIAL: &'static [f32] = &[-19.739_208_790, 64.939_369_051, -85.448_820_090, 59.424_105_982];
}

#[expect(clippy::excessive_precision, reason = "as above")]
impl MathConstants for f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const ROUND_BIASED: f64 = 6_755_399_441_055_744.0 + 1023.0;
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const LN2_HIGH: f64 = 0.693_147_180_559_208_2;
    const LN2_LOW: f64 = 7.371_002_565_167_819e-13;
    const EXP_MAX: f64 = 710.0;
    const EXP_MIN: f64 = -746.0;
    const TANH_ONE: f64 = 19.1;
    const POLYNOMIAL: &'static [f64] = &[
        0.5,
        0.166_666_666_666_666_71,
        0.041_666_666_666_666_670,
        0.008_333_333_333_326_112,
        0.001_388_888_888_888_373_2,
        0.000_198_412_698_749_012_6,
        2.480_158_732_560_532_3e-5,
        2.755_725_529_796_964_4e-6,
        2.755_727_357_010_214e-7,
        2.510_525_953_844_849_3e-8,
        2.091_471_734_171_637_6e-9,
    ];
    const TANH_POLYNOMIAL: &'static [f64] = &[
        -0.333_333_333_333_333_3,
        0.133_333_333_333_293_74,
        -0.053_968_253_959_032_904,
        0.021_869_487_716_914_82,
        -0.008_863_199_718_875_432,
        0.003_591_275_335_465_642,
        -0.001_444_518_895_336_823,
        0.000_510_682_950_285_152_5,
    ];
    const MAX_TURNS: f64 = 2_251_799_813_685_248.0;
    const TAU: f64 = std::f64::consts::TAU;
    const SINE_POLYNOMIAL: &'static [f64] = &[
        2.4491814e-16,
        -41.341_702_240_399_760_142,
        81.605_249_276_074_930_668,
        -76.705_859_752_998_126_730,
        42.058_693_928_988_783_438,
        -15.094_640_403_891_545_649,
        3.819_788_120_163_211_422_9,
        -0.711_635_809_078_166_599_65,
    ];
    const COSINE_POLYNOMIAL: &'static [f64] = &[
        -19.739_208_802_178_717_238,
        64.939_394_022_668_291_459,
        -85.456_817_206_693_684_583,
        60.244_641_371_854_563_322,
        -26.426_256_777_817_400_247,
        7.903_535_612_338_960_179_5,
        -1.714_333_269_420_992_080_9,
        0.279_740_786_065_750_405_08,
    ];
}

/// (k, r, c) with x = k ln 2 + r and exp(r) = 1 + r + c. k is a whole number as a float; c is small, and compensates
/// for the rounding error of r. |x| must be small enough for 2^k to be finite.
#[inline(always)]
fn reduce<T: MathConstants, S: Lanes<T>>(s: S, x: S::V) -> (S::V, S::V, S::V) {
    let k = s.sub(s.mul_add(x, s.splat(T::LOG2_E), s.splat(T::ROUND)), s.splat(T::ROUND));
    let high = s.mul_add(k, s.splat(-T::LN2_HIGH), x);
    let low = s.mul(k, s.splat(T::LN2_LOW));
    let r = s.sub(high, low);
    let lost = s.sub(s.sub(high, r), low);
    (k, r, s.mul_add(s.mul(r, r), polynomial(s, T::POLYNOMIAL, r), lost))
}

/// The polynomial with these coefficients, the constant first (Horner).
#[inline(always)]
fn polynomial<T: Scalar, S: Lanes<T>>(s: S, coefficients: &[T], x: S::V) -> S::V {
    let mut value = s.splat(coefficients[coefficients.len() - 1]);
    for c in coefficients.iter().rev().skip(1) {
        value = s.mul_add(value, x, s.splat(*c));
    }
    value
}

/// 2^k for a whole number k, if 2^k is a normal number.
#[inline(always)]
fn power_of_two<T: MathConstants, S: Lanes<T>>(s: S, k: S::V) -> S::V {
    s.low_bits_to_exponent(s.add(k, s.splat(T::ROUND_BIASED)))
}

/// exp(x) to 0.6 ULP: subnormal or 0 far below 0, infinite above ln(MAX), NaN for NaN.
#[inline(always)]
pub(crate) fn exp<T: MathConstants, S: Lanes<T>>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(T::EXP_MIN), s.min(s.splat(T::EXP_MAX), x));
    let (k, r, c) = reduce(s, x);
    // 1 + r + c, compensated for the rounding error of 1 + r (Dekker 1971).
    let sum = s.add(s.splat(T::ONE), r);
    let lost = s.add(s.sub(s.splat(T::ONE), sum), r);
    let mantissa = s.add(sum, s.add(lost, c));
    // 2^k as two factors, so that no intermediate value overflows near MAX or underflows below MIN_POSITIVE.
    let half = s.sub(s.mul_add(k, s.splat(T::from_f64(0.5)), s.splat(T::ROUND)), s.splat(T::ROUND));
    let (first, second) = (power_of_two(s, half), power_of_two(s, s.sub(k, half)));
    s.mul(s.mul(mantissa, first), second)
}

/// exp(x) - 1 for x <= 0, without the cancellation near 0.
#[inline(always)]
pub(crate) fn expm1_of_negative<T: MathConstants, S: Lanes<T>>(s: S, x: S::V) -> S::V {
    // Below -2 TANH_ONE the result rounds to -1.
    let (k, r, c) = reduce(s, s.max(s.splat(-(T::TANH_ONE + T::TANH_ONE)), x));
    let power = power_of_two(s, k);
    s.mul_add(power, s.add(r, c), s.sub(power, s.splat(T::ONE)))
}

/// tanh(x) = t / (t + 2) with t = exp(2 |x|) - 1, with the sign of x.
///
/// For |x| below 0.3 the rounding errors of t, t + 2 and the quotient add up to 2.3 ULP, so x + x^3 P(x^2) is used
/// there.
#[inline(always)]
pub(crate) fn tanh<T: MathConstants, S: Lanes<T>>(s: S, x: S::V) -> S::V {
    let magnitude = s.min(s.splat(T::TANH_ONE), s.abs(x));
    let (k, r, c) = reduce(s, s.add(magnitude, magnitude));
    let power = power_of_two(s, k);
    let t = s.mul_add(power, s.add(r, c), s.sub(power, s.splat(T::ONE)));
    let large = s.div(t, s.add(t, s.splat(T::from_f64(2.0))));
    let square = s.mul(magnitude, magnitude);
    let small = s.mul_add(s.mul(magnitude, square), polynomial(s, T::TANH_POLYNOMIAL, square), magnitude);
    s.copysign(s.select_less(magnitude, s.splat(T::from_f64(0.3)), small, large), x)
}

/// The logistic function of x = -z, 1 / (1 + exp(z)), for a z that the caller has clipped to finite exp. For z > 0 it
/// is computed as exp(-z) / (1 + exp(-z)), which rounds less.
#[inline(always)]
pub(crate) fn logistic_of_negated<T: MathConstants, S: Lanes<T>>(s: S, z: S::V) -> S::V {
    let (zero, one) = (s.splat(T::ZERO), s.splat(T::ONE));
    let e = exp(s, s.sub(zero, s.abs(z)));
    let denominator = s.add(one, e);
    let q = s.div(s.select_less(zero, z, e, one), denominator);
    // The rounding error of 1 + e, times -dq/d(denominator) = q / denominator: 1.8 ULP instead of 2.0.
    let lost = s.sub(e, s.sub(denominator, one));
    let inverse = s.select_less(zero, z, s.sub(one, q), q);
    s.sub(q, s.mul(s.mul(q, inverse), lost))
}

/// sin(2 pi u) and cos(2 pi u): u counts turns, so that reducing it to an eighth of a turn is exact for any magnitude.
#[inline(always)]
pub(crate) fn sin_cos_of_turns<T: MathConstants, S: Lanes<T>>(s: S, u: S::V) -> (S::V, S::V) {
    let u = clamp_magnitude(s, T::MAX_TURNS, u);
    let r = s.sub(u, s.sub(s.add(u, s.splat(T::ROUND)), s.splat(T::ROUND)));
    // |r| is at most 1/2; t is its distance from the nearest quarter.
    let magnitude = s.abs(r);
    let from_quarter = s.sub(magnitude, s.splat(T::from_f64(0.25)));
    let from_half = s.sub(magnitude, s.splat(T::from_f64(0.5)));
    let t = by_quarter(s, magnitude, [magnitude, from_quarter, from_half]);
    let square = s.mul(t, t);
    let sin = s.mul_add(t, s.splat(T::TAU), s.mul(t, polynomial(s, T::SINE_POLYNOMIAL, square)));
    let cos = s.mul_add(square, polynomial(s, T::COSINE_POLYNOMIAL, square), s.splat(T::ONE));
    let (minus_sin, minus_cos) = (s.sub(s.splat(T::ZERO), sin), s.sub(s.splat(T::ZERO), cos));
    let sin_of_magnitude = by_quarter(s, magnitude, [sin, cos, minus_sin]);
    (s.copysign(sin_of_magnitude, r), by_quarter(s, magnitude, [cos, minus_sin, minus_cos]))
}

/// The value for the quarter that is nearest to `magnitude`: 0, 1/4 or 1/2.
#[inline(always)]
fn by_quarter<T: Scalar, S: Lanes<T>>(s: S, magnitude: S::V, [zero, one, two]: [S::V; 3]) -> S::V {
    let others = s.select_less(magnitude, s.splat(T::from_f64(0.375)), one, two);
    s.select_less(magnitude, s.splat(T::from_f64(0.125)), zero, others)
}

/// v clamped to plus or minus `bound`; NaN stays NaN.
#[inline(always)]
pub(crate) fn clamp_magnitude<T: Scalar, S: Lanes<T>>(s: S, bound: T, v: S::V) -> S::V {
    s.max(s.splat(-bound), s.min(s.splat(bound), v))
}

/// v^2 with v clamped to plus or minus `bound`.
#[inline(always)]
pub(crate) fn clamped_square<T: Scalar, S: Lanes<T>>(s: S, bound: T, v: S::V) -> S::V {
    let v = clamp_magnitude(s, bound, v);
    s.mul(v, v)
}
