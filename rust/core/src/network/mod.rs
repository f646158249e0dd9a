//! The network: layers, initial weights, and the forward pass over dense or sparse rows.
//!
//! Uses `linalg` for the arithmetic and `parallel` for the threads; knows nothing of training. This file holds
//! [`Network`], and `quantized` a network whose weights take fewer bytes,
//! `ensemble` several of either. Start with `forward` (the pass of all) and
//! `plan` (how a pass is blocked and split over threads, from shapes alone). `architecture`, `embedding`, `layer`,
//! `quantized_layer`, `shapes`, `config`, `init` and `packed_weights` are the parts of a network; `rows`, `sparse` and
//! `input` are its inputs.

pub(crate) mod architecture;
pub(crate) mod checks;
mod config;
pub(crate) mod embedding;
pub(crate) mod ensemble;
pub(crate) mod forward;
pub(crate) mod init;
pub(crate) mod input;
pub(crate) mod layer;
pub(crate) mod packed_weights;
pub(crate) mod plan;
mod plan_text;
pub(crate) mod quantized;
pub(crate) mod quantized_layer;
pub(crate) mod rows;
mod shapes;
pub(crate) mod sparse;

use std::sync::OnceLock;

use crate::activation::Epilogue;
use crate::error::{Error, Result};
use crate::linalg::numeric_embedding::EmbeddingArrays;
use crate::matrix::Matrix;
use crate::network::architecture::Architecture;
pub use crate::network::config::{NetworkConfig, NumericEmbedding};
use crate::network::embedding::{embedding_arrays, initial_layers};
use crate::network::forward::{LayerIndex, LayerPart, Layers};
use crate::network::init::Init;
use crate::network::layer::{Layer, LayerForward, check_parameters};
use crate::network::packed_weights::PackedWeights;
use crate::network::plan::{Plan, Weights};
use crate::network::shapes::check_chain;
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::simd::dispatch::{Dispatch, Kernels};

/// A multi-layer perceptron: each hidden layer computes `activation(W x + b) * activation_scale`, the last layer the
/// output.
pub struct Network<T: Scalar> {
    layers: Vec<Layer<T>>,
    architecture: Architecture<T>,
    /// Packed by the first pass after the layers or the instruction set have changed.
    packed: OnceLock<PackedWeights<T>>,
}

impl<T: Scalar> Network<T> {
    /// A copy of the network, without the packed weights, because most copies are made to be changed. Not `Clone`, which
    /// could not report a failed allocation.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_clone(&self) -> Result<Self> {
        Ok(self.with_layers(self.layers.iter().map(Layer::try_clone).collect::<Result<_>>()?))
    }

    /// What layer `layer` does to its sums.
    pub(crate) fn epilogue(&self, layer: usize) -> &Epilogue<T> {
        self.architecture.epilogue(layer)
    }

    pub(crate) fn kernels(&self) -> &'static Kernels<T> {
        self.architecture.kernels()
    }

    /// A network with the same configuration and other layers of the same sizes.
    ///
    /// # Panics
    /// If a size differs.
    pub fn with_layers(&self, layers: Vec<Layer<T>>) -> Self {
        let sizes = |layers: &[Layer<T>]| layers.iter().map(|l| (l.inputs(), l.outputs())).collect::<Vec<_>>();
        assert_eq!(sizes(&self.layers), sizes(&layers));
        Network { layers, architecture: self.architecture.clone(), packed: OnceLock::new() }
    }

    /// The dense layers, which come after those of an embedding.
    pub(crate) fn dense_layers(&self) -> &[Layer<T>] {
        &self.layers[self.architecture.config().n_embedding_layers()..]
    }

    /// The layers, first to last: those of the embedding, then the dense ones.
    pub fn layers(&self) -> &[Layer<T>] {
        &self.layers
    }

    /// The layers, first to last, without the network.
    pub fn into_layers(self) -> Vec<Layer<T>> {
        self.layers
    }

    pub(crate) fn layers_mut(&mut self) -> &mut [Layer<T>] {
        self.packed.take();
        &mut self.layers
    }

    /// The sizes (inputs, hidden..., outputs).
    pub fn layer_sizes(&self) -> &[usize] {
        self.architecture.sizes()
    }
}

impl<T: Dispatch> Network<T> {
    /// A network with the sizes `layer_sizes` (inputs, hidden..., outputs), weights drawn from `init` and biases of 0.
    /// With a `numeric_embedding`, all inputs are embedded. The same seed gives the same weights on every platform.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer than two sizes, a size of 0 or an invalid `config`; [`Error::OutOfMemory`].
    pub fn new(layer_sizes: &[usize], config: NetworkConfig, init: Init, seed: u64) -> Result<Self> {
        if layer_sizes.len() < 2 || layer_sizes.contains(&0) {
            let got = format!("{layer_sizes:?}");
            return Err(Error::invalid("layer_sizes", "at least two sizes (inputs, outputs), each at least 1", got));
        }
        // Checks `config`, before gigabytes are filled with random numbers.
        let embedded = if config.numeric_embedding.is_some() { layer_sizes[0] } else { 0 };
        let architecture = Architecture::new(layer_sizes.to_vec(), embedded, config)?;
        let mut layers = if embedded > 0 { initial_layers(embedded, seed)? } else { Vec::new() };
        for (index, sizes) in layer_sizes.windows(2).enumerate() {
            let inputs = if index == 0 { architecture.dense_inputs() } else { sizes[0] };
            layers.push(Layer::filled(inputs, sizes[1], |weight| init.fill(seed, index, inputs, weight))?);
        }
        Ok(Network { layers, architecture, packed: OnceLock::new() })
    }

    /// A network with these layers. Each dense layer must have the number of inputs that the layer before it has
    /// outputs. With a `numeric_embedding`, the first two layers are its own, and their shapes tell how many inputs are
    /// embedded.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `layers` is empty, two layers do not fit together, or `config` is invalid.
    pub fn from_layers(layers: Vec<Layer<T>>, config: NetworkConfig) -> Result<Self> {
        let shapes: Vec<_> = layers.iter().map(|layer| (layer.inputs(), layer.outputs())).collect();
        let (sizes, embedded) = check_chain(&shapes, config.n_embedding_layers())?;
        let architecture = Architecture::new(sizes, embedded, config)?;
        Ok(Network { layers, architecture, packed: OnceLock::new() })
    }

    /// The same network on the instruction set `isa` instead of the one chosen at start-up.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this CPU lacks it.
    pub fn with_isa(self, isa: Isa) -> Result<Self> {
        let architecture = self.architecture.with_isa(isa)?;
        Ok(Network { layers: self.layers, architecture, packed: OnceLock::new() })
    }

    /// A network with the same configuration and copies of these parameters: one (W, b) for each layer, in the shapes
    /// of this network.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the number of pairs or a shape differs, [`Error::NonFinite`], [`Error::OutOfMemory`].
    pub fn with_parameters(&self, parameters: &[(Matrix<T>, &[T])]) -> Result<Self> {
        if parameters.len() != self.layers.len() {
            let expected = format!("{} (W, b) pairs, one for each layer", self.layers.len());
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

    /// What the network computes besides its parameters.
    pub fn config(&self) -> &NetworkConfig {
        self.architecture.config()
    }

    /// The instruction set that the network runs on.
    pub fn isa(&self) -> Isa {
        self.kernels().isa()
    }

    /// The number of weights and biases.
    pub fn n_parameters(&self) -> usize {
        self.architecture.summary().n_parameters
    }

    /// The size of weights and biases in bytes.
    pub fn nbytes(&self) -> usize {
        self.n_parameters() * size_of::<T>()
    }
}

impl<T: Dispatch> Layers for Network<T> {
    type Value = T;

    fn architecture(&self) -> &Architecture<T> {
        &self.architecture
    }

    fn weights(&self) -> Weights {
        Weights { nbytes: self.nbytes(), row_work: self.n_parameters(), low_precision: None }
    }

    fn embedding(&self, _member: usize) -> Option<EmbeddingArrays<&[T]>> {
        (self.architecture.embedded() > 0).then(|| embedding_arrays([&self.layers[0], &self.layers[1]]))
    }

    fn pack(&self, plan: &Plan) -> Result<()> {
        if self.packed.get().is_none() {
            let packed = PackedWeights::new(self.dense_layers().iter().map(Some), self.kernels(), plan)?;
            self.packed.get_or_init(|| packed);
        }
        Ok(())
    }

    fn unit(&self, _layer: usize) -> usize {
        self.kernels().nr()
    }

    fn scratch_len(&self, _rows: usize) -> usize {
        0
    }

    unsafe fn forward_layer(&self, LayerIndex { layer, .. }: LayerIndex, plan: &Plan, part: LayerPart<T>) {
        let (panels, epilogue) = (PackedWeights::panels(self.packed.get(), layer), self.epilogue(layer));
        let layer = &self.dense_layers()[layer];
        let kernel = plan.kernel(part.x.rows(), layer.outputs());
        // SAFETY: guaranteed by the caller.
        unsafe { LayerForward { layer, panels, epilogue, kernel }.run(self.kernels(), part) }
    }
}
