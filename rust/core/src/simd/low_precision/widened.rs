//! [`Multiply`] for the formats whose weights are converted to f32, on every instruction set.

use super::{InputForm, Multiply, NarrowLanes};

/// Rows of a tile of two registers of f32 sums, given the number of vector registers.
const fn tile_rows(registers: usize) -> usize {
    if registers >= 32 { 12 } else { 6 }
}

/// Defines the [`Multiply`] of a format with f32 inputs and one weight a step.
macro_rules! widened {
    ($(#[$doc:meta])* $name:ident, $bytes:literal bytes, $load:ident, scaled $scaled:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name<S>(pub S);

        impl<S: NarrowLanes> Multiply for $name<S> {
            type Lanes = S;
            type Sums = S::V;
            type Weights = S::V;
            type Inputs = S::V;
            const GROUP: usize = 1;
            const ORDER: &'static [usize] = &[0];
            const WEIGHT_BYTES: usize = $bytes;
            const INPUT_BYTES: usize = 4;
            const FORM: InputForm = InputForm::F32;
            const SCALED: bool = $scaled;
            const TILE_ROWS: usize = tile_rows(S::REGISTERS);

            #[inline(always)]
            fn lanes(self) -> S {
                self.0
            }
            #[inline(always)]
            fn zero(self) -> S::V {
                self.0.splat(0.0)
            }
            #[inline(always)]
            unsafe fn load_weights(self, p: *const u8) -> S::V {
                // SAFETY: the caller's promise.
                unsafe { self.0.$load(p.cast()) }
            }
            #[inline(always)]
            unsafe fn splat_inputs(self, p: *const u8) -> S::V {
                // SAFETY: the caller's promise.
                self.0.splat(unsafe { p.cast::<f32>().read_unaligned() })
            }
            #[inline(always)]
            fn multiply_add(self, weights: S::V, inputs: S::V, sums: S::V) -> S::V {
                self.0.mul_add(inputs, weights, sums)
            }
            #[inline(always)]
            fn widen(self, weights: S::V) -> S::V {
                weights
            }
            #[inline(always)]
            unsafe fn to_f32(self, sums: S::V, _: *const i32) -> S::V {
                sums
            }
            #[inline(always)]
            unsafe fn store_inputs(self, p: *mut u8, v: S::V) {
                // SAFETY: the caller's promise.
                unsafe { self.0.store(p.cast(), v) }
            }
        }
    };
}

widened!(
    /// f32: the weights of a panel that was widened.
    F32, 4 bytes, load, scaled false
);
widened!(
    /// IEEE half precision.
    F16, 2 bytes, load_f16, scaled false
);
widened!(
    /// Integers with f32 inputs.
    Int8Weights, 1 bytes, load_i8, scaled true
);

/// bfloat16, with inputs that are rounded to it, in f32.
#[derive(Clone, Copy)]
pub(crate) struct Bf16<S>(pub S);

impl<S: NarrowLanes> Multiply for Bf16<S> {
    type Lanes = S;
    type Sums = S::V;
    type Weights = [S::V; 2];
    type Inputs = [S::V; 2];
    const GROUP: usize = 2;
    const ORDER: &'static [usize] = &[0, 1];
    const WEIGHT_BYTES: usize = 2;
    const INPUT_BYTES: usize = 4;
    const FORM: InputForm = InputForm::Bf16;
    const SCALED: bool = false;
    // Four registers of weights and two of inputs beside the sums; the loop over 12 rows would not be unrolled.
    const TILE_ROWS: usize = if S::REGISTERS >= 32 { 8 } else { 4 };

    #[inline(always)]
    fn lanes(self) -> S {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> S::V {
        self.0.splat(0.0)
    }
    #[inline(always)]
    unsafe fn load_weights(self, p: *const u8) -> [S::V; 2] {
        // SAFETY: the caller's promise.
        unsafe { self.0.load_bf16_pairs(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_inputs(self, p: *const u8) -> [S::V; 2] {
        // SAFETY: the caller's promise. Two reads, because one of 64 bits would be split in general registers.
        let (first, second) = unsafe { (p.cast::<f32>().read_unaligned(), p.cast::<f32>().add(1).read_unaligned()) };
        [self.0.splat(first), self.0.splat(second)]
    }
    #[inline(always)]
    fn multiply_add(self, weights: [S::V; 2], inputs: [S::V; 2], sums: S::V) -> S::V {
        self.0.mul_add(inputs[1], weights[1], self.0.mul_add(inputs[0], weights[0], sums))
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: S::V, _: *const i32) -> S::V {
        sums
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: S::V) {
        // SAFETY: the caller's promise.
        unsafe { self.0.store(p.cast(), v) }
    }
}
