//! The network: its parameters and configuration here, its layers, its initial weights, and its forward pass in the files below.
//!
//! Uses `linalg` for the arithmetic, `parallel` for the threads, and everything below those. `plan` decides from shapes what a
//! pass does, `forward` does it, over the dense or sparse rows of `rows` and `sparse`.

mod forward;
pub(crate) mod init;
pub(crate) mod layer;
pub(crate) mod packed_weights;
pub(crate) mod plan;
pub(crate) mod rows;
pub(crate) mod sparse;

use std::sync::OnceLock;

use crate::activation::{Activation, Epilogue, OutputActivation};
use crate::error::{Error, Result};
use crate::linalg::kernels::Dispatch;
use crate::linalg::kernels::{Kernels, kernels};
use crate::matrix::Matrix;
use crate::network::init::Init;
use crate::network::layer::{Layer, check_parameters, layer_sizes};
use crate::network::packed_weights::PackedWeights;
use crate::parallel::Gate;
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::stabilizer::Stabilizer;

/// What a network computes beside its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// Of the hidden layers: one for all of them, or one each.
    pub activations: Vec<Activation>,
    /// Of the last layer.
    pub output_activation: OutputActivation,
    /// Every activated value is multiplied by it.
    pub activation_scale: f64,
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
            epsilon_exp: 4e-6,
            epsilon_square: 4e-6,
        }
    }
}

/// A multi-layer perceptron: `activation(W x + b) * activation_scale` a hidden layer, and an output.
pub struct Network<T: Scalar> {
    layers: Vec<Layer<T>>,
    config: NetworkConfig,
    /// A layer each.
    epilogues: Vec<Epilogue<T>>,
    kernels: &'static Kernels<T>,
    /// Made by the first pass after `layers` or `kernels` have changed.
    packed: OnceLock<PackedWeights<T>>,
    /// Whether workers help with passes over batches of about 1, 2, 4, ... rows.
    gates: [Gate; 16],
}

/// Without what the first pass makes: most copies are made to be changed.
impl<T: Scalar> Clone for Network<T> {
    fn clone(&self) -> Self {
        self.with_layers(self.layers.clone())
    }
}

impl<T: Scalar> Network<T> {
    /// What follows the sums of layer `layer`.
    pub(crate) fn epilogue(&self, layer: usize) -> &Epilogue<T> {
        &self.epilogues[layer]
    }

    pub(crate) fn kernels(&self) -> &'static Kernels<T> {
        self.kernels
    }

    /// The same network of other layers, of the same sizes.
    ///
    /// # Panics
    /// If a size differs.
    pub fn with_layers(&self, layers: Vec<Layer<T>>) -> Self {
        let sizes = |layers: &[Layer<T>]| layers.iter().map(|l| (l.inputs(), l.outputs())).collect::<Vec<_>>();
        assert_eq!(sizes(&self.layers), sizes(&layers));
        Network {
            layers,
            config: self.config.clone(),
            epilogues: self.epilogues.clone(),
            kernels: self.kernels,
            packed: OnceLock::new(),
            gates: Default::default(),
        }
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Layer<T>] {
        &self.layers
    }

    pub(crate) fn layers_mut(&mut self) -> &mut [Layer<T>] {
        self.packed.take();
        &mut self.layers
    }

    /// What has been learnt of workers in passes over about `batch` rows.
    pub(crate) fn gate(&self, batch: usize) -> &Gate {
        &self.gates[(batch.max(1).ilog2() as usize).min(self.gates.len() - 1)]
    }

    /// The panels of those layers of which `wanted` says so, every time the same.
    pub(crate) fn packed(&self, wanted: impl Fn(&Layer<T>) -> bool) -> Result<&PackedWeights<T>> {
        if let Some(packed) = self.packed.get() {
            return Ok(packed);
        }
        let packed = PackedWeights::new(&self.layers, self.kernels, wanted)?;
        Ok(self.packed.get_or_init(|| packed))
    }

    /// (inputs, hidden..., outputs)
    pub fn layer_sizes(&self) -> Vec<usize> {
        layer_sizes(&self.layers)
    }
}

impl<T: Dispatch> Network<T> {
    /// A network of `layer_sizes` (inputs, hidden..., outputs), with zero biases and weights drawn by `init`. The same
    /// seed gives the same weights on every platform.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer than two sizes, a size of 0 or a bad `config`; [`Error::OutOfMemory`].
    pub fn new(layer_sizes: &[usize], config: NetworkConfig, init: Init, seed: u64) -> Result<Self> {
        if layer_sizes.len() < 2 || layer_sizes.contains(&0) {
            let got = format!("{layer_sizes:?}");
            return Err(Error::invalid("layer_sizes", "at least two sizes (inputs, outputs), each at least 1", got));
        }
        // Before gigabytes are filled with random numbers.
        let epilogues = epilogues(&config, layer_sizes.len() - 1)?;
        let layer = |(index, sizes): (usize, &[usize])| {
            Layer::filled(sizes[0], sizes[1], |weight, _| init.fill(seed, index, sizes[0], weight))
        };
        let layers = layer_sizes.windows(2).enumerate().map(layer).collect::<Result<_>>()?;
        Network::assemble(layers, config, epilogues)
    }

    /// A network of these layers, each of which must take what the one before it gives.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no layer, two do not fit, or `config` is bad.
    pub fn from_layers(layers: Vec<Layer<T>>, config: NetworkConfig) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::invalid("parameters", "at least one layer", "none"));
        }
        for (index, pair) in layers.windows(2).enumerate() {
            let (outputs, inputs) = (pair[0].outputs(), pair[1].inputs());
            if outputs != inputs {
                return Err(Error::invalid(
                    format!("parameters[{}].W", index + 1),
                    format!("{outputs} columns, as many as the layer before has outputs"),
                    inputs,
                ));
            }
        }
        let epilogues = epilogues(&config, layers.len())?;
        Network::assemble(layers, config, epilogues)
    }

    fn assemble(layers: Vec<Layer<T>>, config: NetworkConfig, epilogues: Vec<Epilogue<T>>) -> Result<Self> {
        Ok(Network {
            layers,
            config,
            epilogues,
            kernels: kernels(Isa::active()?)?,
            packed: OnceLock::new(),
            gates: Default::default(),
        })
    }

    /// The same network on another instruction set than the one chosen at start-up.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this CPU lacks it.
    pub fn with_isa(mut self, isa: Isa) -> Result<Self> {
        self.kernels = kernels(isa)?;
        self.packed.take();
        Ok(self)
    }

    /// The same network with copies of other parameters: one (W, b) a layer, in the shapes that it has.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NonFinite`] or [`Error::OutOfMemory`].
    pub fn with_parameters(&self, parameters: &[(Matrix<T>, &[T])]) -> Result<Self> {
        if parameters.len() != self.layers.len() {
            let expected = format!("{} (W, b) pairs, one a layer", self.layers.len());
            return Err(Error::invalid("parameters", expected, parameters.len()));
        }
        let mut layers = Vec::new();
        for (index, (layer, (weight, bias))) in self.layers.iter().zip(parameters).enumerate() {
            let name = format!("parameters[{index}]");
            check_parameters(&name, (layer.outputs(), layer.inputs()), *weight, bias)?;
            layers.push(Layer::new(&name, *weight, bias)?);
        }
        Ok(self.with_layers(layers))
    }

    /// What the network computes beside its parameters.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// The instruction set it runs on.
    pub fn isa(&self) -> Isa {
        self.kernels.isa()
    }

    /// The number of weights and biases.
    pub fn n_parameters(&self) -> usize {
        self.layers.iter().map(Layer::n_parameters).sum()
    }

    /// The bytes of weights and biases.
    pub fn nbytes(&self) -> usize {
        self.n_parameters() * size_of::<T>()
    }
}

/// The epilogues of `n_layers` layers; checks `config`.
fn epilogues<T: Scalar>(config: &NetworkConfig, n_layers: usize) -> Result<Vec<Epilogue<T>>> {
    let stabilizer = Stabilizer::new(config.epsilon_exp, config.epsilon_square)?;
    let scale = T::from_f64(config.activation_scale);
    if !scale.is_finite() {
        return Err(Error::invalid("activation_scale", format!("a finite {}", T::NAME), config.activation_scale));
    }
    let n_hidden = n_layers - 1;
    let given = &config.activations;
    if given.len() != 1 && (given.len() != n_hidden || given.is_empty()) {
        let expected = format!("one name, or {n_hidden}, one a hidden layer");
        return Err(Error::invalid("activation", expected, format!("{} names", given.len())));
    }
    let hidden = |activation| Epilogue { activation, scale, stabilizer };
    let output = match config.output_activation {
        OutputActivation::Same => hidden(given[given.len() - 1]),
        OutputActivation::Sigmoid => Epilogue { activation: Activation::Sigmoid, scale: T::ONE, stabilizer },
        OutputActivation::Identity | OutputActivation::Softmax => {
            Epilogue { activation: Activation::Identity, scale: T::ONE, stabilizer }
        }
    };
    let hidden = (0..n_hidden).map(|l| hidden(given[l.min(given.len() - 1)]));
    Ok(hidden.chain(std::iter::once(output)).collect())
}
