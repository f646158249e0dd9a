//! The buffers of a tape: what they hold, and where they lie in one arena.

use std::ops::Range;

use crate::activation::{Activation, Epilogue};
use crate::linalg::numeric_embedding::{EMBEDDED, EmbeddingArrays, FREQUENCIES};
use crate::linalg::pack::{panels_len, row_stride};
use crate::linalg::view::ViewMut;
use crate::network::Network;
use crate::network::layer::Layer;
use crate::parallel::Shared;
use crate::scalar::Scalar;
use crate::simd::CACHE_LINE;
use crate::training::loss::Loss;

/// The number of outputs whose gradient is computed, and used, before that of the next ones. A multiple of the rows of
/// a micro-kernel and of the lanes of a register. Measured: `rust/core/TUNING.md`, "Gradient stripes".
pub(crate) const STRIPE: usize = 48;

/// The largest gradient of a stripe that is written to a scratch buffer: a larger one would not stay in the cache.
/// Measured: `rust/core/TUNING.md`, "Reused gradient buffer".
const MAX_SCRATCH_GRADIENT_BYTES: usize = 1 << 20;

/// Pointers to the parameters of a layer, or to arrays of the same shapes. Threads share them; each output is written
/// by one thread at a time.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<T> {
    /// (outputs, inputs)
    pub weight: Shared<T>,
    /// (outputs,)
    pub bias: Shared<T>,
}

/// What the last layer of a tape computes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// The logits: pre-activations, from which the loss is computed.
    Logits,
    /// The outputs of the network, except that a softmax is left to the caller.
    Output,
}

impl Head {
    /// The head from which `loss` is computed.
    pub(crate) fn for_loss(loss: Loss) -> Self {
        if loss.takes_logits() { Head::Logits } else { Head::Output }
    }
}

/// What a tape is used for, which decides what buffers it has.
pub(crate) struct TapeOptions {
    /// The number of threads that use the tape.
    pub n_threads: usize,
    /// The number of rows of the largest block.
    pub rows: usize,
    pub head: Head,
    /// Whether the forward pass applies dropout.
    pub dropout: bool,
    /// Whether the backward pass computes dLoss/dX.
    pub input_gradient: bool,
    /// Whether weight gradients may be written to a scratch buffer, because each is used at once and not needed
    /// afterwards.
    pub scratch_gradients: bool,
}

/// The buffers of one layer.
pub(super) struct LayerTape<T> {
    pub inputs: usize,
    pub outputs: usize,
    pub epilogue: Epilogue<T>,
    pub parameters: Parameters<T>,
    /// The outputs of the layer (rows, outputs).
    pub values: ViewMut<T>,
    /// d(values)/dZ (rows, outputs), for the pre-activations Z. Only if it cannot be computed from `values`.
    pub derivatives: Option<ViewMut<T>>,
    /// dLoss/d(values), then dLoss/dZ (rows, outputs).
    pub deltas: ViewMut<T>,
    /// W^T, packed for the forward pass.
    pub forward_panels: Shared<T>,
    /// W, packed for the backward pass. Only if that computes the gradient of the layer's inputs.
    pub backward_panels: Option<Shared<T>>,
    /// dLoss/dW and dLoss/db.
    pub gradient: Parameters<T>,
}

/// The buffers of an embedding.
pub(super) struct EmbeddingTape<T> {
    /// The number of embedded inputs.
    pub n: usize,
    /// The inputs of the network (rows, inputs).
    pub x: ViewMut<T>,
    /// dLoss/d(inputs of the first dense layer) (rows, inputs of that layer).
    pub deltas: ViewMut<T>,
    /// Parameters and gradients of its two layers.
    pub parameters: [Parameters<T>; 2],
    pub gradient: [Parameters<T>; 2],
}

impl<T> EmbeddingTape<T> {
    /// The parameters of the embedding of the inputs `columns`.
    ///
    /// # Safety
    /// These inputs are embedded, and nothing writes their parameters while the result is used.
    pub(super) unsafe fn arrays<'a>(&self, columns: Range<usize>) -> EmbeddingArrays<&'a [T]> {
        let [first, second] = &self.parameters;
        let of = |n: usize| columns.start * n..columns.end * n;
        // SAFETY: the caller's promise; these are the shapes of the layers.
        unsafe {
            EmbeddingArrays {
                w1: first.weight.slice(of(FREQUENCIES)),
                b1: first.bias.slice(of(FREQUENCIES)),
                w2: second.weight.slice(of(EMBEDDED * FREQUENCIES)),
                b2: second.bias.slice(of(EMBEDDED)),
            }
        }
    }
}

/// One scratch buffer per thread for the weight gradients of a stripe.
#[derive(Clone, Copy)]
pub(super) struct ScratchGradients<T> {
    pub first: Shared<T>,
    /// Elements from the buffer of one thread to that of the next.
    pub stride: usize,
}

/// All buffers of a tape. The rows of each view are [`row_stride`] elements apart.
///
/// They may hold any numbers at first: elements after the last column of a row or of a panel only affect other elements
/// after the last column.
pub(super) struct TapeBuffers<T> {
    /// (rows, inputs of the first dense layer)
    pub input: ViewMut<T>,
    pub embedding: Option<EmbeddingTape<T>>,
    /// The dense layers.
    pub layers: Vec<LayerTape<T>>,
    /// For each thread, a copy of the deltas of a stripe (rows, at most [`STRIPE`]).
    pub stripe_deltas: Shared<T>,
    pub scratch_gradients: Option<ScratchGradients<T>>,
}

impl<T: Scalar> TapeBuffers<T> {
    /// Lays out the buffers one after another from `start` on. Also returns the number of elements they take; a null
    /// `start` is allowed for a call that only asks for this number.
    pub(super) fn lay_out(
        network: &Network<T>,
        parameters: &[Parameters<T>],
        options: &TapeOptions,
        start: *mut T,
    ) -> (Self, usize) {
        let (nr, rows) = (network.kernels().nr(), options.rows);
        let mut space = Space { start, taken: 0 };
        let dense_layers = network.dense_layers();
        let input = space.view(rows, dense_layers[0].inputs(), nr);
        let (embedding_parameters, parameters) = parameters.split_at(parameters.len() - dense_layers.len());
        let embedding = match (embedding_parameters, network.layers()) {
            (&[first, second], [first_layer, second_layer, ..]) => {
                let mut gradient = |layer: &Layer<T>| Parameters {
                    weight: space.take(layer.weight().len()),
                    bias: space.take(layer.outputs()),
                };
                let gradient = [gradient(first_layer), gradient(second_layer)];
                Some(EmbeddingTape {
                    n: second_layer.outputs() / EMBEDDED,
                    x: space.view(rows, network.layer_sizes()[0], nr),
                    deltas: space.view(rows, dense_layers[0].inputs(), nr),
                    parameters: [first, second],
                    gradient,
                })
            }
            _ => None,
        };
        let mut layers = Vec::new();
        for (l, layer) in dense_layers.iter().enumerate() {
            let (inputs, outputs, is_last) = (layer.inputs(), layer.outputs(), l + 1 == dense_layers.len());
            let epilogue = match options.head {
                Head::Logits if is_last => {
                    Epilogue { activation: Activation::Identity, scale: T::ONE, ..*network.epilogue(l) }
                }
                _ => *network.epilogue(l),
            };
            let from_output = epilogue.scale == T::ONE && epilogue.activation.has_derivative_from_output();
            let store_derivatives = !from_output || (options.dropout && !is_last);
            let has_input_gradient = l > 0 || options.input_gradient || embedding.is_some();
            layers.push(LayerTape {
                inputs,
                outputs,
                epilogue,
                parameters: parameters[l],
                values: space.view(rows, outputs, nr),
                deltas: space.view(rows, outputs, nr),
                derivatives: store_derivatives.then(|| space.view(rows, outputs, nr)),
                forward_panels: space.take(panels_len(inputs, outputs, nr)),
                backward_panels: has_input_gradient.then(|| space.take(panels_len(outputs, inputs, nr))),
                gradient: Parameters { weight: space.take(outputs * inputs), bias: space.take(outputs) },
            });
        }
        let stripe_deltas = space.take(options.n_threads.saturating_mul(rows * STRIPE));
        let stride = layers.iter().map(|layer| layer.inputs).max().unwrap_or(0).saturating_mul(STRIPE);
        let fits_cache = stride.saturating_mul(size_of::<T>()) <= MAX_SCRATCH_GRADIENT_BYTES;
        let scratch_gradients = (options.scratch_gradients && fits_cache)
            .then(|| ScratchGradients { first: space.take(options.n_threads.saturating_mul(stride)), stride });
        (TapeBuffers { input, embedding, layers, stripe_deltas, scratch_gradients }, space.taken)
    }
}

/// Memory that is handed out from its start to its end.
struct Space<T> {
    start: *mut T,
    taken: usize,
}

impl<T: Scalar> Space<T> {
    /// The next `len` elements, which begin on a cache line.
    fn take(&mut self, len: usize) -> Shared<T> {
        let first = Shared(self.start.wrapping_add(self.taken));
        self.taken = self.taken.saturating_add(len.next_multiple_of(CACHE_LINE / size_of::<T>()));
        first
    }

    /// A buffer (rows, width) for products with panels of `nr` columns.
    fn view(&mut self, rows: usize, width: usize, nr: usize) -> ViewMut<T> {
        let stride = row_stride::<T>(width, nr);
        ViewMut::new(self.take(rows * stride).0, rows, width, stride)
    }
}
