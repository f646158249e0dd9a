//! Initial weights. They depend only on the seed and the index of the layer, and are the same on every platform: the
//! generator is PCG64, the arithmetic is in f64, logarithm and cosine are those of `libm`.

use std::f64::consts::PI;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

use crate::error::Result;
use crate::memory::zeros;
use crate::scalar::Scalar;
use crate::string_enum::string_enum;

string_enum! {
    /// The distribution of a layer's initial weights. Its biases start at 0.
    Init("init") {
        /// Uniform between plus and minus sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010).
        GlorotUniform = "glorot_uniform",
        /// Normal with variance 2 / (inputs + outputs) (Glorot and Bengio 2010).
        GlorotNormal = "glorot_normal",
        /// Uniform between plus and minus sqrt(6 / inputs) (He et al. 2015).
        HeUniform = "he_uniform",
        /// Normal with variance 2 / inputs (He et al. 2015).
        HeNormal = "he_normal",
        /// Uniform between plus and minus sqrt(3 / inputs) (LeCun et al. 1998).
        LecunUniform = "lecun_uniform",
        /// Normal with variance 1 / inputs (LeCun et al. 1998).
        LecunNormal = "lecun_normal",
        /// Orthonormal rows, or orthonormal columns if there are fewer columns than rows (Saxe et al. 2014).
        Orthogonal = "orthogonal",
        /// (U(0, 1) - 0.5) / ln(1 + inputs), the rule of the project that tinyrs grew out of.
        LogUniform = "log_uniform",
    }
}

impl Init {
    /// Draws `weight` (outputs, inputs) for the layer with index `layer`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn fill<T: Scalar>(self, seed: u64, layer: usize, inputs: usize, weight: &mut [T]) -> Result<()> {
        let (fan_in, fan_out) = (inputs as f64, (weight.len() / inputs) as f64);
        let mut generator = Pcg64::new(seed.into(), layer as u128);
        match self {
            Init::GlorotUniform => uniform(&mut generator, (6.0 / (fan_in + fan_out)).sqrt(), weight),
            Init::GlorotNormal => normal(&mut generator, (2.0 / (fan_in + fan_out)).sqrt(), weight),
            Init::HeUniform => uniform(&mut generator, (6.0 / fan_in).sqrt(), weight),
            Init::HeNormal => normal(&mut generator, (2.0 / fan_in).sqrt(), weight),
            Init::LecunUniform => uniform(&mut generator, (3.0 / fan_in).sqrt(), weight),
            Init::LecunNormal => normal(&mut generator, (1.0 / fan_in).sqrt(), weight),
            Init::Orthogonal => orthogonal(&mut generator, inputs, weight)?,
            Init::LogUniform => uniform(&mut generator, 0.5 / libm::log(1.0 + fan_in), weight),
        }
        Ok(())
    }
}

/// The first of the random streams of an embedding. The stream of a dense layer is its index.
pub(crate) const EMBEDDING_STREAM: u128 = 1 << 64;

/// Fills `values` with numbers that are uniform between plus and minus `bound`, from a stream of random numbers.
pub(crate) fn uniform_values<T: Scalar>(seed: u64, stream: u128, bound: f64, values: &mut [T]) {
    uniform(&mut Pcg64::new(seed.into(), stream), bound, values);
}

/// Fills `values` with normal numbers of standard deviation `std`, from a stream of random numbers.
pub(crate) fn normal_values<T: Scalar>(seed: u64, stream: u128, std: f64, values: &mut [T]) {
    normal(&mut Pcg64::new(seed.into(), stream), std, values);
}

/// A number that is uniform on [0, 1), from 53 random bits.
fn standard_uniform(generator: &mut Pcg64) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

fn uniform<T: Scalar>(generator: &mut Pcg64, bound: f64, values: &mut [T]) {
    for value in values {
        *value = T::from_f64((2.0 * standard_uniform(generator) - 1.0) * bound);
    }
}

fn normal<T: Scalar>(generator: &mut Pcg64, std: f64, values: &mut [T]) {
    for value in values {
        *value = T::from_f64(standard_normal(generator) * std);
    }
}

/// A number from the standard normal distribution: one of the two of Box and Muller (1958).
fn standard_normal(generator: &mut Pcg64) -> f64 {
    let radius = (-2.0 * libm::log(1.0 - standard_uniform(generator))).sqrt();
    radius * libm::cos(2.0 * PI * standard_uniform(generator))
}

/// Random orthonormal directions, written as rows, or as columns if there are more rows than columns. Each direction is
/// made orthogonal to the ones before it by two passes of Gram-Schmidt, which are enough (Giraud et al. 2005).
fn orthogonal<T: Scalar>(generator: &mut Pcg64, inputs: usize, weight: &mut [T]) -> Result<()> {
    let outputs = weight.len() / inputs;
    let (count, length) = (outputs.min(inputs), outputs.max(inputs));
    let mut directions = zeros::<f64>("layer_sizes", count * length)?;
    for i in 0..count {
        let (previous, rest) = directions.split_at_mut(i * length);
        let direction = &mut rest[..length];
        direction.fill_with(|| standard_normal(generator));
        for _ in 0..2 {
            for other in previous.chunks_exact(length) {
                let projection = dot(direction, other);
                direction.iter_mut().zip(other).for_each(|(d, o)| *d -= projection * o);
            }
        }
        let norm = dot(direction, direction).sqrt();
        direction.iter_mut().for_each(|d| *d /= norm);
    }
    for (index, w) in weight.iter_mut().enumerate() {
        let (row, column) = (index / inputs, index % inputs);
        let (direction, element) = if outputs <= inputs { (row, column) } else { (column, row) };
        *w = T::from_f64(directions[direction * length + element]);
    }
    Ok(())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Eight independent sums, which the compiler can vectorize; the order of summation is fixed.
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(init: Init, inputs: usize, outputs: usize) -> Vec<f64> {
        let mut weight = vec![0.0; inputs * outputs];
        init.fill(11, 2, inputs, &mut weight).expect("memory");
        weight
    }

    #[test]
    fn variances_are_those_of_the_papers() {
        let (inputs, outputs) = (300, 100);
        for (init, variance) in [
            (Init::GlorotUniform, 2.0 / 400.0),
            (Init::GlorotNormal, 2.0 / 400.0),
            (Init::HeUniform, 2.0 / 300.0),
            (Init::HeNormal, 2.0 / 300.0),
            (Init::LecunUniform, 1.0 / 300.0),
            (Init::LecunNormal, 1.0 / 300.0),
            (Init::Orthogonal, 1.0 / 300.0),
            (Init::LogUniform, 1.0 / 12.0 / 301f64.ln().powi(2)),
        ] {
            let weight = drawn(init, inputs, outputs);
            let n = weight.len() as f64;
            let mean = weight.iter().sum::<f64>() / n;
            let got = weight.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n;
            assert!((got / variance - 1.0).abs() < 0.03, "{init}: {got} instead of {variance}");
            assert!(mean.abs() < 4.0 * (variance / n).sqrt(), "{init}: mean {mean}");
            // The kurtosis is 3 for a normal distribution and 1.8 for a uniform one.
            let kurtosis = weight.iter().map(|w| (w - mean).powi(4)).sum::<f64>() / n / got.powi(2);
            let is_normal = init.name().ends_with("normal") || init == Init::Orthogonal;
            assert_eq!(kurtosis > 2.4, is_normal, "{init}: {kurtosis}");
        }
    }

    #[test]
    fn orthogonal_rows_or_columns_are_orthonormal() {
        for (inputs, outputs) in [(1, 1), (7, 3), (3, 7), (33, 33)] {
            let weight = drawn(Init::Orthogonal, inputs, outputs);
            let at = |row: usize, column: usize| weight[row * inputs + column];
            let (count, length) = (inputs.min(outputs), inputs.max(outputs));
            let element = |d: usize, e: usize| if outputs <= inputs { at(d, e) } else { at(e, d) };
            for i in 0..count {
                for j in 0..count {
                    let product: f64 = (0..length).map(|e| element(i, e) * element(j, e)).sum();
                    let want = f64::from(u8::from(i == j));
                    assert!((product - want).abs() < 1e-13, "({inputs}, {outputs}) {i} {j}: {product}");
                }
            }
        }
    }

    /// The expected hashes are those of x86-64.
    #[test]
    fn draws_are_the_same_on_every_platform() {
        let hash = |init: Init| {
            drawn(init, 13, 7)
                .iter()
                .fold(0u64, |hash, w| hash.rotate_left(5).wrapping_mul(0x9e37_79b9).wrapping_add(w.to_bits()))
        };
        let hashes: Vec<u64> = Init::ALL.iter().map(|init| hash(*init)).collect();
        let golden = [
            9596763512830387505,
            4879612522076055435,
            11449378013426933573,
            10230206683127642929,
            5793704274842579633,
            9538456745729593430,
            4180203680914487650,
            1954172899538385401,
        ];
        assert_eq!(hashes, golden);
    }
}
