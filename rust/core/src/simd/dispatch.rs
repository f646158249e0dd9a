//! Running an operation on an instruction set: one trait for operations, and one `#[target_feature]` shell for each
//! instruction set.
//!
//! An operation is a struct of its arguments that implements [`Operation`] in terms of [`Lanes`]. [`Kernels::run`]
//! matches on the instruction set once and calls its shell, into which [`Operation::run`] is inlined. An operation thus
//! needs no code per instruction set.

use std::marker::PhantomData;

use super::math::MathConstants;
use super::{Isa, Lanes};
use crate::error::{Error, Result};

/// A computation on vectors, written once for all instruction sets.
///
/// Implementations of `run` must be `#[inline(always)]`, and so must everything they call that uses `s`. A function
/// that is not inlined into the shell is compiled without the CPU features, and every intrinsic in it becomes a call.
pub trait Operation<T> {
    type Output;

    /// Computes the result with the vector operations `s`.
    ///
    /// # Safety
    /// As the documentation of the implementing type says.
    unsafe fn run<S: Lanes<T>>(self, s: S) -> Self::Output;
}

/// An operation that is safe to run with any arguments.
///
/// # Safety
/// `run` has no requirements.
pub unsafe trait SafeOperation<T>: Operation<T> {}

/// The element types that operations exist for: f32 and f64.
pub trait Dispatch: MathConstants {
    #[doc(hidden)]
    fn kernels(isa: Isa) -> &'static Kernels<Self>;

    /// Runs `operation` on `isa`.
    ///
    /// # Safety
    /// This CPU has `isa`, and the requirements of the operation are met.
    #[doc(hidden)]
    unsafe fn dispatch<O: Operation<Self>>(isa: Isa, operation: O) -> O::Output;
}

/// An instruction set that this CPU has. Runs operations on elements of type `T`.
pub struct Kernels<T> {
    isa: Isa,
    lanes: usize,
    registers: usize,
    elements: PhantomData<T>,
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
    const fn new<S: Lanes<T>>(isa: Isa) -> Self {
        Kernels { isa, lanes: S::N, registers: S::REGISTERS, elements: PhantomData }
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Elements in a vector register.
    #[inline]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Vector registers of the instruction set.
    pub(crate) fn registers(&self) -> usize {
        self.registers
    }

    /// Runs an operation.
    #[inline(always)]
    pub(crate) fn run<O: SafeOperation<T>>(&self, operation: O) -> O::Output
    where
        T: Dispatch,
    {
        // SAFETY: `kernels` has checked that the CPU has the instruction set, and the operation has no requirements.
        unsafe { T::dispatch(self.isa, operation) }
    }

    /// Runs an operation that has requirements.
    ///
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
        /// Runs an operation on this instruction set. Not inlined: the scalar code would become a part of every caller.
        ///
        /// # Safety
        /// The CPU has the instruction set, and the requirements of the operation are met.
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

shell!(scalar, super::portable::Portable);
#[cfg(target_arch = "x86_64")]
shell!(avx2, super::avx2::Avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
shell!(avx512, super::avx512::Avx512, "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma");
#[cfg(target_arch = "aarch64")]
shell!(neon, super::neon::Neon, "neon");

macro_rules! dispatch {
    ($t:ident) => {
        impl Dispatch for $t {
            fn kernels(isa: Isa) -> &'static Kernels<$t> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => const { &Kernels::new::<super::avx512::Avx512>(Isa::Avx512) },
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => const { &Kernels::new::<super::avx2::Avx2>(Isa::Avx2) },
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => const { &Kernels::new::<super::neon::Neon>(Isa::Neon) },
                    _ => const { &Kernels::new::<super::portable::Portable>(Isa::Scalar) },
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
