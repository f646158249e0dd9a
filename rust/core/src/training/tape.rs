//! Forward and backward pass of training over a block of rows, and the tape: the buffers that carry values from one to
//! the other.
//!
//! Threads split the *rows* of a block for the two passes, which then need no synchronization between layers, and the
//! *outputs* of each layer for the parameter gradients, which sum over all rows. A tape is allocated once; a step
//! allocates nothing.

use std::ops::Range;

use crate::error::Result;
use crate::hash::{DROPOUT, key};
use crate::linalg::elementwise::{
    ActivationBackward, ActivationForward, ApplyDropout, CopyAndSumColumns, Derivatives, Dropout,
};
use crate::linalg::numeric_embedding::{
    EMBEDDED, EmbeddingArrays, EmbeddingBackward, EmbeddingForward, EmbeddingInputGradient, FREQUENCIES,
};
use crate::linalg::pack::{Pack, PackTransposed};
use crate::linalg::packed_gemm::PackedGemm;
use crate::linalg::view::{Lhs, Out, Rhs, View, ViewMut};
use crate::memory::Arena;
use crate::network::Network;
use crate::network::input::Input;
use crate::parallel::Shared;
use crate::scalar::Scalar;
use crate::simd::dispatch::{Dispatch, Kernels};
use crate::training::tape_buffers::{EmbeddingTape, LayerTape, TapeBuffers};

pub(crate) use crate::training::tape_buffers::{Head, Parameters, STRIPE, TapeOptions};

/// The dropout mask of a batch: a hash of these numbers, the layer, the row and the column decides which hidden values
/// are dropped.
#[derive(Clone, Copy)]
pub(crate) struct DropoutMask<T> {
    pub seed: u64,
    /// The index of the batch, from 0, over all epochs.
    pub batch_index: u32,
    pub dropout: Dropout<T>,
    /// The number of rows of the batch before the current block.
    pub rows_before: usize,
}

/// At most [`STRIPE`] outputs of a layer.
pub(crate) struct Stripe {
    /// The index of the layer.
    pub layer: usize,
    pub outputs: Range<usize>,
}

/// Buffers for passing blocks of rows through a network and back.
pub(crate) struct Tape<T: Scalar> {
    kernels: &'static Kernels<T>,
    buffers: TapeBuffers<T>,
    rows: usize,
    /// The memory of the buffers.
    _memory: Arena,
}

impl<T: Dispatch> Tape<T> {
    /// A tape for blocks of up to `options.rows` rows through `network`, with pointers to the parameters of its layers.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn new(network: &Network<T>, parameters: &[Parameters<T>], options: &TapeOptions) -> Result<Self> {
        let (_, len) = TapeBuffers::lay_out(network, parameters, options, std::ptr::null_mut());
        let mut memory = Arena::new("batch_size", len.saturating_mul(size_of::<T>()))?;
        let (buffers, _) = TapeBuffers::lay_out(network, parameters, options, memory.as_mut_ptr());
        Ok(Tape { kernels: network.kernels(), buffers, rows: options.rows, _memory: memory })
    }

    /// The number of rows of the largest block.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of dense layers, which have the indices from 0 on here.
    pub(crate) fn n_layers(&self) -> usize {
        self.buffers.layers.len()
    }

    /// The number of inputs of layer `l`.
    pub(crate) fn inputs(&self, l: usize) -> usize {
        self.layer(l).inputs
    }

    /// The number of outputs of layer `l`.
    pub(crate) fn outputs(&self, l: usize) -> usize {
        self.layer(l).outputs
    }

    /// The number of inputs that are embedded.
    pub(crate) fn embedded(&self) -> usize {
        self.buffers.embedding.as_ref().map_or(0, |embedding| embedding.n)
    }

    /// The number of layers of the embedding: the index of the first dense layer among all layers of the network.
    pub(crate) fn n_embedding_layers(&self) -> usize {
        self.buffers.embedding.as_ref().map_or(0, |embedding| embedding.gradient.len())
    }

    fn layer(&self, l: usize) -> &LayerTape<T> {
        &self.buffers.layers[l]
    }

    /// dLoss/dW (outputs, inputs) and dLoss/db (outputs,) of layer `l`.
    pub(crate) fn gradient(&self, l: usize) -> Parameters<T> {
        self.layer(l).gradient
    }

    /// The gradient of one output of layer `l`: row `output` of dLoss/dW, and an element of dLoss/db.
    ///
    /// # Safety
    /// Nothing writes this gradient while the result is used.
    pub(crate) unsafe fn gradient_of_output(&self, l: usize, output: usize) -> (&[T], T) {
        let LayerTape { inputs, gradient, .. } = self.layer(l);
        // SAFETY: the caller's promise.
        unsafe { (gradient.weight.slice(output * inputs..(output + 1) * inputs), *gradient.bias.0.add(output)) }
    }

    /// The rows of dLoss/dW of layer `l` from row `output` on.
    pub(crate) fn weight_gradient(&self, l: usize, output: usize) -> Shared<T> {
        let layer = self.layer(l);
        layer.gradient.weight.at(output * layer.inputs)
    }

    /// A buffer of `thread` for the weight gradient of a stripe, if the tape has one. It is faster than
    /// [`Tape::weight_gradient`] because it stays in the cache.
    pub(crate) fn scratch_gradient(&self, thread: usize) -> Option<Shared<T>> {
        self.buffers.scratch_gradients.map(|scratch| scratch.first.at(thread * scratch.stride))
    }

    /// Packs the weights of the given outputs of layer `l` for both passes.
    ///
    /// # Safety
    /// Meanwhile nothing else packs these outputs, writes their weights or reads their panels.
    pub(crate) unsafe fn pack(&self, l: usize, range: Range<usize>) {
        let LayerTape { inputs, outputs, parameters, forward_panels, backward_panels, .. } = self.layer(l);
        // SAFETY: the caller's promise; the panels have the size of this layer.
        unsafe {
            let weight = View::new(parameters.weight.0, *outputs, *inputs, *inputs);
            let (outputs, panels) = (range.clone(), forward_panels.0);
            self.kernels.run_unchecked(PackTransposed { weight, outputs, panels });
            if let Some(panels) = backward_panels {
                self.kernels.run_unchecked(Pack { weight, outputs: range, panels: panels.0 });
            }
        }
    }

    /// dLoss/dW and dLoss/db of layer `index` of the network, of which the first ones are those of the embedding.
    pub(crate) fn gradient_of_layer(&self, index: usize) -> Parameters<T> {
        match &self.buffers.embedding {
            Some(embedding) if index < embedding.gradient.len() => embedding.gradient[index],
            _ => self.gradient(index - self.n_embedding_layers()),
        }
    }

    /// Copies row `index` of `x` to row `row` of the tape's input.
    ///
    /// # Safety
    /// The row exists, and nothing else uses it meanwhile.
    pub(crate) unsafe fn set_input(&self, row: usize, x: &Input<T>, index: usize) {
        let input = self.buffers.embedding.as_ref().map_or(self.buffers.input, |embedding| embedding.x);
        // SAFETY: the caller's promise.
        x.copy_row(self.kernels, index, unsafe { input.row(row) });
    }

    /// Row `row` of the last layer's values and of its deltas, each (outputs,).
    ///
    /// # Safety
    /// The row exists, and nothing else uses it while the result is used.
    pub(crate) unsafe fn output_row<'a>(&self, row: usize) -> (&'a mut [T], &'a mut [T]) {
        let last = self.layer(self.n_layers() - 1);
        // SAFETY: the caller's promise.
        unsafe { (last.values.row(row), last.deltas.row(row)) }
    }

    /// Forward pass of `rows` through all layers. In each layer Z = X W^T + b and values = activation(Z) * scale, with
    /// dropout after hidden layers. X is (rows, inputs), W (outputs, inputs), Z and values (rows, outputs).
    ///
    /// # Safety
    /// The inputs of the rows are set, and the weights are packed. Nothing else uses these rows of the tape or writes
    /// parameters and panels meanwhile.
    pub(crate) unsafe fn forward(&self, rows: &Range<usize>, dropout_mask: Option<DropoutMask<T>>) {
        if let Some(embedding) = &self.buffers.embedding {
            // SAFETY: the caller's promise; the buffers have these sizes.
            unsafe { self.embed(embedding, rows) };
        }
        let mut input = self.buffers.input;
        let last = self.n_layers() - 1;
        for (l, layer) in self.buffers.layers.iter().enumerate() {
            let (x, values) = (input.row_range(rows.clone()), layer.values.row_range(rows.clone()));
            let derivatives = layer.derivatives.map(|derivatives| derivatives.row_range(rows.clone()));
            // SAFETY: the caller's promise; buffers and panels have the sizes of this layer.
            unsafe {
                self.kernels.run_unchecked(PackedGemm {
                    lhs: Lhs { stored: x.as_view(), transposed: false },
                    rhs: Rhs::packed(layer.forward_panels.0, self.kernels.nr(), layer.inputs),
                    out: Out { matrix: values, padded: true, accumulate: false },
                });
                let bias = std::slice::from_raw_parts(layer.parameters.bias.0, layer.outputs);
                let epilogue = &layer.epilogue;
                self.kernels.run_unchecked(ActivationForward { bias, epilogue, values, derivatives });
                if let (Some(mask), Some(derivatives), true) = (dropout_mask, layer.derivatives, l < last) {
                    for row in rows.clone() {
                        let words = [DROPOUT, mask.batch_index, l as u32, (mask.rows_before + row) as u32];
                        let key = key(mask.seed, &words);
                        let (values, derivatives) = (layer.values.row(row), derivatives.row(row));
                        self.kernels.run(ApplyDropout { key, dropout: mask.dropout, values, derivatives });
                    }
                }
            }
            input = layer.values;
        }
    }

    /// Backward pass of `rows` through all layers: from the deltas of the last layer, dLoss/d(values) (rows, outputs),
    /// to dLoss/dZ of every layer. With [`Head::Logits`] the values of the last layer are Z. Writes dLoss/dX to `dx`
    /// (rows of the block, inputs) if it is given, for a tape with [`TapeOptions::input_gradient`].
    ///
    /// # Safety
    /// As for [`Tape::forward`], which has been called for these rows.
    pub(crate) unsafe fn backward(&self, rows: &Range<usize>, dx: Option<Shared<T>>) {
        let last = self.n_layers() - 1;
        // SAFETY: the caller's promise.
        unsafe {
            self.activation_backward(last, rows);
            for l in (1..=last).rev() {
                let deltas = self.layer(l - 1).deltas.row_range(rows.clone());
                self.input_gradient(l, rows, Out { matrix: deltas, padded: true, accumulate: false });
                self.activation_backward(l - 1, rows);
            }
            if let Some(embedding) = &self.buffers.embedding {
                let deltas = embedding.deltas.row_range(rows.clone());
                self.input_gradient(0, rows, Out { matrix: deltas, padded: true, accumulate: false });
                if let Some(dx) = dx {
                    self.embedding_input_gradient(embedding, rows, dx);
                }
            } else if let Some(dx) = dx {
                let inputs = self.inputs(0);
                let dx = ViewMut::new(dx.at(rows.start * inputs).0, rows.len(), inputs, inputs);
                self.input_gradient(0, rows, Out { matrix: dx, padded: false, accumulate: false });
            }
        }
    }

    /// Writes the embedded rows to the input of the first dense layer.
    unsafe fn embed(&self, embedding: &EmbeddingTape<T>, rows: &Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe {
            let x = embedding.x.row_range(rows.clone()).as_view();
            let out = self.buffers.input.row_range(rows.clone());
            self.kernels.run_unchecked(EmbeddingForward { parameters: embedding.arrays(0..embedding.n), x, out });
        }
    }

    /// Writes dLoss/dX (rows, inputs) of the embedding to `dx`.
    unsafe fn embedding_input_gradient(&self, embedding: &EmbeddingTape<T>, rows: &Range<usize>, dx: Shared<T>) {
        let inputs = embedding.x.cols();
        let dx = ViewMut::new(dx.at(rows.start * inputs).0, rows.len(), inputs, inputs);
        // SAFETY: the caller's promise.
        unsafe {
            let (x, d) = (embedding.x.row_range(rows.clone()).as_view(), embedding.deltas.row_range(rows.clone()));
            let d = d.as_view();
            let parameters = embedding.arrays(0..embedding.n);
            self.kernels.run_unchecked(EmbeddingInputGradient { parameters, x, d, dx });
        }
    }

    /// The parameter gradients of the embedding of input `column`, over the first `rows` rows of the block; adds to the
    /// present values if `accumulate`.
    ///
    /// # Safety
    /// There is an embedding of this input, the backward pass of the rows is complete, and nothing writes them or uses
    /// these gradients meanwhile.
    pub(crate) unsafe fn embedding_gradient(&self, column: usize, rows: usize, accumulate: bool) {
        let Some(embedding) = &self.buffers.embedding else { return };
        let [first, second] = embedding.gradient;
        let gradient = EmbeddingArrays {
            w1: first.weight.at(column * FREQUENCIES).0,
            b1: first.bias.at(column * FREQUENCIES).0,
            w2: second.weight.at(column * EMBEDDED * FREQUENCIES).0,
            b2: second.bias.at(column * EMBEDDED).0,
        };
        // SAFETY: the caller's promise.
        unsafe {
            let (x, d) = (embedding.x.row_range(0..rows).as_view(), embedding.deltas.row_range(0..rows).as_view());
            // Only those of this column: other threads update the others meanwhile.
            let parameters = embedding.arrays(column..column + 1);
            self.kernels.run_unchecked(EmbeddingBackward { parameters, gradient, x, d, column, accumulate });
        }
    }

    /// The gradient of a layer's inputs, dX = dZ W (rows, inputs).
    unsafe fn input_gradient(&self, l: usize, rows: &Range<usize>, dx: Out<T>) {
        let layer = self.layer(l);
        let Some(panels) = layer.backward_panels else { return };
        let deltas = layer.deltas.row_range(rows.clone());
        // SAFETY: the caller's promise; buffers and panels have the sizes of this layer.
        unsafe {
            let lhs = Lhs { stored: deltas.as_view(), transposed: false };
            let rhs = Rhs::packed(panels.0, self.kernels.nr(), layer.outputs);
            self.kernels.run_unchecked(PackedGemm { lhs, rhs, out: dx });
        }
    }

    /// Turns the deltas of a layer from dLoss/d(values) into dLoss/dZ, in place.
    unsafe fn activation_backward(&self, l: usize, rows: &Range<usize>) {
        let layer = self.layer(l);
        let derivatives = match layer.derivatives {
            Some(derivatives) => Derivatives::Stored(derivatives.row_range(rows.clone())),
            None => Derivatives::FromOutput(layer.epilogue.activation, layer.values.row_range(rows.clone())),
        };
        // SAFETY: the caller's promise; the buffers have the same shape.
        unsafe {
            let d = layer.deltas.row_range(rows.clone());
            self.kernels.run_unchecked(ActivationBackward { d, derivatives });
        }
    }

    /// The parameter gradients of a stripe, dW = dZ^T X and db = sum of dZ over the first `rows` rows of the block.
    /// Writes dW to `dw` (outputs of the stripe, inputs) and db to the tape; adds to the present values if
    /// `accumulate`.
    ///
    /// The columns of dZ are copied first, which closes the gaps between rows. Measured: `rust/core/TUNING.md`, "Copied
    /// deltas".
    ///
    /// # Safety
    /// - `thread` is below the tape's number of threads and in use by one thread; the stripe has at most [`STRIPE`]
    ///   outputs.
    /// - The backward pass of the rows is complete, and nothing writes them or uses the gradients of the stripe
    ///   meanwhile.
    pub(crate) unsafe fn parameter_gradient(
        &self,
        thread: usize,
        stripe: &Stripe,
        dw: Shared<T>,
        rows: usize,
        accumulate: bool,
    ) {
        let (l, outputs) = (stripe.layer, &stripe.outputs);
        let layer = self.layer(l);
        let x = if l == 0 { self.buffers.input } else { self.layer(l - 1).values }.row_range(0..rows);
        let deltas = layer.deltas.row_range(0..rows).col_range(outputs.clone());
        let first = self.buffers.stripe_deltas.at(thread * self.rows * STRIPE).0;
        // Half a panel is a multiple of every register's width.
        let stride = outputs.len().next_multiple_of(self.kernels.nr() / 2);
        let copy = ViewMut::new(first, rows, outputs.len(), stride);
        // SAFETY: the caller's promise; the rows of x have room for whole panels, and those of `copy` for whole
        // registers.
        unsafe {
            let db = layer.gradient.bias.slice_mut(outputs.clone());
            self.kernels.run_unchecked(CopyAndSumColumns { d: deltas, copy, accumulate, sums: db });
            let dw = ViewMut::new(dw.0, outputs.len(), layer.inputs, layer.inputs);
            self.kernels.run_unchecked(PackedGemm {
                lhs: Lhs { stored: copy.as_view(), transposed: true },
                rhs: Rhs::row_major(x.as_view(), self.kernels.nr()),
                out: Out { matrix: dw, padded: false, accumulate },
            });
        }
    }
}
