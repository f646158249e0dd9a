//! The layers of a numeric embedding, which come before the dense layers: their initial values and their parameters.
//!
//! For n embedded inputs the first has W (16 n, 1) and b (16 n,), the second W (3 n, 16) and b (3 n,): each output reads
//! the values of one input only, as in a grouped convolution. `linalg/numeric_embedding.rs` has the arithmetic.

use crate::error::Result;
use crate::linalg::numeric_embedding::{EMBEDDED, EmbeddingArrays, FREQUENCIES};
use crate::network::init::{EMBEDDING_STREAM, normal_values, uniform_values};
use crate::network::layer::Layer;
use crate::scalar::Scalar;

/// The standard deviation of the initial frequencies, in turns per unit (Holzmuller et al. 2024).
const INITIAL_FREQUENCY: f64 = 0.1;

/// Random layers that embed `n` inputs: normal frequencies; phases of all angles; uniform coefficients.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub(crate) fn initial_layers<T: Scalar>(n: usize, seed: u64) -> Result<Vec<Layer<T>>> {
    let mut first = Layer::filled(1, FREQUENCIES.saturating_mul(n), |weight| {
        normal_values(seed, EMBEDDING_STREAM, INITIAL_FREQUENCY, weight);
        Ok(())
    })?;
    uniform_values(seed, EMBEDDING_STREAM + 1, 0.5, first.parameters_mut().1);
    let bound = 1.0 / (FREQUENCIES as f64).sqrt();
    let mut second = Layer::filled(FREQUENCIES, EMBEDDED.saturating_mul(n), |weight| {
        uniform_values(seed, EMBEDDING_STREAM + 2, bound, weight);
        Ok(())
    })?;
    uniform_values(seed, EMBEDDING_STREAM + 3, bound, second.parameters_mut().1);
    Ok(vec![first, second])
}

/// The parameters of the embedding layers.
pub(crate) fn embedding_arrays<T: Scalar>(layers: [&Layer<T>; 2]) -> EmbeddingArrays<&[T]> {
    let [first, second] = layers;
    EmbeddingArrays { w1: first.weight(), b1: first.bias(), w2: second.weight(), b2: second.bias() }
}
