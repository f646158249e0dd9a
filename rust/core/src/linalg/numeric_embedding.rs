//! The numeric embedding of single columns, forward and backward: x and three sums of sixteen cosines of x.
//!
//! For column c with value x, in the notation of "PBLD" (Holzmuller, Grinsztajn, Steinwart, "Better by default", 2024)
//! but with phases in turns:
//!
//! ```text
//! u_k = w1[c][k] x + b1[c][k]                          for k below FREQUENCIES
//! e_o = sum over k of w2[c][o][k] cos(2 pi u_k) + b2[c][o]      for o below EMBEDDED
//! ```
//!
//! A row of inputs (x_0, ..., x_(n-1)) becomes (x_0, ..., x_(n-1), e of column 0, e of column 1, ...). Only the first
//! columns are embedded. Lanes run over k; sums over rows have a fixed order.

use super::view::{View, ViewMut};
use crate::simd::dispatch::Operation;
use crate::simd::math::{MathConstants, sin_cos_of_turns};
use crate::simd::{Lanes, N_SUMS};

/// The number of cosines of each column. A multiple of the lanes of every instruction set.
pub(crate) const FREQUENCIES: usize = 16;

/// The number of features that the embedding adds for each column.
pub(crate) const EMBEDDED: usize = 3;

/// The number of parameters for each embedded input.
pub(crate) const PARAMETERS_PER_INPUT: usize = 2 * FREQUENCIES + EMBEDDED * (FREQUENCIES + 1);

/// The parameters of an embedding of n columns, or arrays of the same shapes.
pub struct EmbeddingArrays<P> {
    /// (n, FREQUENCIES), in turns per unit of x.
    pub w1: P,
    /// (n, FREQUENCIES), in turns.
    pub b1: P,
    /// (n, EMBEDDED, FREQUENCIES)
    pub w2: P,
    /// (n, EMBEDDED)
    pub b2: P,
}

impl<P: Copy> Clone for EmbeddingArrays<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Copy> Copy for EmbeddingArrays<P> {}

/// `out` (rows, inputs + EMBEDDED n) from `x` (rows, inputs), whose first n columns are embedded. Sums that overflow
/// become the largest finite number.
///
/// # Safety
/// The elements of `x` and `out` exist, those of `out` are not read or written by others meanwhile, and the parameters
/// are those of n columns.
pub(crate) struct EmbeddingForward<'a, T> {
    pub parameters: EmbeddingArrays<&'a [T]>,
    pub x: View<'a, T>,
    pub out: ViewMut<T>,
}

impl<T: MathConstants> Operation<T> for EmbeddingForward<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let EmbeddingForward { parameters: EmbeddingArrays { w1, b1, w2, b2 }, x, out } = self;
        let inputs = x.cols();
        for row in 0..x.rows() {
            // SAFETY: the caller's promise.
            let out = unsafe { out.row(row) };
            let (same, embedded) = out.split_at_mut(inputs);
            same.copy_from_slice(x.row(row));
            for (c, e) in embedded.chunks_exact_mut(EMBEDDED).enumerate() {
                let value = s.splat(same[c]);
                let mut sums = [s.splat(T::ZERO); N_SUMS];
                for k in (0..FREQUENCIES).step_by(S::N) {
                    // SAFETY: the parameters of column c exist, and N divides FREQUENCIES.
                    unsafe {
                        let at = c * FREQUENCIES + k;
                        let u = s.mul_add(s.load(w1.as_ptr().add(at)), value, s.load(b1.as_ptr().add(at)));
                        let (_, cos) = sin_cos_of_turns(s, u);
                        for (o, sum) in sums.iter_mut().take(EMBEDDED).enumerate() {
                            let w2 = w2.as_ptr().add((c * EMBEDDED + o) * FREQUENCIES + k);
                            *sum = s.mul_add(s.load(w2), cos, *sum);
                        }
                    }
                }
                let sums = s.horizontal_sums(sums);
                for (o, e) in e.iter_mut().enumerate() {
                    let sum = sums[o] + b2[c * EMBEDDED + o];
                    *e = if sum.is_finite() {
                        sum
                    } else if sum < T::ZERO {
                        -T::MAX
                    } else {
                        T::MAX
                    };
                }
            }
        }
    }
}

/// The gradients of the loss with respect to the parameters of column `column`, summed over the rows, from the deltas
/// `d` (rows, inputs + EMBEDDED n), which are dLoss/d(out), and the inputs `x` (rows, inputs). `parameters` and
/// `gradient` have the arrays of this column only; the sums are added to the values of `gradient` if `accumulate`.
///
/// # Safety
/// As for [`EmbeddingForward`], for all operands; nothing else uses `gradient` meanwhile.
pub(crate) struct EmbeddingBackward<'a, T> {
    pub parameters: EmbeddingArrays<&'a [T]>,
    pub gradient: EmbeddingArrays<*mut T>,
    pub x: View<'a, T>,
    pub d: View<'a, T>,
    pub column: usize,
    pub accumulate: bool,
}

impl<T: MathConstants> Operation<T> for EmbeddingBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let EmbeddingBackward { parameters: p, gradient, x, d, column: c, accumulate } = self;
        let first = x.cols() + c * EMBEDDED;
        // SAFETY: the caller's promise; N divides FREQUENCIES.
        unsafe {
            for k in (0..FREQUENCIES).step_by(S::N) {
                let (w1, b1) = (s.load(p.w1.as_ptr().add(k)), s.load(p.b1.as_ptr().add(k)));
                let (mut dw1, mut db1) = (s.splat(T::ZERO), s.splat(T::ZERO));
                let (mut w2, mut dw2) = ([s.splat(T::ZERO); EMBEDDED], [s.splat(T::ZERO); EMBEDDED]);
                for (o, w2) in w2.iter_mut().enumerate() {
                    *w2 = s.load(p.w2.as_ptr().add(o * FREQUENCIES + k));
                }
                if accumulate {
                    (dw1, db1) = (s.load(gradient.w1.add(k)), s.load(gradient.b1.add(k)));
                    for (o, dw2) in dw2.iter_mut().enumerate() {
                        *dw2 = s.load(gradient.w2.add(o * FREQUENCIES + k));
                    }
                }
                for row in 0..x.rows() {
                    let value = s.splat(*x.at(row, c));
                    let (sin, cos) = sin_cos_of_turns(s, s.mul_add(w1, value, b1));
                    let mut du = s.splat(T::ZERO);
                    for o in 0..EMBEDDED {
                        let delta = s.splat(*d.at(row, first + o));
                        dw2[o] = s.mul_add(delta, cos, dw2[o]);
                        du = s.mul_add(delta, w2[o], du);
                    }
                    let du = s.mul(s.mul(du, sin), s.splat(T::from_f64(-std::f64::consts::TAU)));
                    dw1 = s.mul_add(du, value, dw1);
                    db1 = s.add(db1, du);
                }
                s.store(gradient.w1.add(k), dw1);
                s.store(gradient.b1.add(k), db1);
                for (o, dw2) in dw2.into_iter().enumerate() {
                    s.store(gradient.w2.add(o * FREQUENCIES + k), dw2);
                }
            }
            for o in 0..EMBEDDED {
                let db2 = gradient.b2.add(o);
                if !accumulate {
                    *db2 = T::ZERO;
                }
                for row in 0..x.rows() {
                    *db2 += *d.at(row, first + o);
                }
            }
        }
    }
}

/// dLoss/dX (rows, inputs) of an embedding of `n` columns, from the deltas `d` (rows, inputs + EMBEDDED n) and the
/// inputs `x` (rows, inputs).
///
/// # Safety
/// As for [`EmbeddingForward`].
pub(crate) struct EmbeddingInputGradient<'a, T> {
    pub parameters: EmbeddingArrays<&'a [T]>,
    pub x: View<'a, T>,
    pub d: View<'a, T>,
    pub dx: ViewMut<T>,
}

impl<T: MathConstants> Operation<T> for EmbeddingInputGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let EmbeddingInputGradient { parameters: p, x, d, dx } = self;
        let inputs = x.cols();
        for row in 0..x.rows() {
            let (x, d) = (x.row(row), d.row(row));
            // SAFETY: the caller's promise; N divides FREQUENCIES.
            unsafe {
                let dx = dx.row(row);
                dx.copy_from_slice(&d[..inputs]);
                for (c, deltas) in d[inputs..].chunks_exact(EMBEDDED).enumerate() {
                    let mut sums = [s.splat(T::ZERO); N_SUMS];
                    for k in (0..FREQUENCIES).step_by(S::N) {
                        let at = c * FREQUENCIES + k;
                        let w1 = s.load(p.w1.as_ptr().add(at));
                        let u = s.mul_add(w1, s.splat(x[c]), s.load(p.b1.as_ptr().add(at)));
                        let (sin, _) = sin_cos_of_turns(s, u);
                        let mut du = s.splat(T::ZERO);
                        for (o, delta) in deltas.iter().enumerate() {
                            let w2 = s.load(p.w2.as_ptr().add((c * EMBEDDED + o) * FREQUENCIES + k));
                            du = s.mul_add(s.splat(*delta), w2, du);
                        }
                        sums[0] = s.mul_add(s.mul(du, sin), w1, sums[0]);
                    }
                    dx[c] += s.horizontal_sums(sums)[0] * T::from_f64(-std::f64::consts::TAU);
                }
            }
        }
    }
}
