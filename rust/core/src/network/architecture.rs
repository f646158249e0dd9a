//! What every kind of network has besides its parameters.

use crate::activation::Epilogue;
use crate::error::Result;
use crate::linalg::numeric_embedding::{EMBEDDED, PARAMETERS_PER_INPUT};
use crate::linalg::pack::row_stride;
use crate::network::config::NetworkConfig;
use crate::parallel::Gate;
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::simd::dispatch::{Dispatch, Kernels, kernels};

/// The sizes of a network's layers, what they compute besides their products, and on which instruction set.
pub struct Architecture<T: Scalar> {
    /// (inputs, hidden..., outputs)
    sizes: Vec<usize>,
    /// The number of embedded inputs, which are the first ones.
    embedded: usize,
    /// What each pass needs to know of the sizes.
    summary: Summary,
    config: NetworkConfig,
    /// One for each layer.
    epilogues: Vec<Epilogue<T>>,
    kernels: &'static Kernels<T>,
    /// Decide whether workers help with a pass: one for each power of two of the number of rows.
    gates: [Gate; 16],
}

/// Numbers computed once from the sizes of the layers.
#[derive(Clone, Copy)]
pub(crate) struct Summary {
    /// The number of weights and biases, with those of an embedding.
    pub n_parameters: usize,
    /// The number of outputs of the widest hidden layer; 0 if there is none.
    pub hidden_width: usize,
    /// The number of outputs of the widest layer.
    pub widest: usize,
    /// The number of outputs of the narrowest layer.
    pub narrowest: usize,
}

impl Summary {
    fn new(sizes: &[usize], embedded: usize) -> Self {
        let (widths, hidden) = (&sizes[1..], &sizes[1..sizes.len() - 1]);
        // Saturating, because the sizes come before the check that the parameters fit into memory.
        let n_parameters = |pair: &[usize]| pair[0].saturating_add(1).saturating_mul(pair[1]);
        let of_embedding = embedded.saturating_mul(PARAMETERS_PER_INPUT + EMBEDDED.saturating_mul(widths[0]));
        Summary {
            n_parameters: sizes.windows(2).map(n_parameters).fold(of_embedding, usize::saturating_add),
            hidden_width: hidden.iter().copied().max().unwrap_or(0),
            widest: widths.iter().copied().max().unwrap_or(0),
            narrowest: widths.iter().copied().min().unwrap_or(0),
        }
    }
}

impl<T: Dispatch> Architecture<T> {
    /// Dense layers of the sizes `sizes` (inputs, hidden..., outputs), at least two, after an embedding of the first
    /// `embedded` inputs, on the instruction set that was chosen at start-up.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if `config` is invalid.
    pub(crate) fn new(sizes: Vec<usize>, embedded: usize, config: NetworkConfig) -> Result<Self> {
        let epilogues = config.epilogues(sizes.len() - 1)?;
        let summary = Summary::new(&sizes, embedded);
        Ok(Architecture {
            sizes,
            embedded,
            summary,
            config,
            epilogues,
            kernels: kernels(Isa::active()?)?,
            gates: Default::default(),
        })
    }

    /// The same on the instruction set `isa`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if this CPU lacks it.
    pub(crate) fn with_isa(self, isa: Isa) -> Result<Self> {
        Ok(Architecture { kernels: kernels(isa)?, ..self })
    }
}

/// The copy has not learnt yet whether workers help.
impl<T: Scalar> Clone for Architecture<T> {
    fn clone(&self) -> Self {
        Architecture {
            sizes: self.sizes.clone(),
            embedded: self.embedded,
            summary: self.summary,
            config: self.config.clone(),
            epilogues: self.epilogues.clone(),
            kernels: self.kernels,
            gates: Default::default(),
        }
    }
}

impl<T: Scalar> Architecture<T> {
    /// The sizes (inputs, hidden..., outputs).
    pub(crate) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    pub(crate) fn inputs(&self) -> usize {
        self.sizes[0]
    }

    /// The number of embedded inputs.
    pub(crate) fn embedded(&self) -> usize {
        self.embedded
    }

    /// The number of inputs of the first dense layer.
    pub(crate) fn dense_inputs(&self) -> usize {
        self.inputs() + EMBEDDED * self.embedded
    }

    /// The number of values that the embedding writes for each row; 0 if there is none.
    pub(crate) fn embedding_width(&self) -> usize {
        if self.embedded > 0 { self.dense_inputs() } else { 0 }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.sizes[self.n_layers()]
    }

    /// The number of dense layers.
    pub(crate) fn n_layers(&self) -> usize {
        self.sizes.len() - 1
    }

    /// Whether the sizes, what the dense layers compute, and the instruction set are those of `other`.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let dense = |config: &NetworkConfig| NetworkConfig { numeric_embedding: None, ..config.clone() };
        self.sizes == other.sizes
            && dense(&self.config) == dense(&other.config)
            && self.kernels.isa() == other.kernels.isa()
    }

    /// The number of outputs of each layer.
    pub(crate) fn widths(&self) -> &[usize] {
        &self.sizes[1..]
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(crate) fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// What layer `layer` does to its sums.
    pub(crate) fn epilogue(&self, layer: usize) -> &Epilogue<T> {
        &self.epilogues[layer]
    }

    pub(crate) fn kernels(&self) -> &'static Kernels<T> {
        self.kernels
    }

    /// Decides whether workers help with passes over about `batch` rows.
    pub(crate) fn gate(&self, batch: usize) -> &Gate {
        &self.gates[(batch.max(1).ilog2() as usize).min(self.gates.len() - 1)]
    }

    /// The row stride of `width` hidden values, in elements.
    pub(crate) fn stride(&self, width: usize) -> usize {
        row_stride::<T>(width, self.kernels.nr())
    }
}
