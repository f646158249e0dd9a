//! The two element types, f32 and f64. Everything else is generic over [`Scalar`].

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`. Sealed, because the kernels exist for these two types only.
pub trait Scalar:
    sealed::Sealed
    + Copy
    + Debug
    + Default
    + Display
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The largest finite value.
    const MAX: Self;
    /// The smallest positive normal value.
    const MIN_POSITIVE: Self;
    /// The distance from 1 to the next larger number.
    const EPSILON: Self;

    /// Rounds `value` to this type; the result is infinite if it is beyond [`Scalar::MAX`].
    fn from_f64(value: f64) -> Self;
    /// Converts to f64, exactly.
    fn to_f64(self) -> f64;
    /// Whether the value is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// The largest value of this type that is at most `value`.
    fn at_most(value: f64) -> Self;
    /// Replaces a denormal value by 0. Tests the bits, because some CPUs compare denormal numbers slowly.
    fn without_denormals(self) -> Self;
}

macro_rules! scalar {
    ($t:ident) => {
        impl Scalar for $t {
            const NAME: &'static str = stringify!($t);
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const MAX: Self = $t::MAX;
            const MIN_POSITIVE: Self = $t::MIN_POSITIVE;
            const EPSILON: Self = $t::EPSILON;

            fn from_f64(value: f64) -> Self {
                value as $t
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
            fn at_most(value: f64) -> Self {
                let nearest = value as $t;
                if (nearest as f64) > value { nearest.next_down() } else { nearest }
            }
            #[inline(always)]
            fn without_denormals(self) -> Self {
                let exponent = self.to_bits() & $t::INFINITY.to_bits();
                if exponent == 0 { 0.0 } else { self }
            }
        }
    };
}
scalar!(f32);
scalar!(f64);
