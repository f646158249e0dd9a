//! What a network computes besides its parameters: activations, output, scale and bounds.

use crate::activation::{Activation, Epilogue, OutputActivation};
use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::stabilizer::Stabilizer;
use crate::string_enum::string_enum;

string_enum! {
    /// A trained transform of single inputs before the first dense layer.
    NumericEmbedding("numeric_embedding") {
        /// x becomes x and three sums of sixteen cosines of x, with trained frequencies, phases and coefficients
        /// (Holzmuller et al. 2024). Two layers of parameters, each of which reads the values of one input only.
        Pbld = "pbld",
    }
}

/// What a network computes besides its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// The activations of the hidden layers: one for all of them, or one for each.
    pub activations: Vec<Activation>,
    /// The activation of the last layer.
    pub output_activation: OutputActivation,
    /// A factor for every activated value of the hidden layers, and of the output with [`OutputActivation::Same`].
    pub activation_scale: f64,
    /// The embedding of the first inputs, if there is one.
    pub numeric_embedding: Option<NumericEmbedding>,
    /// See [`Stabilizer`].
    pub epsilon_exp: f64,
    /// See [`Stabilizer`].
    pub epsilon_square: f64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig {
            activations: vec![Activation::Tanh],
            output_activation: OutputActivation::Identity,
            activation_scale: 1.0,
            numeric_embedding: None,
            epsilon_exp: 4e-6,
            epsilon_square: 4e-6,
        }
    }
}

impl NetworkConfig {
    /// The number of layers before the first dense one.
    pub fn n_embedding_layers(&self) -> usize {
        self.numeric_embedding.map_or(0, |NumericEmbedding::Pbld| 2)
    }

    /// The epilogue of each of `n_layers` layers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad epsilon, an `activation_scale` that is not finite in `T`, or a number of
    /// activations that is neither 1 nor the number of hidden layers.
    pub(crate) fn epilogues<T: Scalar>(&self, n_layers: usize) -> Result<Vec<Epilogue<T>>> {
        let stabilizer = Stabilizer::new(self.epsilon_exp, self.epsilon_square)?;
        let scale = T::from_f64(self.activation_scale);
        if !scale.is_finite() {
            return Err(Error::invalid("activation_scale", format!("a finite {}", T::NAME), self.activation_scale));
        }
        let n_hidden = n_layers - 1;
        let activations = &self.activations;
        if activations.len() != 1 && (activations.len() != n_hidden || activations.is_empty()) {
            let expected = format!("one name, or {n_hidden} names, one for each hidden layer");
            return Err(Error::invalid("activation", expected, format!("{} names", activations.len())));
        }
        let hidden = |activation| Epilogue { activation, scale, stabilizer };
        let output = match self.output_activation {
            OutputActivation::Same => hidden(activations[activations.len() - 1]),
            OutputActivation::Sigmoid => Epilogue { activation: Activation::Sigmoid, scale: T::ONE, stabilizer },
            // The softmax needs all sums of a row; the pass computes it after the last layer.
            OutputActivation::Identity | OutputActivation::Softmax => {
                Epilogue { activation: Activation::Identity, scale: T::ONE, stabilizer }
            }
        };
        let hidden = (0..n_hidden).map(|l| hidden(activations[l.min(activations.len() - 1)]));
        Ok(hidden.chain(std::iter::once(output)).collect())
    }
}
