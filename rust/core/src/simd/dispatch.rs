//! Running an operation on an instruction set: one trait, and one `#[target_feature]` shell per instruction set.
//!
//! An operation is a struct of its arguments that implements [`Operation`]. [`Kernels::run`] matches on the instruction
//! set once and calls its shell, into which [`Operation::run`] is inlined and so compiled for the CPU features.

use super::packed_gemm::nr;
use crate::error::{Error, Result};
use crate::simd::math::ExpConstants;
use crate::simd::{Isa, Lanes};

/// A computation on vectors, written once for all instruction sets.
///
/// Implementations of `run` must be `#[inline(always)]`, and so must everything they call that uses `s`. A function that
/// is not inlined into the shell is compiled without the CPU features, and every intrinsic in it becomes a call.
pub trait Operation<T> {
    type Output;

    /// # Safety
    /// As the documentation of the implementing type says.
    unsafe fn run<S: Lanes<T>>(self, s: S) -> Self::Output;
}

/// An operation that is safe to run with any arguments.
///
/// # Safety
/// `run` has no requirements.
pub unsafe trait SafeOperation<T>: Operation<T> {}

/// The element types that operations exist for.
pub trait Dispatch: ExpConstants {
    #[doc(hidden)]
    fn kernels(isa: Isa) -> &'static Kernels<Self>;

    /// Runs `operation` on `isa`.
    ///
    /// # Safety
    /// This CPU has `isa`, and the requirements of the operation are met.
    #[doc(hidden)]
    unsafe fn dispatch<O: Operation<Self>>(isa: Isa, operation: O) -> O::Output;
}

/// An instruction set that this CPU has: runs operations on elements of type `T`.
pub struct Kernels<T> {
    isa: Isa,
    nr: usize,
    registers: usize,
    elements: std::marker::PhantomData<T>,
}

/// The kernels of `isa` for `T`.
///
/// # Errors
/// [`Error::Invalid`] if this CPU lacks it.
pub(crate) fn kernels<T: Dispatch>(isa: Isa) -> Result<&'static Kernels<T>> {
    if !isa.is_available() {
        return Err(Error::invalid("isa", "an instruction set of this CPU", isa.name()));
    }
    Ok(T::kernels(isa))
}

impl<T> Kernels<T> {
    /// What is known of an instruction set by its token.
    const fn of<S: Lanes<T>>(isa: Isa) -> Self
    where
        T: ExpConstants,
    {
        Kernels { isa, nr: nr::<T, S>(), registers: S::REGISTERS, elements: std::marker::PhantomData }
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Columns of a panel of packed weights.
    #[inline]
    pub(crate) fn nr(&self) -> usize {
        self.nr
    }

    /// Vector registers of the instruction set.
    pub(crate) fn registers(&self) -> usize {
        self.registers
    }

    #[inline(always)]
    pub(crate) fn run<O: SafeOperation<T>>(&self, operation: O) -> O::Output
    where
        T: Dispatch,
    {
        // SAFETY: `kernels` has checked that the CPU has the instruction set, and the operation has no requirements.
        unsafe { T::dispatch(self.isa, operation) }
    }

    /// # Safety
    /// As the documentation of the operation says.
    #[inline(always)]
    pub(crate) unsafe fn run_unchecked<O: Operation<T>>(&self, operation: O) -> O::Output
    where
        T: Dispatch,
    {
        // SAFETY: the caller's promise, and `kernels` has checked that the CPU has the instruction set.
        unsafe { T::dispatch(self.isa, operation) }
    }
}

/// Defines a function that runs any operation with `$token`, compiled for `$features`.
macro_rules! shell {
    ($name:ident, $token:ty $(, $features:literal)?) => {
        /// # Safety
        /// The CPU has the instruction set, and the requirements of the operation are met.
        // Never inlined: the portable code would otherwise be part of every caller, beside the call that is made.
        #[inline(never)]
        $(#[target_feature(enable = $features)])?
        unsafe fn $name<T, O: Operation<T>>(operation: O) -> O::Output
        where
            $token: Lanes<T>,
        {
            // SAFETY: the caller's promise, and this function is compiled for the features.
            unsafe { operation.run(<$token>::new()) }
        }
    };
}

shell!(scalar, crate::simd::portable::Portable);
#[cfg(target_arch = "x86_64")]
shell!(avx2, crate::simd::avx2::Avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
shell!(avx512, crate::simd::avx512::Avx512, "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma");
#[cfg(target_arch = "aarch64")]
shell!(neon, crate::simd::neon::Neon, "neon");

macro_rules! dispatch {
    ($t:ident) => {
        impl Dispatch for $t {
            fn kernels(isa: Isa) -> &'static Kernels<$t> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => const { &Kernels::of::<crate::simd::avx512::Avx512>(Isa::Avx512) },
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => const { &Kernels::of::<crate::simd::avx2::Avx2>(Isa::Avx2) },
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => const { &Kernels::of::<crate::simd::neon::Neon>(Isa::Neon) },
                    _ => const { &Kernels::of::<crate::simd::portable::Portable>(Isa::Scalar) },
                }
            }

            #[inline(always)]
            unsafe fn dispatch<O: Operation<$t>>(isa: Isa, operation: O) -> O::Output {
                // SAFETY: the caller's promise.
                unsafe {
                    match isa {
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx512 => avx512(operation),
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx2 => avx2(operation),
                        #[cfg(target_arch = "aarch64")]
                        Isa::Neon => neon(operation),
                        _ => scalar(operation),
                    }
                }
            }
        }
    };
}
dispatch!(f32);
dispatch!(f64);
