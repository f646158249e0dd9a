//! What follows a product while its sums are in cache: bias, overflow repair, activation and scale; and softmax.

use super::elementwise::exp;
use crate::activation::{Epilogue, activate};
use crate::scalar::Scalar;
use crate::simd::dispatch::{Operation, SafeOperation};
use crate::simd::math::{self, MathConstants};
use crate::simd::{Lanes, MAX_LANES, N_SUMS};

/// `z[j] = activation(z[j] + bias[j]) * scale` in place.
///
/// A sum z that is not finite is replaced by `repair(j, z)`. It must have overflowed, because weights and inputs are
/// finite; [`saturating_dot`] computes it.
#[inline(always)]
pub(crate) fn apply_epilogue<T: MathConstants, S: Lanes<T>>(
    s: S,
    bias: &[T],
    epilogue: &Epilogue<T>,
    repair: impl Fn(usize, T) -> T,
    z: &mut [T],
) {
    debug_assert!(bias.len() == z.len());
    let (full, biases, out) = (z.len() / S::N * S::N, bias.as_ptr(), z.as_mut_ptr());
    let mut j = 0;
    while j < full {
        // SAFETY: j + N <= full, which is at most the length of z and of bias.
        unsafe {
            let mut v = s.add(s.load(out.add(j)), s.load(biases.add(j)));
            if !s.all_finite(v) {
                s.store(out.add(j), v);
                repair_sums(&repair, j, &mut z[j..j + S::N]);
                v = s.load(out.add(j));
            }
            s.store(out.add(j), activate(s, epilogue, v));
        }
        j += S::N;
    }
    let rest = z.len() - full;
    if rest > 0 {
        // SAFETY: full + rest is the length of z and of bias.
        unsafe {
            let mut v = s.add(s.load_first(out.add(full), rest), s.load_first(biases.add(full), rest));
            if !s.all_finite(v) {
                s.store_first(out.add(full), v, rest);
                repair_sums(&repair, full, &mut z[full..]);
                v = s.load_first(out.add(full), rest);
            }
            s.store_first(out.add(full), activate(s, epilogue, v), rest);
        }
    }
}

/// The softmax of rows of at most [`Lanes::N`] outputs, each in a register: twice as fast as through memory, because
/// rows do not wait for one another (`rust/core/TUNING.md`, "Softmax").
#[inline(always)]
fn softmax_in_registers<T: MathConstants, S: Lanes<T>>(s: S, z: &mut [T], outputs: usize) {
    let ones = [T::from_f64(1.0); MAX_LANES];
    // SAFETY: S::N is at most MAX_LANES. A row has `outputs` <= S::N elements.
    unsafe {
        let (mask, lowest) = (s.load_up_to(ones.as_ptr(), outputs), s.splat(-T::MAX));
        for rows in z.chunks_mut(N_SUMS * outputs) {
            let mut exps = [s.splat(T::ZERO); N_SUMS];
            for (row, exps) in rows.chunks_exact(outputs).zip(&mut exps) {
                let shifted = s.sub(s.load_up_to(row.as_ptr(), outputs), s.splat(largest(row)));
                // Masked before and after: exp could overflow in the unused lanes.
                *exps = s.mul(math::exp(s, s.mul(s.max(lowest, shifted), mask)), mask);
            }
            let sums = s.horizontal_sums(exps);
            for ((row, exps), sum) in rows.chunks_exact_mut(outputs).zip(exps).zip(sums) {
                s.store_up_to(row.as_mut_ptr(), s.div(exps, s.splat(sum)), outputs);
            }
        }
    }
}

#[inline(always)]
fn largest<T: Scalar>(values: &[T]) -> T {
    values.iter().copied().fold(-T::MAX, |m, v| if v > m { v } else { m })
}

/// Replaces the sums that are not finite; `sums[0]` belongs to output `first`.
#[cold]
#[inline(never)]
fn repair_sums<T: Scalar>(repair: &impl Fn(usize, T) -> T, first: usize, sums: &mut [T]) {
    for (j, sum) in (first..).zip(sums).filter(|(_, sum)| !sum.is_finite()) {
        *sum = repair(j, *sum);
    }
}

/// w . x + b without intermediate overflow, clamped to the finite values of `T`; `w(i)` is the weight of input i.
///
/// Both vectors are scaled by a power of two to magnitudes of at most 2, and the sum is scaled back. The scaling
/// underflows only terms far below one rounding error of the sum.
pub(crate) fn saturating_dot<T: Scalar>(w: impl Fn(usize) -> T, x: &[T], b: T) -> T {
    let (w_exponent, x_exponent) = (exponent((0..x.len()).map(&w)), exponent(x.iter().copied()));
    let scaled = |value: T, exponent: i32| scale_by_power_of_two(value.to_f64(), -exponent);
    let mut sum = scale_by_power_of_two(scaled(b, w_exponent), -x_exponent);
    for (i, &x) in x.iter().enumerate() {
        sum += scaled(w(i), w_exponent) * scaled(x, x_exponent);
    }
    let sum = scale_by_power_of_two(sum, w_exponent + x_exponent);
    T::from_f64(sum.clamp(-T::MAX.to_f64(), T::MAX.to_f64()))
}

/// The largest binary exponent among `values`; 0 if all are zero.
fn exponent<T: Scalar>(values: impl Iterator<Item = T>) -> i32 {
    let largest = values.fold(0.0, |m: f64, v| m.max(v.to_f64().abs()));
    if largest > 0.0 { largest.log2().floor() as i32 } else { 0 }
}

/// value * 2^exponent, in two factors so that 2^exponent itself cannot overflow.
fn scale_by_power_of_two(value: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    value * 2f64.powi(half) * 2f64.powi(exponent - half)
}

/// exp(z_i - max) / sum_j exp(z_j - max) of each row, in place.
pub(crate) struct Softmax<'a, T> {
    /// Rows of `outputs` elements.
    pub z: &'a mut [T],
    pub outputs: usize,
}

impl<T: MathConstants> Operation<T> for Softmax<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let Softmax { z, outputs } = self;
        if outputs <= S::N {
            return softmax_in_registers(s, z, outputs);
        }
        for z in z.chunks_exact_mut(outputs) {
            let largest = largest(z);
            for v in z.iter_mut() {
                *v = if *v - largest < -T::MAX { -T::MAX } else { *v - largest };
            }
            exp(s, z);
            let sum = z.iter().copied().fold(T::ZERO, |a, b| a + b);
            for v in z {
                *v = *v / sum;
            }
        }
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: MathConstants> SafeOperation<T> for Softmax<'_, T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naive;
    use crate::simd::Isa;
    use crate::simd::dispatch::{Dispatch, kernels};

    fn softmax<T: Dispatch>(isa: Isa, z: &[f64], outputs: usize) -> Vec<f64> {
        let mut z: Vec<T> = z.iter().map(|&v| T::from_f64(v)).collect();
        kernels(isa).expect("available").run(Softmax { z: &mut z, outputs });
        z.into_iter().map(T::to_f64).collect()
    }

    fn check<T: Dispatch>(isa: Isa) {
        for outputs in 1..=20 {
            for offset in [0.0, -500.0, 1e30, -3e38] {
                let z: Vec<f64> = (0..11 * outputs).map(|i| offset + (i * i % 13) as f64).collect();
                let got = softmax::<T>(isa, &z, outputs);
                for (row, (z, got)) in z.chunks(outputs).zip(got.chunks(outputs)).enumerate() {
                    // As T rounds them.
                    let rounded: Vec<f64> = z.iter().map(|&v| T::from_f64(v).to_f64()).collect();
                    let want = naive::softmax(&rounded);
                    let close = got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-6);
                    assert!(close, "{} {isa:?} {outputs} outputs, row {row}: {got:?}, not {want:?}", T::NAME);
                    assert_eq!(softmax::<T>(isa, z, outputs), got, "{} {isa:?}: a row alone", T::NAME);
                }
            }
            // NaN stays, in its row only.
            let mut z = vec![1.0; 3 * outputs];
            z[outputs] = f64::NAN;
            let got = softmax::<T>(isa, &z, outputs);
            assert!(got[outputs].is_nan(), "{} {isa:?} {outputs}", T::NAME);
            let of_others = got[..outputs].iter().chain(&got[2 * outputs..]);
            assert!(of_others.copied().all(|p| (p * outputs as f64 - 1.0).abs() < 1e-5), "{isa:?} {outputs}");
        }
    }

    #[test]
    fn softmax_of_any_number_of_outputs() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            check::<f32>(isa);
            check::<f64>(isa);
        }
    }
}
