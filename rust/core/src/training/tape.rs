//! What the forward pass of training leaves behind for the backward pass, and both passes over a block of rows.
//!
//! Members of a team split the *rows* of a block for the passes, which need no barrier between layers then, and the
//! *outputs* of each layer for the gradients, which sum over all rows. So a block has two phases, with a barrier behind
//! each; who is done with its share takes over what others have not begun. All buffers are made once; a step allocates
//! nothing.

use std::ops::Range;

use crate::activation::{Activation, Epilogue};
use crate::error::Result;
use crate::hash::{DROPOUT, key};
use crate::linalg::elementwise::{Derivatives, Dropout};
use crate::linalg::kernels::Kernels;
use crate::linalg::pack::{panels_len, row_stride};
use crate::linalg::view::{Lhs, Out, Rhs, View, ViewMut};
use crate::memory::Arena;
use crate::network::Network;
use crate::network::input::Input;
use crate::parallel::Shared;
use crate::scalar::Scalar;
use crate::simd::CACHE_LINE;
use crate::training::loss::Loss;

/// The parameters of a layer, read by all members and written by one at a time, each output by one of them.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<T> {
    /// (outputs, inputs)
    pub weight: Shared<T>,
    /// (outputs,)
    pub bias: Shared<T>,
}

/// One layer's part of the tape.
struct LayerTape<T> {
    inputs: usize,
    outputs: usize,
    epilogue: Epilogue<T>,
    parameters: Parameters<T>,
    /// What the layer puts out.
    values: ViewMut<T>,
    /// d(values)/d(sums), where the values do not tell it.
    derivatives: Option<ViewMut<T>>,
    /// dLoss/d(sums)
    deltas: ViewMut<T>,
    /// W^T in panels.
    forward: Shared<T>,
    /// W in panels, where dLoss/d(inputs) is wanted.
    backward: Option<Shared<T>>,
    /// dLoss/dW (outputs, inputs) and dLoss/db (outputs,)
    gradient: Parameters<T>,
}

/// What the last layer does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// The plain sums: the loss starts from them.
    Logits,
    /// The network's output, but for a softmax.
    Output,
}

impl Head {
    /// The head from which `loss` is computed.
    pub(crate) fn for_loss(loss: Loss) -> Self {
        if loss.takes_logits() { Head::Logits } else { Head::Output }
    }
}

/// Outputs whose gradient is computed, and used, before the next: whole tiles of the product, and whole registers of
/// outputs to pack. With 24, 784-512-512-10 (batch 256) and 784-256-128-10 (200) trained at 0.99 of the speed,
/// 64-64-64-10 (32) at 0.97, 784-64-64-10 (32) at 0.96 (the work of `benchmarks/training.py`, two builds in turn, 2
/// threads of Zen 4, medians of 15 rounds). 96 and 144 were within 1.5 % (2 threads of Emerald Rapids).
pub(crate) const STRIPE: usize = 48;

/// Where a gradient that is used at once may be no longer than it is in the cache.
#[derive(Clone, Copy)]
struct ScratchGradients<T> {
    first: Shared<T>,
    /// Elements from one member's to the next.
    stride: usize,
}

/// Bytes of a stripe's gradient from which on it has no place of its own: it would not stay in the cache either.
const MAX_SCRATCH_GRADIENT_BYTES: usize = 1 << 20;

/// What a tape is made for.
pub(crate) struct TapeOptions {
    /// Threads that use the tape.
    pub n_threads: usize,
    /// Rows of the largest block.
    pub rows: usize,
    pub head: Head,
    /// Whether hidden values will be dropped.
    pub dropout: bool,
    /// Whether the gradient by the inputs is wanted.
    pub input_gradient: bool,
    /// Whether gradients by the parameters are used at once, and need not be there at the end.
    pub scratch_gradients: bool,
}

/// Which hidden values a step drops.
#[derive(Clone, Copy)]
pub(crate) struct DropoutMask<T> {
    pub seed: u64,
    /// The index of the batch since the start of training.
    pub batch_index: u32,
    pub dropout: Dropout<T>,
    /// Rows of the batch before this block.
    pub rows_before: usize,
}

/// Buffers for blocks of rows through a network. Their rows are [`row_stride`] elements apart.
pub(crate) struct Tape<T: Scalar> {
    kernels: &'static Kernels<T>,
    input: ViewMut<T>,
    layers: Vec<LayerTape<T>>,
    /// For each member, a stripe of deltas (rows, up to [`STRIPE`]).
    stripes: Shared<T>,
    /// For each member, room for the gradient of a stripe (up to [`STRIPE`], inputs of the widest layer).
    scratch_gradients: Option<ScratchGradients<T>>,
    rows: usize,
    /// Where the pointers point to.
    _memory: Arena,
}

impl<T: Scalar> Tape<T> {
    /// A tape for blocks of up to `options.rows` rows through `network`, whose parameters are at `parameters`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn new(network: &Network<T>, parameters: &[Parameters<T>], options: &TapeOptions) -> Result<Self> {
        // Once to see how much it takes, then for good.
        let (_, len) = lay_out(network, parameters, options, std::ptr::null_mut());
        let mut memory = Arena::new("batch_size", len.saturating_mul(size_of::<T>()))?;
        let ((input, layers, stripes, scratch_gradients), _) =
            lay_out(network, parameters, options, memory.as_mut_ptr());
        Ok(Tape {
            kernels: network.kernels(),
            input,
            layers,
            stripes,
            scratch_gradients,
            rows: options.rows,
            _memory: memory,
        })
    }

    /// Rows of the largest block.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of layers.
    pub(crate) fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// The inputs of layer `l`.
    pub(crate) fn inputs(&self, l: usize) -> usize {
        self.layers[l].inputs
    }

    /// The outputs of layer `l`.
    pub(crate) fn outputs(&self, l: usize) -> usize {
        self.layers[l].outputs
    }

    /// The gradient of layer `l` by its parameters.
    pub(crate) fn gradient(&self, l: usize) -> Parameters<T> {
        self.layers[l].gradient
    }

    /// The gradient of one output of layer `l`: by its weights and by its bias.
    ///
    /// # Safety
    /// Nobody writes it.
    pub(crate) unsafe fn gradient_of_output(&self, l: usize, output: usize) -> (&[T], T) {
        let LayerTape { inputs, gradient, .. } = &self.layers[l];
        // SAFETY: the caller's promise.
        unsafe { (gradient.weight.slice(output * inputs..(output + 1) * inputs), *gradient.bias.0.add(output)) }
    }

    /// Where the gradients by the weights of the outputs from `output` on of layer `l` are.
    pub(crate) fn weight_gradient(&self, l: usize, output: usize) -> Shared<T> {
        let layer = &self.layers[l];
        layer.gradient.weight.at(output * layer.inputs)
    }

    /// Where a member may leave those of a stripe that it uses at once, where that pays.
    pub(crate) fn scratch_gradient(&self, thread: usize) -> Option<Shared<T>> {
        self.scratch_gradients.map(|scratch| scratch.first.at(thread * scratch.stride))
    }

    /// Packs the weights of the outputs `share` of layer `l`.
    ///
    /// # Safety
    /// Nobody else packs these outputs, and nobody writes their weights or reads the panels meanwhile.
    pub(crate) unsafe fn pack(&self, l: usize, share: Range<usize>) {
        let LayerTape { inputs, outputs, parameters, forward, backward, .. } = &self.layers[l];
        // SAFETY: the caller's promise; the panels were made for this layer.
        unsafe {
            let weight = View::new(parameters.weight.0, *outputs, *inputs, *inputs);
            self.kernels.pack_transposed(weight, share.clone(), forward.0);
            if let Some(backward) = backward {
                self.kernels.pack(weight, share, backward.0);
            }
        }
    }

    /// Copies row `index` of `x` to the input of row `row`.
    ///
    /// # Safety
    /// Nobody else uses the row.
    pub(crate) unsafe fn set_input(&self, row: usize, x: &Input<T>, index: usize) {
        // SAFETY: the caller's promise.
        x.copy_row(self.kernels, index, unsafe { self.input.row(row) });
    }

    /// The values of the last layer and its deltas, row `row`.
    ///
    /// # Safety
    /// The row exists; nobody else uses it.
    pub(crate) unsafe fn output_row<'a>(&self, row: usize) -> (&'a mut [T], &'a mut [T]) {
        let last = &self.layers[self.layers.len() - 1];
        // SAFETY: the caller's promise.
        unsafe { (last.values.row(row), last.deltas.row(row)) }
    }

    /// All layers, for these rows.
    ///
    /// # Safety
    /// Nobody else uses these rows of the tape or writes the panels.
    pub(crate) unsafe fn forward(&self, rows: &Range<usize>, dropout_mask: Option<DropoutMask<T>>) {
        let mut input = self.input;
        let last = self.layers.len() - 1;
        for (l, layer) in self.layers.iter().enumerate() {
            let (x, values) = (input.row_range(rows.clone()), layer.values.row_range(rows.clone()));
            let derivatives = layer.derivatives.map(|derivatives| derivatives.row_range(rows.clone()));
            // SAFETY: the caller's promise; buffers and panels were made for these sizes.
            unsafe {
                self.kernels.packed_gemm(
                    Lhs { stored: x.as_view(), transposed: false },
                    Rhs::packed(layer.forward.0, self.kernels.nr(), layer.inputs),
                    Out { matrix: values, padded: true, accumulate: false },
                );
                let bias = std::slice::from_raw_parts(layer.parameters.bias.0, layer.outputs);
                self.kernels.activation_forward(bias, &layer.epilogue, values, derivatives);
                if let (Some(mask), Some(derivatives), true) = (dropout_mask, layer.derivatives, l < last) {
                    for row in rows.clone() {
                        let key =
                            key(mask.seed, &[DROPOUT, mask.batch_index, l as u32, (mask.rows_before + row) as u32]);
                        self.kernels.apply_dropout(key, mask.dropout, layer.values.row(row), derivatives.row(row));
                    }
                }
            }
            input = layer.values;
        }
    }

    /// All layers backwards, for these rows. The deltas of the last layer are those by its values, or by its sums where
    /// the tape's head is [`Head::Logits`]. Writes the gradient by the inputs to `dx` (rows, inputs) if there is one.
    ///
    /// # Safety
    /// As [`Tape::forward`], which has been called for the rows.
    pub(crate) unsafe fn backward(&self, rows: &Range<usize>, dx: Option<Shared<T>>) {
        let last = self.layers.len() - 1;
        // SAFETY: the caller's promise.
        unsafe {
            self.through_activation(last, rows);
            for l in (1..=last).rev() {
                let below = self.layers[l - 1].deltas.row_range(rows.clone());
                self.input_gradient(l, rows, Out { matrix: below, padded: true, accumulate: false });
                self.through_activation(l - 1, rows);
            }
            if let Some(dx) = dx {
                let inputs = self.input.cols();
                let dx = ViewMut::new(dx.at(rows.start * inputs).0, rows.len(), inputs, inputs);
                self.input_gradient(0, rows, Out { matrix: dx, padded: false, accumulate: false });
            }
        }
    }

    /// dX = dZ W of layer `l`.
    unsafe fn input_gradient(&self, l: usize, rows: &Range<usize>, dx: Out<T>) {
        let layer = &self.layers[l];
        let Some(backward) = layer.backward else { return };
        let deltas = layer.deltas.row_range(rows.clone());
        // SAFETY: the caller's promise; buffers and panels were made for these sizes.
        unsafe {
            let lhs = Lhs { stored: deltas.as_view(), transposed: false };
            self.kernels.packed_gemm(lhs, Rhs::packed(backward.0, self.kernels.nr(), layer.outputs), dx);
        }
    }

    /// The deltas of layer `l` by its values become those by its sums.
    unsafe fn through_activation(&self, l: usize, rows: &Range<usize>) {
        let layer = &self.layers[l];
        let derivatives = match layer.derivatives {
            Some(derivatives) => Derivatives::Stored(derivatives.row_range(rows.clone())),
            None => Derivatives::FromOutput(layer.epilogue.activation, layer.values.row_range(rows.clone())),
        };
        // SAFETY: the caller's promise; the buffers have the same sizes.
        unsafe { self.kernels.activation_backward(layer.deltas.row_range(rows.clone()), derivatives) };
    }

    /// The gradients of the outputs `stripe` of layer `l`, dW = dZ^T X and db = sum(dZ) over the first `rows` rows,
    /// added to what is there if `accumulate`. That by the weights goes to `to` (outputs of the stripe, inputs).
    ///
    /// dZ is copied first, which closes the gaps between its rows: the product of 784-512, in a throw-away loop, ran at
    /// 157 GFLOP/s so, at 134 without (batch 256, one thread of Emerald Rapids; see `RUN_APART` in `outer`). With both,
    /// 784-512-512-10 trained 1.10 times as fast on two threads, 784-256-128-10 1.05, small networks the same.
    ///
    /// # Safety
    /// There are at most [`STRIPE`] outputs and no more members than the tape was made for; nobody writes the tape's rows
    /// or else uses what is written.
    pub(crate) unsafe fn parameter_gradient(
        &self,
        thread: usize,
        l: usize,
        (stripe, to): (Range<usize>, Shared<T>),
        rows: usize,
        accumulate: bool,
    ) {
        let layer = &self.layers[l];
        let x = if l == 0 { self.input } else { self.layers[l - 1].values }.row_range(0..rows);
        let deltas = layer.deltas.row_range(0..rows).col_range(stripe.clone());
        let first = self.stripes.at(thread * self.rows * STRIPE).0;
        // Room for whole registers, which half a panel is a multiple of.
        let stride = stripe.len().next_multiple_of(self.kernels.nr() / 2);
        let copy = ViewMut::new(first, rows, stripe.len(), stride);
        // SAFETY: the caller's promise; the rows of x have room for whole panels, and a stripe is the member's own.
        unsafe {
            let db = layer.gradient.bias.slice(stripe.clone());
            self.kernels.copy_and_sum_columns(deltas, copy, accumulate, db);
            let dw = ViewMut::new(to.0, stripe.len(), layer.inputs, layer.inputs);
            self.kernels.packed_gemm(
                Lhs { stored: copy.as_view(), transposed: true },
                Rhs::row_major(x.as_view(), self.kernels.nr()),
                Out { matrix: dw, padded: false, accumulate },
            );
        }
    }
}

/// The input of a tape, its layers, and its members' own buffers.
type Layout<T> = (ViewMut<T>, Vec<LayerTape<T>>, Shared<T>, Option<ScratchGradients<T>>);

/// The buffers of a tape one after the other from `start` on, and the elements they take.
///
/// Their memory may hold any numbers. What stands behind the last column of a row, or of a panel, only ever reaches
/// elements that are behind the last column themselves.
fn lay_out<T: Scalar>(
    network: &Network<T>,
    parameters: &[Parameters<T>],
    options: &TapeOptions,
    start: *mut T,
) -> (Layout<T>, usize) {
    let (nr, rows) = (network.kernels().nr(), options.rows);
    let mut taken = 0usize;
    let mut take = |len: usize| {
        let first = Shared(start.wrapping_add(taken));
        // Each on a cache line of its own.
        taken = taken.saturating_add(len.next_multiple_of(CACHE_LINE / size_of::<T>()));
        first
    };
    let stride = |width: usize| row_stride::<T>(width, nr);
    let mut buffer = |width: usize| ViewMut::new(take(rows * stride(width)).0, rows, width, stride(width));
    let input = buffer(network.layers()[0].inputs());
    let mut layers = Vec::new();
    for (l, layer) in network.layers().iter().enumerate() {
        let (inputs, outputs, is_last) = (layer.inputs(), layer.outputs(), l + 1 == network.layers().len());
        let epilogue = match options.head {
            Head::Logits if is_last => {
                Epilogue { activation: Activation::Identity, scale: T::ONE, ..*network.epilogue(l) }
            }
            _ => *network.epilogue(l),
        };
        let by_output = epilogue.scale == T::ONE && epilogue.activation.has_derivative_from_output();
        let store_derivatives = !by_output || (options.dropout && !is_last);
        let mut buffer = |width: usize| ViewMut::new(take(rows * stride(width)).0, rows, width, stride(width));
        let (values, deltas) = (buffer(outputs), buffer(outputs));
        let derivatives = store_derivatives.then(|| buffer(outputs));
        let wants_backward = l > 0 || options.input_gradient;
        layers.push(LayerTape {
            inputs,
            outputs,
            epilogue,
            parameters: parameters[l],
            values,
            derivatives,
            deltas,
            forward: take(panels_len(inputs, outputs, nr)),
            backward: wants_backward.then(|| take(panels_len(outputs, inputs, nr))),
            gradient: Parameters { weight: take(outputs * inputs), bias: take(outputs) },
        });
    }
    let stripes = take(options.n_threads.saturating_mul(rows * STRIPE));
    let stride = layers.iter().map(|layer| layer.inputs).max().unwrap_or(0).saturating_mul(STRIPE);
    let passes = options.scratch_gradients && stride.saturating_mul(size_of::<T>()) <= MAX_SCRATCH_GRADIENT_BYTES;
    let scratch_gradients =
        passes.then(|| ScratchGradients { first: take(options.n_threads.saturating_mul(stride)), stride });
    ((input, layers, stripes, scratch_gradients), taken)
}
