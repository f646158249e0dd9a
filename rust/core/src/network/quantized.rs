//! Networks whose weights take fewer bytes than f32: f16, bf16 or int8.

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::linalg::low_precision::LowPrecisionMatrix;
use crate::linalg::numeric_embedding::EmbeddingArrays;
use crate::network::architecture::Architecture;
use crate::network::embedding::embedding_arrays;
use crate::network::forward::{LayerIndex, LayerPart, Layers};
use crate::network::layer::LayerForward;
use crate::network::packed_weights::PackedWeights;
use crate::network::plan::{LowPrecision, Plan, Weights};
use crate::network::quantized_layer::QuantizedLayer;
use crate::network::shapes::check_chain;
use crate::network::{Network, NetworkConfig};
use crate::simd::LowPrecisionIsa;
use crate::simd::dispatch::Dispatch;
use crate::weight_format::WeightFormat;

/// A [`Network`] for predictions only, whose layers have low-precision weights. Inputs, biases, activations and outputs
/// are f32. A clone shares the parameters, which never change.
pub struct QuantizedNetwork {
    layers: Arc<[QuantizedLayer]>,
    architecture: Architecture<f32>,
    isa: LowPrecisionIsa,
    weights: Weights,
    /// The weights of f32 layers, packed by the first pass.
    packed: OnceLock<PackedWeights<f32>>,
}

impl Clone for QuantizedNetwork {
    fn clone(&self) -> Self {
        let (layers, architecture) = (self.layers.clone(), self.architecture.clone());
        QuantizedNetwork { layers, architecture, packed: OnceLock::new(), ..*self }
    }
}

impl QuantizedNetwork {
    /// `network` with the weights of each layer rounded to its format, of which `formats` has one for each dense layer;
    /// `None` keeps a layer in f32. An embedding stays in f32.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `formats` has another length or only `None`; else as for [`QuantizedLayer::quantize`].
    pub fn quantize<T: Dispatch>(network: &Network<T>, formats: &[Option<WeightFormat>]) -> Result<Self> {
        let n_layers = network.dense_layers().len();
        if formats.len() != n_layers {
            return Err(Error::invalid("kind", format!("{n_layers} formats, one for each layer"), formats.len()));
        }
        let embedding = std::iter::repeat_n(&None, network.config().n_embedding_layers());
        let layers = network.layers().iter().zip(embedding.chain(formats)).enumerate();
        let layers =
            layers.map(|(l, (layer, format))| QuantizedLayer::quantize(&format!("parameters[{l}]"), layer, *format));
        QuantizedNetwork::from_layers(layers.collect::<Result<_>>()?, network.config().clone())
    }

    /// A network with these layers. Each must have the number of inputs that the layer before it has outputs.
    ///
    /// # Errors
    /// [`Error::Invalid`] if no layer has a low-precision format or one of an embedding has, two layers do not fit
    /// together, or `config` is invalid.
    pub fn from_layers(layers: Vec<QuantizedLayer>, config: NetworkConfig) -> Result<Self> {
        if layers.iter().all(|layer| layer.format().is_none()) {
            let got = if layers.is_empty() { "no layer" } else { "only f32" };
            return Err(Error::invalid("kind", "a low-precision format for at least one layer", got));
        }
        let embedding = &layers[..config.n_embedding_layers().min(layers.len())];
        if let Some(format) = embedding.iter().find_map(QuantizedLayer::format) {
            return Err(Error::invalid("kind", "an embedding in f32", format));
        }
        let shapes: Vec<_> = layers.iter().map(|layer| (layer.inputs(), layer.outputs())).collect();
        let (sizes, embedded) = check_chain(&shapes, config.n_embedding_layers())?;
        let architecture = Architecture::new(sizes, embedded, config)?;
        QuantizedNetwork::assemble(layers, architecture, LowPrecisionIsa::active()?)
    }

    fn assemble(
        mut layers: Vec<QuantizedLayer>,
        architecture: Architecture<f32>,
        isa: LowPrecisionIsa,
    ) -> Result<Self> {
        LowPrecisionMatrix::gather(layers.iter_mut().filter_map(QuantizedLayer::low_precision_weights_mut))?;
        let weights = weights_of(&layers, isa, architecture.config().n_embedding_layers());
        Ok(QuantizedNetwork { weights, layers: layers.into(), architecture, isa, packed: OnceLock::new() })
    }

    /// The same network on the instruction set `isa` instead of the one chosen at start-up.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this CPU lacks it; [`Error::OutOfMemory`].
    pub fn with_isa(self, isa: LowPrecisionIsa) -> Result<Self> {
        let layers = self.layers.iter().map(|layer| layer.with_isa(isa)).collect::<Result<Vec<_>>>()?;
        QuantizedNetwork::assemble(layers, self.architecture.with_isa(isa.lanes())?, isa)
    }

    /// The dense layers, which come after those of an embedding.
    pub fn dense_layers(&self) -> &[QuantizedLayer] {
        &self.layers[self.config().n_embedding_layers()..]
    }

    /// The layers, first to last: those of the embedding, then the dense ones.
    pub fn layers(&self) -> &[QuantizedLayer] {
        &self.layers
    }

    /// The sizes (inputs, hidden..., outputs).
    pub fn layer_sizes(&self) -> &[usize] {
        self.architecture.sizes()
    }

    /// What the network computes besides its parameters.
    pub fn config(&self) -> &NetworkConfig {
        self.architecture.config()
    }

    /// The instruction set that the network runs on.
    pub fn isa(&self) -> LowPrecisionIsa {
        self.isa
    }

    /// The number of weights and biases.
    pub fn n_parameters(&self) -> usize {
        self.architecture.summary().n_parameters
    }

    /// The size of the stored parameters in bytes: weights, scales and biases.
    pub fn nbytes(&self) -> usize {
        self.weights.nbytes
    }
}

/// What a plan depends on. The first `n_embedding` layers are those of an embedding.
fn weights_of(layers: &[QuantizedLayer], isa: LowPrecisionIsa, n_embedding: usize) -> Weights {
    let work = |layer: &QuantizedLayer| {
        let multiply_adds = (layer.inputs() + 1) * layer.outputs();
        match layer.format() {
            Some(WeightFormat::Int8) => multiply_adds / 4,
            Some(WeightFormat::Bf16) => multiply_adds / 2,
            // The arithmetic is that of f32.
            Some(WeightFormat::F16 | WeightFormat::Int8Weights) | None => multiply_adds,
        }
    };
    let widest = layers.iter().filter_map(|layer| Some((layer.outputs(), layer.format()?))).max_by_key(|(n, _)| *n);
    Weights {
        nbytes: layers.iter().map(QuantizedLayer::nbytes).sum(),
        row_work: layers.iter().map(work).sum(),
        low_precision: widest.map(|(_, format)| LowPrecision {
            isa,
            format,
            is_mixed: layers[n_embedding..].iter().any(|layer| layer.format() != Some(format)),
        }),
    }
}

impl Layers for QuantizedNetwork {
    type Value = f32;

    fn architecture(&self) -> &Architecture<f32> {
        &self.architecture
    }

    fn is_like(&self, other: &Self) -> bool {
        let formats = |network: &Self| network.dense_layers().iter().map(QuantizedLayer::format).collect::<Vec<_>>();
        self.architecture.is_like(&other.architecture) && self.isa == other.isa && formats(self) == formats(other)
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn embedding(&self, _member: usize) -> Option<EmbeddingArrays<&[f32]>> {
        match self.layers.as_ref() {
            [QuantizedLayer::F32(first), QuantizedLayer::F32(second), ..] if self.architecture.embedded() > 0 => {
                Some(embedding_arrays([first, second]))
            }
            _ => None,
        }
    }

    fn pack(&self, plan: &Plan) -> Result<()> {
        if self.packed.get().is_none() {
            let layers = self.dense_layers().iter().map(QuantizedLayer::as_f32);
            let packed = PackedWeights::new(layers, self.architecture.kernels(), plan)?;
            self.packed.get_or_init(|| packed);
        }
        Ok(())
    }

    fn unit(&self, layer: usize) -> usize {
        match &self.dense_layers()[layer] {
            QuantizedLayer::F32(_) => self.architecture.kernels().nr(),
            QuantizedLayer::LowPrecision(layer) => layer.unit(),
        }
    }

    fn scratch_len(&self, rows: usize) -> usize {
        let scratch_len = |layer: &QuantizedLayer| match layer {
            QuantizedLayer::F32(_) => 0,
            QuantizedLayer::LowPrecision(layer) => layer.scratch_len(rows),
        };
        self.dense_layers().iter().map(scratch_len).max().unwrap_or(0)
    }

    unsafe fn forward_layer(&self, LayerIndex { layer: l, .. }: LayerIndex, plan: &Plan, part: LayerPart<f32>) {
        let epilogue = self.architecture.epilogue(l);
        // SAFETY: guaranteed by the caller.
        unsafe {
            match &self.dense_layers()[l] {
                QuantizedLayer::LowPrecision(layer) => layer.forward(epilogue, part),
                QuantizedLayer::F32(layer) => {
                    let kernel = plan.kernel(part.x.rows(), layer.outputs());
                    let panels = PackedWeights::panels(self.packed.get(), l);
                    let forward = LayerForward { layer, panels, epilogue, kernel };
                    forward.run(self.architecture.kernels(), part);
                }
            }
        }
    }
}
