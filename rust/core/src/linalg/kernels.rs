//! The table of kernels of each instruction set: thin `#[target_feature]` shells around the generic bodies.

use std::ops::Range;

use super::dense::{self, Dense};
use super::epilogue::{self, DenseRows};
use super::gemm::Columns;
use super::limits::{self, ReadPattern};
use super::optimizer_update::{self, Slots, Update};
use super::outer::{self, Left, Right, Sizes, Target};
use super::pack;
use super::rows::{self, Block, Dropout, Slopes};
use crate::activation::Epilogue;
use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::simd::math::ExpConstants;
use crate::simd::{Isa, Lanes};

/// Everything that runs on lanes, for one element type on one instruction set. The functions are only as safe as the
/// table is right: it is handed out by [`kernels`], which checks that the CPU has the instruction set.
pub struct Kernels<T> {
    isa: Isa,
    dense: unsafe fn(&Dense<T>, Columns<T>),
    #[cfg_attr(not(test), allow(dead_code, reason = "the ULP tests call the functions by themselves"))]
    finish: Finish<T>,
    softmax: unsafe fn(&mut [T]),
    product: unsafe fn(Sizes, Left<T>, Right<T>, Target<T>),
    panel: usize,
    registers: usize,
    all_finite: unsafe fn(&[T]) -> bool,
    read: unsafe fn(&[T], ReadPattern) -> T,
    multiply_add: unsafe fn(usize) -> (T, usize),
    exp: unsafe fn(&mut [T]),
    pack_transposed: unsafe fn(*const T, usize, Range<usize>, *mut T),
    pack: unsafe fn(*const T, (usize, usize), Range<usize>, *mut T),
    activate_rows: ActivateRows<T>,
    slope_rows: unsafe fn(Block<T>, Slopes<T>),
    drop_out: unsafe fn(u32, Dropout<T>, &mut [T], &mut [T]),
    copy_and_sum_columns: unsafe fn(Block<T>, Block<T>, bool, &mut [T]),
    copy_normal: unsafe fn(&[T], &mut [T]),
    sum_of_squares: unsafe fn(&[T]) -> f64,
    update: unsafe fn(&Update<T>, Slots<T>),
}

/// The type of [`epilogue::finish`] without its token.
type Finish<T> = unsafe fn(DenseRows<T>, &Epilogue<T>, &[T], &mut [T]);

/// The type of [`rows::activate_rows`] without its token.
type ActivateRows<T> = unsafe fn(&[T], &Epilogue<T>, Block<T>, Option<Block<T>>);

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
    pub(crate) unsafe fn dense(&self, work: &Dense<T>, out: Columns<T>) {
        // SAFETY: the caller's promise; and `kernels` has checked that the CPU has the instruction set of this table,
        // so in the methods below.
        unsafe { (self.dense)(work, out) }
    }

    #[cfg(test)]
    /// See [`epilogue::finish`].
    pub(crate) fn finish(&self, rows: DenseRows<T>, epilogue: &Epilogue<T>, x: &[T], z: &mut [T]) {
        // SAFETY: as above.
        unsafe { (self.finish)(rows, epilogue, x, z) }
    }

    /// See [`epilogue::softmax`].
    pub(crate) fn softmax(&self, z: &mut [T]) {
        // SAFETY: as above.
        unsafe { (self.softmax)(z) }
    }

    /// See [`outer::product`].
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub(crate) unsafe fn product(&self, sizes: Sizes, a: Left<T>, b: Right<T>, c: Target<T>) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.product)(sizes, a, b, c) }
    }

    /// Columns of a panel of B in [`Kernels::product`].
    pub(crate) fn panel(&self) -> usize {
        self.panel
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

    /// See [`limits::read`].
    pub(crate) fn read(&self, data: &[T], pattern: ReadPattern) -> T {
        // SAFETY: as above.
        unsafe { (self.read)(data, pattern) }
    }

    /// See [`limits::multiply_add`].
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
    pub(crate) unsafe fn pack_transposed(&self, weight: *const T, inputs: usize, outputs: Range<usize>, to: *mut T) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.pack_transposed)(weight, inputs, outputs, to) }
    }

    /// See [`pack::pack`]; the sizes are (inputs, outputs).
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn pack(&self, weight: *const T, sizes: (usize, usize), outputs: Range<usize>, to: *mut T) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.pack)(weight, sizes, outputs, to) }
    }

    /// See [`rows::activate_rows`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn activate_rows(
        &self,
        bias: &[T],
        epilogue: &Epilogue<T>,
        values: Block<T>,
        slopes: Option<Block<T>>,
    ) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.activate_rows)(bias, epilogue, values, slopes) }
    }

    /// See [`rows::slope_rows`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn slope_rows(&self, d: Block<T>, slopes: Slopes<T>) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.slope_rows)(d, slopes) }
    }

    /// See [`rows::drop_out`].
    pub(crate) fn drop_out(&self, key: u32, dropout: Dropout<T>, values: &mut [T], slopes: &mut [T]) {
        // SAFETY: as above.
        unsafe { (self.drop_out)(key, dropout, values, slopes) }
    }

    /// See [`rows::copy_and_sum_columns`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn copy_and_sum_columns(&self, d: Block<T>, to: Block<T>, accumulate: bool, sums: &mut [T]) {
        // SAFETY: the caller's promise, and as above.
        unsafe { (self.copy_and_sum_columns)(d, to, accumulate, sums) }
    }

    /// See [`rows::copy_normal`].
    pub(crate) fn copy_normal(&self, from: &[T], to: &mut [T]) {
        // SAFETY: as above.
        unsafe { (self.copy_normal)(from, to) }
    }

    /// See [`rows::sum_of_squares`].
    pub(crate) fn sum_of_squares(&self, values: &[T]) -> f64 {
        // SAFETY: as above.
        unsafe { (self.sum_of_squares)(values) }
    }

    /// See [`optimizer_update::update`].
    pub(crate) fn update(&self, by: &Update<T>, slots: Slots<T>) {
        // SAFETY: as above.
        unsafe { (self.update)(by, slots) }
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
            unsafe fn dense<T: ExpConstants>(work: &Dense<T>, out: Columns<T>)
            where
                $token: Lanes<T>,
            {
                // SAFETY: as above.
                unsafe { dense::dense(<$token>::new(), work, out) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn product<T: ExpConstants>(sizes: Sizes, a: Left<T>, b: Right<T>, c: Target<T>)
            where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { outer::product(<$token>::new(), sizes, a, b, c) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn finish<T: ExpConstants>(rows: DenseRows<T>, epilogue: &Epilogue<T>, x: &[T], z: &mut [T])
            where $token: Lanes<T> {
                // SAFETY: as above.
                epilogue::finish(unsafe { <$token>::new() }, rows, epilogue, x, z)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn softmax<T: ExpConstants>(z: &mut [T]) where $token: Lanes<T> {
                // SAFETY: as above.
                epilogue::softmax(unsafe { <$token>::new() }, z)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn all_finite<T: ExpConstants>(z: &[T]) -> bool where $token: Lanes<T> {
                // SAFETY: as above.
                epilogue::all_finite(unsafe { <$token>::new() }, z)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn exp<T: ExpConstants>(z: &mut [T]) where $token: Lanes<T> {
                // SAFETY: as above.
                epilogue::exp(unsafe { <$token>::new() }, z)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn read<T: ExpConstants>(data: &[T], pattern: ReadPattern) -> T where $token: Lanes<T> {
                // SAFETY: as above.
                limits::read(unsafe { <$token>::new() }, data, pattern)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn multiply_add<T: ExpConstants>(rounds: usize) -> (T, usize) where $token: Lanes<T> {
                // SAFETY: as above.
                limits::multiply_add(unsafe { <$token>::new() }, rounds)
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn pack_transposed<T: ExpConstants>(
                weight: *const T, inputs: usize, outputs: Range<usize>, to: *mut T,
            ) where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { pack::pack_transposed(<$token>::new(), weight, inputs, outputs, to) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn pack<T: ExpConstants>(
                weight: *const T, sizes: (usize, usize), outputs: Range<usize>, to: *mut T,
            ) where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { pack::pack(<$token>::new(), weight, sizes, outputs, to) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn activate_rows<T: ExpConstants>(
                bias: &[T], epilogue: &Epilogue<T>, values: Block<T>, slopes: Option<Block<T>>,
            ) where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { rows::activate_rows(<$token>::new(), bias, epilogue, values, slopes) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn slope_rows<T: ExpConstants>(d: Block<T>, slopes: Slopes<T>) where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { rows::slope_rows(<$token>::new(), d, slopes) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn drop_out<T: ExpConstants>(key: u32, dropout: Dropout<T>, values: &mut [T], slopes: &mut [T]) {
                rows::drop_out(key, dropout, values, slopes)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn copy_and_sum_columns<T: ExpConstants>(d: Block<T>, to: Block<T>, accumulate: bool, sums: &mut [T])
            where $token: Lanes<T> {
                // SAFETY: as above, and the caller's promise.
                unsafe { rows::copy_and_sum_columns(<$token>::new(), d, to, accumulate, sums) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn copy_normal<T: ExpConstants>(from: &[T], to: &mut [T]) {
                rows::copy_normal(from, to)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn sum_of_squares<T: ExpConstants>(values: &[T]) -> f64 {
                rows::sum_of_squares(values)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn update<T: ExpConstants>(by: &Update<T>, slots: Slots<T>) where $token: Lanes<T> {
                // SAFETY: as above.
                optimizer_update::update(unsafe { <$token>::new() }, by, slots)
            }

            pub(super) const fn table<T: ExpConstants>() -> Kernels<T> where $token: Lanes<T> {
                Kernels {
                    isa: $isa,
                    panel: outer::panel::<T, $token>(),
                    registers: <$token as Lanes<T>>::REGISTERS,
                    dense, product, finish, softmax, all_finite, exp, read, multiply_add, pack_transposed, pack,
                    activate_rows, slope_rows, drop_out, copy_and_sum_columns, copy_normal, sum_of_squares, update,
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
