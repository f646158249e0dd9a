//! The table of kernels of each instruction set: thin `#[target_feature]` shells around the generic bodies.

use std::ops::Range;

use super::dense::{self, Dense};
use super::elementwise::{self, Derivatives, Dropout};
use super::epilogue;
use super::optimizer_update::{self, ParameterArrays, Update};
use super::pack;
use super::packed_gemm;
use super::peaks::{self, ReadPattern};
use super::view::{Lhs, Out, Rhs, View, ViewMut};
use crate::activation::Epilogue;
use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::simd::math::ExpConstants;
use crate::simd::{Isa, Lanes};

/// Everything that runs on lanes, for one element type on one instruction set. The functions are only as safe as the
/// table is right: it is handed out by [`kernels`], which checks that the CPU has the instruction set.
pub struct Kernels<T> {
    isa: Isa,
    dense: unsafe fn(&Dense<T>, ViewMut<T>),
    #[cfg_attr(not(test), allow(dead_code, reason = "the ULP tests call the functions by themselves"))]
    apply_epilogue: ApplyEpilogue<T>,
    softmax: unsafe fn(&mut [T]),
    packed_gemm: unsafe fn(Lhs<T>, Rhs<T>, Out<T>),
    nr: usize,
    registers: usize,
    all_finite: unsafe fn(&[T]) -> bool,
    read_memory: unsafe fn(&[T], ReadPattern) -> T,
    multiply_add: unsafe fn(usize) -> (T, usize),
    exp: unsafe fn(&mut [T]),
    pack_transposed: unsafe fn(View<T>, Range<usize>, *mut T),
    pack: unsafe fn(View<T>, Range<usize>, *mut T),
    activation_forward: ActivationForward<T>,
    activation_backward: unsafe fn(ViewMut<T>, Derivatives<T>),
    apply_dropout: unsafe fn(u32, Dropout<T>, &mut [T], &mut [T]),
    copy_and_sum_columns: unsafe fn(ViewMut<T>, ViewMut<T>, bool, &mut [T]),
    copy_without_denormals: unsafe fn(&[T], &mut [T]),
    sum_of_squares: unsafe fn(&[T]) -> f64,
    optimizer_update: unsafe fn(&Update<T>, ParameterArrays<T>),
}

/// The type of [`epilogue::apply_epilogue`] without its token.
type ApplyEpilogue<T> = unsafe fn(View<T>, &[T], &Epilogue<T>, &[T], &mut [T]);

/// The type of [`elementwise::activation_forward`] without its token.
type ActivationForward<T> = unsafe fn(&[T], &Epilogue<T>, ViewMut<T>, Option<ViewMut<T>>);

/// The element types that have kernels.
pub trait Dispatch: Scalar {
    #[doc(hidden)]
    fn table(isa: Isa) -> &'static Kernels<Self>;
}

/// The kernels of `isa` for `T`.
///
/// # Errors
/// [`Error::Invalid`] if this CPU lacks it.
pub(crate) fn kernels<T: Dispatch>(isa: Isa) -> Result<&'static Kernels<T>> {
    if !isa.is_available() {
        return Err(Error::invalid("isa", "an instruction set that this CPU has", isa.name()));
    }
    Ok(T::table(isa))
}

impl<T: Scalar> Kernels<T> {
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// See [`dense::dense`].
    ///
    /// # Safety
    /// `out` has as many rows as the inputs and as many columns as there are rows of weights, and nobody else uses them.
    #[inline]
    pub(crate) unsafe fn dense(&self, work: &Dense<T>, out: ViewMut<T>) {
        // SAFETY: the caller's promise; and `kernels` has checked that the CPU has the instruction set of this table,
        // so in the methods below.
        unsafe { (self.dense)(work, out) }
    }

    #[cfg(test)]
    /// See [`epilogue::apply_epilogue`].
    pub(crate) fn apply_epilogue(&self, weight: View<T>, bias: &[T], epilogue: &Epilogue<T>, x: &[T], z: &mut [T]) {
        // SAFETY: as above.
        unsafe { (self.apply_epilogue)(weight, bias, epilogue, x, z) }
    }

    /// See [`epilogue::softmax`].
    pub(crate) fn softmax(&self, z: &mut [T]) {
        // SAFETY: as above.
        unsafe { (self.softmax)(z) }
    }

    /// See [`packed_gemm::packed_gemm`].
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub(crate) unsafe fn packed_gemm(&self, lhs: Lhs<T>, rhs: Rhs<T>, out: Out<T>) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.packed_gemm)(lhs, rhs, out) }
    }

    /// Columns of a nr of B in [`Kernels::packed_gemm`].
    pub(crate) fn nr(&self) -> usize {
        self.nr
    }

    /// Vector registers of the instruction set.
    pub(crate) fn registers(&self) -> usize {
        self.registers
    }

    /// Whether no element is infinite or NaN.
    #[inline]
    pub(crate) fn all_finite(&self, z: &[T]) -> bool {
        // SAFETY: as above.
        unsafe { (self.all_finite)(z) }
    }

    /// See [`peaks::read_memory`].
    pub(crate) fn read_memory(&self, data: &[T], pattern: ReadPattern) -> T {
        // SAFETY: as above.
        unsafe { (self.read_memory)(data, pattern) }
    }

    /// See [`peaks::multiply_add`].
    pub(crate) fn multiply_add(&self, rounds: usize) -> (T, usize) {
        // SAFETY: as above.
        unsafe { (self.multiply_add)(rounds) }
    }

    /// exp of each.
    pub(crate) fn exp(&self, z: &mut [T]) {
        // SAFETY: as above.
        unsafe { (self.exp)(z) }
    }

    /// See [`pack::pack_transposed`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn pack_transposed(&self, weight: View<T>, outputs: Range<usize>, to: *mut T) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.pack_transposed)(weight, outputs, to) }
    }

    /// See [`pack::pack`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn pack(&self, weight: View<T>, outputs: Range<usize>, to: *mut T) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.pack)(weight, outputs, to) }
    }

    /// See [`elementwise::activation_forward`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn activation_forward(
        &self,
        bias: &[T],
        epilogue: &Epilogue<T>,
        values: ViewMut<T>,
        derivatives: Option<ViewMut<T>>,
    ) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.activation_forward)(bias, epilogue, values, derivatives) }
    }

    /// See [`elementwise::activation_backward`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn activation_backward(&self, d: ViewMut<T>, derivatives: Derivatives<T>) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.activation_backward)(d, derivatives) }
    }

    /// See [`elementwise::apply_dropout`].
    pub(crate) fn apply_dropout(&self, key: u32, dropout: Dropout<T>, values: &mut [T], derivatives: &mut [T]) {
        // SAFETY: as above.
        unsafe { (self.apply_dropout)(key, dropout, values, derivatives) }
    }

    /// See [`elementwise::copy_and_sum_columns`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn copy_and_sum_columns(&self, d: ViewMut<T>, to: ViewMut<T>, accumulate: bool, sums: &mut [T]) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.copy_and_sum_columns)(d, to, accumulate, sums) }
    }

    /// See [`elementwise::copy_without_denormals`].
    pub(crate) fn copy_without_denormals(&self, from: &[T], to: &mut [T]) {
        // SAFETY: as above.
        unsafe { (self.copy_without_denormals)(from, to) }
    }

    /// See [`elementwise::sum_of_squares`].
    pub(crate) fn sum_of_squares(&self, values: &[T]) -> f64 {
        // SAFETY: as above.
        unsafe { (self.sum_of_squares)(values) }
    }

    /// See [`optimizer_update::optimizer_update`].
    pub(crate) fn optimizer_update(&self, update: &Update<T>, arrays: ParameterArrays<T>) {
        // SAFETY: as above.
        unsafe { (self.optimizer_update)(update, arrays) }
    }
}

/// The shells and the table of one instruction set, compiled for `features` where it needs any.
macro_rules! shells {
    ($name:ident, $token:ty, $isa:expr $(, $features:literal)?) => {
        mod $name {
            // SAFETY of every shell: only called through a table, which `kernels` hands out where the CPU has the
            // instruction set; and compiled for its features here.
            use super::*;

            $(#[target_feature(enable = $features)])?
            unsafe fn dense<T: ExpConstants>(work: &Dense<T>, out: ViewMut<T>)
            where
                $token: Lanes<T>,
            {
                // SAFETY: as above.
                unsafe { dense::dense(<$token>::new(), work, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn packed_gemm<T: ExpConstants>(lhs: Lhs<T>, rhs: Rhs<T>, out: Out<T>)
            where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { packed_gemm::packed_gemm(<$token>::new(), lhs, rhs, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn apply_epilogue<T: ExpConstants>(weight: View<T>, bias: &[T], epilogue: &Epilogue<T>, x: &[T], z: &mut [T])
            where $token: Lanes<T> {
                // SAFETY: as above.
                epilogue::apply_epilogue(unsafe { <$token>::new() }, weight, bias, epilogue, x, z)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn softmax<T: ExpConstants>(z: &mut [T]) where $token: Lanes<T> {
                // SAFETY: as above.
                epilogue::softmax(unsafe { <$token>::new() }, z)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn all_finite<T: ExpConstants>(z: &[T]) -> bool where $token: Lanes<T> {
                // SAFETY: as above.
                elementwise::all_finite(unsafe { <$token>::new() }, z)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn exp<T: ExpConstants>(z: &mut [T]) where $token: Lanes<T> {
                // SAFETY: as above.
                elementwise::exp(unsafe { <$token>::new() }, z)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn read_memory<T: ExpConstants>(data: &[T], pattern: ReadPattern) -> T where $token: Lanes<T> {
                // SAFETY: as above.
                peaks::read_memory(unsafe { <$token>::new() }, data, pattern)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn multiply_add<T: ExpConstants>(rounds: usize) -> (T, usize) where $token: Lanes<T> {
                // SAFETY: as above.
                peaks::multiply_add(unsafe { <$token>::new() }, rounds)
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn pack_transposed<T: ExpConstants>(
                weight: View<T>, outputs: Range<usize>, to: *mut T,
            ) where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { pack::pack_transposed(<$token>::new(), weight, outputs, to) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn pack<T: ExpConstants>(
                weight: View<T>, outputs: Range<usize>, to: *mut T,
            ) where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { pack::pack(<$token>::new(), weight, outputs, to) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn activation_forward<T: ExpConstants>(
                bias: &[T], epilogue: &Epilogue<T>, values: ViewMut<T>, derivatives: Option<ViewMut<T>>,
            ) where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { elementwise::activation_forward(<$token>::new(), bias, epilogue, values, derivatives) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn activation_backward<T: ExpConstants>(d: ViewMut<T>, derivatives: Derivatives<T>) where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { elementwise::activation_backward(<$token>::new(), d, derivatives) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn apply_dropout<T: ExpConstants>(key: u32, dropout: Dropout<T>, values: &mut [T], derivatives: &mut [T]) {
                elementwise::apply_dropout(key, dropout, values, derivatives)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn copy_and_sum_columns<T: ExpConstants>(d: ViewMut<T>, to: ViewMut<T>, accumulate: bool, sums: &mut [T])
            where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { elementwise::copy_and_sum_columns(<$token>::new(), d, to, accumulate, sums) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn copy_without_denormals<T: ExpConstants>(from: &[T], to: &mut [T]) {
                elementwise::copy_without_denormals(from, to)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn sum_of_squares<T: ExpConstants>(values: &[T]) -> f64 {
                elementwise::sum_of_squares(values)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn optimizer_update<T: ExpConstants>(update: &Update<T>, arrays: ParameterArrays<T>) where $token: Lanes<T> {
                // SAFETY: as above.
                optimizer_update::optimizer_update(unsafe { <$token>::new() }, update, arrays)
            }

            pub(super) const fn table<T: ExpConstants>() -> Kernels<T> where $token: Lanes<T> {
                Kernels {
                    isa: $isa,
                    nr: packed_gemm::nr::<T, $token>(),
                    registers: <$token as Lanes<T>>::REGISTERS,
                    dense, packed_gemm, apply_epilogue, softmax, all_finite, exp, read_memory, multiply_add, pack_transposed, pack,
                    activation_forward, activation_backward, apply_dropout, copy_and_sum_columns, copy_without_denormals, sum_of_squares, optimizer_update,
                }
            }
        }
    };
}

shells!(scalar, crate::simd::portable::Portable, Isa::Scalar);
#[cfg(target_arch = "x86_64")]
shells!(avx2, crate::simd::avx2::Avx2, Isa::Avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
shells!(avx512, crate::simd::avx512::Avx512, Isa::Avx512, "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma");
#[cfg(target_arch = "aarch64")]
shells!(neon, crate::simd::neon::Neon, Isa::Neon, "neon");

macro_rules! dispatch {
    ($t:ident) => {
        impl Dispatch for $t {
            fn table(isa: Isa) -> &'static Kernels<$t> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => const { &avx512::table() },
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => const { &avx2::table() },
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => const { &neon::table() },
                    _ => const { &scalar::table() },
                }
            }
        }
    };
}
dispatch!(f32);
dispatch!(f64);
