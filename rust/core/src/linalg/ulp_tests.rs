//! The error of exp, tanh, sigmoid, sine and cosine on every instruction set of this CPU: at most 2 ULP.
//!
//! The reference of f32 is the value in f64, whose error is below 2^-20 ULP of f32, for a sample of all inputs. The
//! ignored test, which `make test-exhaustive` runs, covers every f32. The reference of f64 is computed in arbitrary
//! precision.

use std::f64::consts::TAU;

use astro_float::{BigFloat, Consts, RoundingMode};

use super::elementwise::Exp;
use super::epilogue::apply_epilogue;
use crate::activation::{Activation, Epilogue};
use crate::simd::dispatch::{Dispatch, Kernels, Operation, SafeOperation, kernels};
use crate::simd::math::{MathConstants, sin_cos_of_turns};
use crate::simd::{Isa, Lanes};
use crate::stabilizer::Stabilizer;

const MAX_ULP: f64 = 2.0;
const EPSILON: f64 = 4e-6;

/// The epilogue of a layer.
struct AfterProduct<'a, T> {
    bias: &'a [T],
    epilogue: &'a Epilogue<T>,
    z: &'a mut [T],
}

impl<T: Dispatch> Operation<T> for AfterProduct<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        apply_epilogue(s, self.bias, self.epilogue, |_, sum| sum, self.z);
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Dispatch> SafeOperation<T> for AfterProduct<'_, T> {}

/// sin(2 pi x) or cos(2 pi x) of every element, in place.
struct OfTurns<'a, T> {
    is_sine: bool,
    x: &'a mut [T],
}

impl<T: Dispatch> Operation<T> for OfTurns<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        for chunk in self.x.chunks_mut(S::N) {
            // SAFETY: a chunk has at most N elements.
            unsafe {
                let (sin, cos) = sin_cos_of_turns(s, s.load_up_to(chunk.as_ptr(), chunk.len()));
                s.store_up_to(chunk.as_mut_ptr(), if self.is_sine { sin } else { cos }, chunk.len());
            }
        }
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Dispatch> SafeOperation<T> for OfTurns<'_, T> {}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Exp,
    Tanh,
    Sigmoid,
    SineOfTurns,
    CosineOfTurns,
}

impl Function {
    const ALL: [Function; 5] =
        [Function::Exp, Function::Tanh, Function::Sigmoid, Function::SineOfTurns, Function::CosineOfTurns];

    /// Applies the function to `x` in place: tanh and sigmoid as the epilogue of a layer.
    fn apply<T: Dispatch>(self, kernels: &Kernels<T>, x: &mut [T]) {
        let activation = match self {
            Function::Exp => return kernels.run(Exp { z: x }),
            Function::Tanh => Activation::Tanh,
            Function::Sigmoid => Activation::Sigmoid,
            Function::SineOfTurns => return kernels.run(OfTurns { is_sine: true, x }),
            Function::CosineOfTurns => return kernels.run(OfTurns { is_sine: false, x }),
        };
        let stabilizer = Stabilizer::new(EPSILON, EPSILON).unwrap();
        let epilogue = Epilogue { activation, scale: T::ONE, stabilizer };
        let bias = vec![T::ZERO; x.len()];
        kernels.run(AfterProduct { bias: &bias, epilogue: &epilogue, z: x });
    }

    /// `x` as the reference takes it: sigmoid clips it to the bounds of the stabilizer. Sine and cosine of turns are
    /// those of a first quarter, sin(2 pi argument), because 2 pi times half a turn is not a multiple of the rounded pi.
    fn argument<T: MathConstants>(self, x: T) -> f64 {
        let high = Stabilizer::<T>::new(EPSILON, EPSILON).unwrap().exp_bounds().1.to_f64();
        let x = x.to_f64();
        let turns = if x.abs() >= T::MAX_TURNS.to_f64() { 0.0 } else { x - x.round_ties_even() };
        match self {
            Function::Sigmoid => x.max(-high),
            Function::SineOfTurns => turns.abs().min(0.5 - turns.abs()).copysign(turns),
            Function::CosineOfTurns => 0.25 - turns.abs(),
            Function::Exp | Function::Tanh => x,
        }
    }

    fn in_f64(self, x: f64) -> f64 {
        match self {
            Function::Exp => x.exp(),
            Function::Tanh => x.tanh(),
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::SineOfTurns | Function::CosineOfTurns => (TAU * x).sin(),
        }
    }
}

/// |got - want| in units in the last place of `want` as an f32; 0 if both are NaN or the same infinity.
fn ulp_f32(got: f32, want: f64) -> f64 {
    if got == want as f32 || (got.is_nan() && want.is_nan()) {
        return 0.0;
    }
    // The exponent of `want`; subnormal f32 have that of the least normal one.
    let exponent = ((want.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(-126);
    (f64::from(got) - want).abs() * 2f64.powi(23 - exponent)
}

/// The larger of two (error, input); NaN is the largest error.
fn worse<T>(a: (f64, T), b: (f64, T)) -> (f64, T) {
    if b.0 > a.0 || b.0.is_nan() { b } else { a }
}

fn available() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
}

/// The largest error, and its input, of each instruction set over every `stride`th f32 with bits in `range`.
fn worst_f32(function: Function, range: std::ops::Range<u64>, stride: u64) -> Vec<(f64, f32)> {
    const CHUNK: usize = 1 << 16;
    let mut worst = vec![(0.0, 0.0); available().len()];
    let mut bits = range.step_by(stride as usize).map(|bits| f32::from_bits(bits as u32));
    loop {
        let mut inputs: Vec<f32> = bits.by_ref().take(CHUNK).collect();
        if inputs.is_empty() {
            return worst;
        }
        inputs.retain(|x| function == Function::Exp || x.is_finite());
        let wanted: Vec<f64> = inputs.iter().map(|&x| function.in_f64(function.argument(x))).collect();
        for (isa, worst) in available().into_iter().zip(&mut worst) {
            let mut outputs = inputs.clone();
            function.apply(kernels(isa).unwrap(), &mut outputs);
            let errors = inputs.iter().zip(&wanted).zip(&outputs).map(|((&x, &want), &got)| (ulp_f32(got, want), x));
            *worst = errors.fold(*worst, worse);
        }
    }
}

fn check_f32(stride: u64) {
    const HALF: u64 = 1 << 31;
    for function in Function::ALL {
        // Positive and negative numbers, one thread for each.
        let halves = std::thread::scope(|scope| {
            [0..HALF, HALF..2 * HALF]
                .map(|range| scope.spawn(move || worst_f32(function, range, stride)))
                .map(|thread| thread.join().unwrap())
        });
        for (i, isa) in available().into_iter().enumerate() {
            report(isa, "f32", function, worse(halves[0][i], halves[1][i]));
        }
    }
}

fn report<T: std::fmt::LowerExp>(isa: Isa, precision: &str, function: Function, worst: (f64, T)) {
    println!("{isa:?} {precision} {function:?}: {:.3} ULP at {:e}", worst.0, worst.1);
    assert!(worst.0 <= MAX_ULP, "{isa:?} {precision} {function:?}: {} ULP at {:e}", worst.0, worst.1);
}

#[test]
fn sampled_f32() {
    // A prime, so that no bit pattern is always or never sampled.
    check_f32(4099);
}

#[test]
#[ignore = "tests every f32, which takes minutes; run by `make test-exhaustive`"]
fn exhaustive_f32() {
    check_f32(1);
}

#[test]
fn f64_against_arbitrary_precision() {
    const PRECISION: usize = 192;
    const ROUND: RoundingMode = RoundingMode::ToEven;
    let mut constants = Consts::new().unwrap();
    let mut reference = |function: Function, x: f64| {
        let one = BigFloat::from_f64(1.0, PRECISION);
        let x = BigFloat::from_f64(x, PRECISION);
        match function {
            Function::Exp => x.exp(PRECISION, ROUND, &mut constants),
            Function::Tanh => x.tanh(PRECISION, ROUND, &mut constants),
            Function::Sigmoid => {
                let e = x.neg().exp(PRECISION, ROUND, &mut constants);
                one.div(&one.add(&e, PRECISION, ROUND), PRECISION, ROUND)
            }
            Function::SineOfTurns | Function::CosineOfTurns => {
                let two = BigFloat::from_f64(2.0, PRECISION);
                let turn = constants.pi(PRECISION, ROUND).mul(&two, PRECISION, ROUND);
                turn.mul(&x, PRECISION, ROUND).sin(PRECISION, ROUND, &mut constants)
            }
        }
    };
    for function in Function::ALL {
        let inputs = f64_inputs();
        let wanted: Vec<BigFloat> = inputs.iter().map(|&x| reference(function, function.argument(x))).collect();
        for isa in available() {
            let mut outputs = inputs.clone();
            function.apply(kernels(isa).unwrap(), &mut outputs);
            let errors = inputs.iter().zip(&wanted).zip(&outputs).map(|((&x, want), &got)| (ulp_f64(got, want), x));
            report(isa, "f64", function, errors.fold((0.0, 0.0), worse));
        }
    }
}

/// |got - want| in units in the last place of `want` as an f64.
fn ulp_f64(got: f64, want: &BigFloat) -> f64 {
    const ROUND: RoundingMode = RoundingMode::ToEven;
    let to_f64 = |value: &BigFloat| value.to_string().parse::<f64>().unwrap();
    let nearest = to_f64(want);
    if got == nearest {
        return 0.0;
    }
    // Scaled to units in the last place, which is exact, because astro-float 0.9 misreads subnormal numbers.
    let shift = 52 - (nearest.abs().log2().floor() as i32).max(-1022);
    let (first, second) = (2f64.powi(shift / 2), 2f64.powi(shift - shift / 2));
    let big = |value: f64| BigFloat::from_f64(value, 192);
    let want = want.mul(&big(first), 192, ROUND).mul(&big(second), 192, ROUND);
    to_f64(&big(got * first * second).sub(&want, 192, ROUND).abs())
}

/// Numbers of every magnitude and both signs, and the points where the reduction or the result changes its regime.
fn f64_inputs() -> Vec<f64> {
    let mut inputs =
        vec![0.0, 1e-300, f64::MIN_POSITIVE, f64::MAX, 709.78, 709.7827, -708.4, -745.13, -745.14, -746.0, 19.0, 19.1];
    for i in 0..4000 {
        // Uniform in the ranges of exp and tanh, and uniform exponents.
        let t = i as f64 * 0.618_033_988_749_895 % 1.0;
        inputs.extend([t * 1454.0 - 745.0, t * 40.0, t * 2.0, t * 0.7, (t * 60.0 - 58.0).exp2()]);
    }
    let negative: Vec<f64> = inputs.iter().map(|x| -x).collect();
    inputs.extend(negative);
    inputs
}

#[test]
fn exp_of_infinity_nan_and_out_of_range() {
    for isa in available() {
        let mut values = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 89.5, -105.0];
        kernels(isa).unwrap().run(Exp { z: &mut values });
        assert_eq!((values[0], values[1], values[3], values[4]), (f32::INFINITY, 0.0, f32::INFINITY, 0.0), "{isa:?}");
        assert!(values[2].is_nan(), "{isa:?}");
    }
}

#[test]
fn the_error_measure_detects_a_wrong_last_place() {
    assert_eq!(ulp_f32(1.0 + 3.0 * f32::EPSILON, 1.0), 3.0);
    assert_eq!(ulp_f32(0.0, f64::from(f32::from_bits(3))), 3.0);
    assert_eq!(ulp_f64(1.0 + 3.0 * f64::EPSILON, &BigFloat::from_f64(1.0, 192)), 3.0);
}
