//! [`Multiply`] for integers on x86-64, written once for registers of 256 and of 512 bits.

/// Defines `Int8` and `Int8Vnni` for the lanes `$lanes`, given the intrinsics of their registers.
macro_rules! x86_int8 {
    ($lanes:ident, integers $i:ident, floats $f:ident, $zero:ident $load:ident $splat:ident $add:ident $sub:ident
     $shift_left:ident $shift_right:ident $multiply_pairs:ident $multiply_fours:ident $to_f32:ident,
     store $store_words:ident $store_bytes:ident, tile rows $rows:literal $vnni_rows:literal) => {
        /// The sums of one register of outputs in f32.
        ///
        /// # Safety
        /// The CPU has the instructions; `corrections` is valid for reading one register of elements.
        #[inline(always)]
        unsafe fn to_f32(sums: $i, corrections: *const i32) -> $f {
            // SAFETY: the caller's promise.
            unsafe { $to_f32($sub(sums, $load(corrections.cast()))) }
        }

        /// Integers, widened to 16 bits and multiplied in pairs: no sum of two products saturates, whatever the integers.
        #[derive(Clone, Copy)]
        pub(crate) struct Int8($lanes);

        impl Multiply for Int8 {
            type Lanes = $lanes;
            type Sums = $i;
            type Weights = [$i; 2];
            type Inputs = [$i; 2];
            const GROUP: usize = 4;
            // The low bytes of both halves of a word are inputs 0 and 1, the high bytes 2 and 3.
            const ORDER: &'static [usize] = &[0, 2, 1, 3];
            const WEIGHT_BYTES: usize = 1;
            const INPUT_BYTES: usize = 2;
            const FORM: InputForm = InputForm::Int8 { offset: 0 };
            const SCALED: bool = true;
            const TILE_ROWS: usize = $rows;

            #[inline(always)]
            fn lanes(self) -> $lanes {
                self.0
            }
            #[inline(always)]
            fn zero(self) -> $i {
                // SAFETY: the token proves that the CPU has the instructions; likewise below, where the callers of loads
                // and stores promise the elements, which need no alignment.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn load_weights(self, p: *const u8) -> [$i; 2] {
                // SAFETY: as above.
                unsafe {
                    let bytes = $load(p.cast());
                    [$shift_right::<8>($shift_left::<8>(bytes)), $shift_right::<8>(bytes)]
                }
            }
            #[inline(always)]
            unsafe fn splat_inputs(self, p: *const u8) -> [$i; 2] {
                // SAFETY: as above. Two reads, because one of 64 bits would be split in general registers.
                unsafe {
                    let (first, second) = (p.cast::<i32>().read_unaligned(), p.cast::<i32>().add(1).read_unaligned());
                    [$splat(first), $splat(second)]
                }
            }
            #[inline(always)]
            fn multiply_add(self, weights: [$i; 2], inputs: [$i; 2], sums: $i) -> $i {
                // SAFETY: as above.
                unsafe {
                    let sums = $add(sums, $multiply_pairs(weights[0], inputs[0]));
                    $add(sums, $multiply_pairs(weights[1], inputs[1]))
                }
            }
            #[inline(always)]
            unsafe fn to_f32(self, sums: $i, corrections: *const i32) -> $f {
                // SAFETY: as above.
                unsafe { to_f32(sums, corrections) }
            }
            #[inline(always)]
            unsafe fn store_inputs(self, p: *mut u8, v: $f) {
                // SAFETY: as above.
                unsafe { $store_words(p, v) }
            }
        }

        /// Integers with VNNI, which multiplies unsigned inputs with signed weights.
        #[derive(Clone, Copy)]
        pub(crate) struct Int8Vnni($lanes);

        impl Multiply for Int8Vnni {
            type Lanes = $lanes;
            type Sums = $i;
            type Weights = $i;
            type Inputs = $i;
            const GROUP: usize = 4;
            const ORDER: &'static [usize] = &[0, 1, 2, 3];
            const WEIGHT_BYTES: usize = 1;
            const INPUT_BYTES: usize = 1;
            const FORM: InputForm = InputForm::Int8 { offset: 128 };
            const SCALED: bool = true;
            const TILE_ROWS: usize = $vnni_rows;

            #[inline(always)]
            fn lanes(self) -> $lanes {
                self.0
            }
            #[inline(always)]
            fn zero(self) -> $i {
                // SAFETY: as above.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn load_weights(self, p: *const u8) -> $i {
                // SAFETY: as above.
                unsafe { $load(p.cast()) }
            }
            #[inline(always)]
            unsafe fn splat_inputs(self, p: *const u8) -> $i {
                // SAFETY: as above.
                unsafe { $splat(p.cast::<i32>().read_unaligned()) }
            }
            #[inline(always)]
            fn multiply_add(self, weights: $i, inputs: $i, sums: $i) -> $i {
                // SAFETY: as above.
                unsafe { $multiply_fours(sums, inputs, weights) }
            }
            #[inline(always)]
            unsafe fn to_f32(self, sums: $i, corrections: *const i32) -> $f {
                // SAFETY: as above.
                unsafe { to_f32(sums, corrections) }
            }
            #[inline(always)]
            unsafe fn store_inputs(self, p: *mut u8, v: $f) {
                // SAFETY: as above.
                unsafe { $store_bytes(p, v) }
            }
        }
    };
}

pub(super) use x86_int8;
