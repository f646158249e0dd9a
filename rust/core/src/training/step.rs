//! One batch on a team of threads: losses and gradients, block by block, then the optimizer's step.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::linalg::elementwise::SumOfSquares;
use crate::linalg::numeric_embedding::{EMBEDDED, FREQUENCIES};
use crate::linalg::optimizer_update::{OptimizerUpdate, ParameterArrays};
use crate::linalg::packed_gemm::ROW_UNIT;
use crate::network::input::Input;
use crate::parallel::{Shared, Team, share};
use crate::scalar::Scalar;
use crate::simd::dispatch::{Dispatch, Kernels};
use crate::training::loss::Objective;
use crate::training::optimizer::OptimizerStep;
use crate::training::tape::{DropoutMask, Parameters, STRIPE, Stripe, Tape};

/// The most rows of a block. A larger batch is several blocks whose gradients are added up, which bounds the memory of
/// the tape and the time until an interruption is noticed.
pub(crate) const BLOCK_ROWS: usize = 1024;

/// The rows of an item of work: what a thread takes at a time, of its share or of a late thread's. See
/// rust/core/TUNING.md, "Work queues".
const CHUNK_ROWS: usize = 48;

/// Part `index` of a range that is cut into parts of `len`.
fn part(range: Range<usize>, index: usize, len: usize) -> Range<usize> {
    let start = range.start + index * len;
    start..(start + len).min(range.end)
}

/// What all batches of a training run share: data, objective and buffers.
#[derive(Clone, Copy)]
pub(crate) struct BatchRunner<'a, T: Scalar> {
    pub kernels: &'static Kernels<T>,
    pub tape: &'a Tape<T>,
    pub x: Input<'a, T>,
    pub objective: Objective<'a, T>,
    /// The weight of each row, with mean 1; none if all are 1.
    pub weights: Option<&'a [f64]>,
    /// Whether the losses include label smoothing. Those of `fit` do not, so that they compare with the validation loss.
    pub smoothed_losses: bool,
    /// The weighted loss of each row of the current block.
    pub losses: Shared<f64>,
}

/// The arrays that the optimizer changes.
pub(crate) struct OptimizerState<T> {
    pub parameters: Vec<Parameters<T>>,
    pub first: Vec<Parameters<T>>,
    pub second: Vec<Parameters<T>>,
    /// Factors of the learning rate for the weights and the biases of each layer.
    pub learning_rate_factors: Vec<(f64, f64)>,
    /// The sum of squares of the gradient of each output, dense layer after dense layer, then of each embedded input.
    pub gradient_squares: Shared<f64>,
}

impl<T> OptimizerState<T> {
    /// The elements `range` of the weights or biases of layer `layer`, as `of` chooses, with their moments. `gradient`
    /// has the gradients of these elements.
    ///
    /// # Safety
    /// The elements exist, and nothing else uses them or their moments while the result is used.
    unsafe fn arrays<'a>(
        &self,
        layer: usize,
        range: Range<usize>,
        gradient: &'a [T],
        of: fn(&Parameters<T>) -> Shared<T>,
    ) -> ParameterArrays<'a, T> {
        // SAFETY: the caller's promise.
        unsafe {
            ParameterArrays {
                parameters: of(&self.parameters[layer]).slice_mut(range.clone()),
                gradient,
                first_moment: of(&self.first[layer]).slice_mut(range.clone()),
                second_moment: self.second.get(layer).map_or(&mut [], |second| of(second).slice_mut(range)),
            }
        }
    }
}

/// The two layers of an embedding, each with the elements of its weights and of its biases that belong to the inputs
/// `columns`.
fn embedding_ranges(columns: Range<usize>) -> [(usize, Range<usize>, Range<usize>); 2] {
    let of = |n: usize| columns.start * n..columns.end * n;
    [(0, of(FREQUENCIES), of(FREQUENCIES)), (1, of(EMBEDDED * FREQUENCIES), of(EMBEDDED))]
}

/// One batch and how it is processed.
pub(crate) struct Batch<'a, T> {
    /// Indices of rows of `x`.
    pub rows: &'a [u32],
    pub dropout_mask: Option<DropoutMask<T>>,
    /// The optimizer step after the gradients; none if only gradients are wanted.
    pub update: Option<(&'a OptimizerState<T>, OptimizerStep<T>)>,
    pub clip_norm: Option<f64>,
}

impl<T: Dispatch> BatchRunner<'_, T> {
    /// Computes the losses and gradients of a batch, block by block, and applies the optimizer step. Returns the sum of
    /// the weighted losses, or none if `interrupt` was set before the batch was finished.
    ///
    /// # Safety
    /// Nothing else uses the tape, its parameters or the optimizer's arrays, and the weights have been packed.
    pub(crate) unsafe fn batch(&self, team: &Team, batch: &Batch<T>, interrupt: &AtomicBool) -> Option<f64> {
        let block_rows = self.tape.rows();
        let n_blocks = batch.rows.len().div_ceil(block_rows);
        let (n_threads, mut total) = (team.n_threads(), 0.0);
        for (index, rows) in batch.rows.chunks(block_rows).enumerate() {
            let shares = |owner| share(owner, n_threads, rows.len(), ROW_UNIT);
            team.for_each_owned(
                |owner| shares(owner).len().div_ceil(CHUNK_ROWS),
                // SAFETY: the caller's guarantee; items are different rows.
                |_, owner, item| unsafe {
                    let chunk = part(shares(owner), item, CHUNK_ROWS);
                    self.passes(&chunk, rows, index * block_rows, batch);
                },
            );
            // SAFETY: no thread writes the losses before the next block.
            total += unsafe { self.losses.slice(0..rows.len()) }.iter().sum::<f64>();
            if interrupt.load(Ordering::Relaxed) {
                return None;
            }
            let is_last = index + 1 == n_blocks;
            team.for_each_owned(
                |owner| self.stripes(n_threads, owner).count(),
                |thread, owner, item| {
                    let stripe = self.stripes(n_threads, owner).nth(item);
                    let (l, stripe) = stripe.expect("items are counted from the same stripes");
                    // SAFETY: the caller's guarantee; items are different outputs, and each is updated with its
                    // gradient.
                    unsafe { self.stripe(thread, (l, stripe), rows.len(), index > 0, batch, is_last) };
                },
            );
            team.for_each(self.tape.embedded(), |_, column| {
                // SAFETY: the caller's guarantee; each item is another input, with parameters of its own.
                unsafe { self.embedding_column(column, rows.len(), index > 0, batch, is_last) };
            });
            if let (true, Some((state, step)), Some(norm)) = (is_last, &batch.update, batch.clip_norm) {
                // SAFETY: as above; the squares of all outputs have been computed.
                unsafe { self.clipped_update(team, state, *step, norm) };
            }
        }
        Some(total)
    }

    /// Forward pass, losses and backward pass for the rows `share` of a block. `rows_before` is the number of rows of
    /// the batch in earlier blocks.
    unsafe fn passes(&self, share: &Range<usize>, rows: &[u32], rows_before: usize, batch: &Batch<T>) {
        let dropout_mask = batch.dropout_mask.map(|mask| DropoutMask { rows_before, ..mask });
        // SAFETY: the caller guarantees that no other thread uses these rows.
        unsafe {
            for row in share.clone() {
                self.tape.set_input(row, &self.x, rows[row] as usize);
            }
            self.tape.forward(share, dropout_mask);
            for row in share.clone() {
                let index = rows[row] as usize;
                let weight = self.weights.map_or(1.0, |weights| weights[index]);
                let (out, d) = self.tape.output_row(row);
                let factor = weight / batch.rows.len() as f64;
                let loss = self.objective.row(self.kernels, index, out, factor, d);
                let loss = if self.smoothed_losses { loss.smoothed } else { loss.exact };
                self.losses.slice_mut(row..row + 1)[0] = weight * loss;
            }
            self.tape.backward(share, None);
        }
    }

    /// The stripes of outputs in the share of thread `owner`, each with its layer.
    fn stripes(&self, n_threads: usize, owner: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        (0..self.tape.n_layers()).flat_map(move |l| {
            let share = share(owner, n_threads, self.tape.outputs(l), ROW_UNIT);
            let count = share.len().div_ceil(STRIPE);
            (0..count).map(move |index| (l, part(share.clone(), index, STRIPE)))
        })
    }

    /// Computes the gradient of a stripe of outputs of a layer. While it is in the cache, applies the optimizer step,
    /// or sums its squares if the gradient will be clipped.
    unsafe fn stripe(
        &self,
        thread: usize,
        (l, stripe): (usize, Range<usize>),
        rows: usize,
        accumulate: bool,
        batch: &Batch<T>,
        is_last: bool,
    ) {
        let at_once = is_last && batch.update.is_some() && batch.clip_norm.is_none();
        // A gradient that is used at once goes to a scratch buffer that is in the cache already. See
        // rust/core/TUNING.md, "Reused gradient buffer".
        let scratch = if at_once && !accumulate { self.tape.scratch_gradient(thread) } else { None };
        let to = scratch.unwrap_or_else(|| self.tape.weight_gradient(l, stripe.start));
        // SAFETY: the caller guarantees that no other thread uses these outputs.
        unsafe {
            self.tape.parameter_gradient(thread, &Stripe { layer: l, outputs: stripe.clone() }, to, rows, accumulate);
            match &batch.update {
                Some((state, step)) if at_once => self.update(state, step, l, stripe, to),
                Some((state, _)) if is_last => {
                    let before: usize = (0..l).map(|l| self.tape.outputs(l)).sum();
                    for output in stripe {
                        let (dw, db) = self.tape.gradient_of_output(l, output);
                        let squares = self.kernels.run(SumOfSquares { values: dw }) + db.to_f64() * db.to_f64();
                        state.gradient_squares.slice_mut(before + output..before + output + 1)[0] = squares;
                    }
                }
                _ => {}
            }
        }
    }

    /// [`BatchRunner::stripe`] for the parameters that embed input `column`.
    unsafe fn embedding_column(&self, column: usize, rows: usize, accumulate: bool, batch: &Batch<T>, is_last: bool) {
        // SAFETY: the caller guarantees that no other thread uses the parameters of this input.
        unsafe {
            self.tape.embedding_gradient(column, rows, accumulate);
            match &batch.update {
                Some((state, step)) if is_last && batch.clip_norm.is_none() => {
                    self.update_embedding(state, step, column..column + 1);
                }
                Some((state, _)) if is_last => {
                    let index = self.dense_outputs() + column;
                    let squares = embedding_ranges(column..column + 1).map(|(layer, weights, biases)| {
                        let gradient = self.tape.gradient_of_layer(layer);
                        let square = |values| self.kernels.run(SumOfSquares { values });
                        square(gradient.weight.slice(weights)) + square(gradient.bias.slice(biases))
                    });
                    state.gradient_squares.slice_mut(index..index + 1)[0] = squares.iter().sum();
                }
                _ => {}
            }
        }
    }

    /// The number of outputs of all dense layers.
    fn dense_outputs(&self) -> usize {
        (0..self.tape.n_layers()).map(|l| self.tape.outputs(l)).sum()
    }

    /// Applies the optimizer step to the parameters that embed the inputs `columns`. They do not decay.
    unsafe fn update_embedding(&self, state: &OptimizerState<T>, step: &OptimizerStep<T>, columns: Range<usize>) {
        for (layer, weights, biases) in embedding_ranges(columns) {
            let (gradient, (weight_factor, bias_factor)) =
                (self.tape.gradient_of_layer(layer), state.learning_rate_factors[layer]);
            // SAFETY: the caller's guarantee.
            unsafe {
                let weight_gradient = gradient.weight.slice(weights.clone());
                let arrays = state.arrays(layer, weights, weight_gradient, |p| p.weight);
                self.kernels.run(OptimizerUpdate { update: &step.bias_update(weight_factor), arrays });
                let arrays = state.arrays(layer, biases.clone(), gradient.bias.slice(biases), |p| p.bias);
                self.kernels.run(OptimizerUpdate { update: &step.bias_update(bias_factor), arrays });
            }
        }
    }

    /// Clips the gradient to `clip_norm` (Pascanu et al. 2013) and applies the optimizer step to all parameters.
    unsafe fn clipped_update(
        &self,
        team: &Team,
        state: &OptimizerState<T>,
        mut step: OptimizerStep<T>,
        clip_norm: f64,
    ) {
        let n_layers = self.tape.n_layers();
        let outputs = self.dense_outputs() + self.tape.embedded();
        // SAFETY: all squares have been written, and no thread writes them now.
        let norm = unsafe { state.gradient_squares.slice(0..outputs) }.iter().sum::<f64>().sqrt();
        step.gradient_factor = clip_norm / norm.max(clip_norm);
        team.for_each_range(self.tape.embedded(), 1, 1, |_, columns| {
            // SAFETY: the caller's guarantee; ranges are different inputs.
            unsafe { self.update_embedding(state, &step, columns) };
        });
        for l in 0..n_layers {
            team.for_each_range(self.tape.outputs(l), ROW_UNIT, 1, |_, outputs| {
                let gradient = self.tape.weight_gradient(l, outputs.start);
                // SAFETY: the caller's guarantee; ranges are different outputs.
                unsafe { self.update(state, &step, l, outputs, gradient) };
            });
        }
    }

    /// Applies the optimizer step to some outputs of a layer and packs their new weights. `weight_gradient` is the
    /// gradient of the loss with respect to their weights.
    unsafe fn update(
        &self,
        state: &OptimizerState<T>,
        step: &OptimizerStep<T>,
        l: usize,
        outputs: Range<usize>,
        weight_gradient: Shared<T>,
    ) {
        let inputs = self.tape.inputs(l);
        let gradient = self.tape.gradient(l);
        let weights = outputs.start * inputs..outputs.end * inputs;
        let layer = self.tape.n_embedding_layers() + l;
        let (weight_factor, bias_factor) = state.learning_rate_factors[layer];
        // SAFETY: the caller guarantees that no other thread uses these outputs, in any of the arrays.
        unsafe {
            let weight_gradient = weight_gradient.slice(0..weights.len());
            let arrays = state.arrays(layer, weights, weight_gradient, |p| p.weight);
            self.kernels.run(OptimizerUpdate { update: &step.weight_update(weight_factor), arrays });
            let arrays = state.arrays(layer, outputs.clone(), gradient.bias.slice(outputs.clone()), |p| p.bias);
            self.kernels.run(OptimizerUpdate { update: &step.bias_update(bias_factor), arrays });
            self.tape.pack(l, outputs);
        }
    }

    /// Packs all weights; called before the first batch.
    ///
    /// # Safety
    /// As [`BatchRunner::batch`].
    pub(crate) unsafe fn pack_all(&self, team: &Team) {
        for l in 0..self.tape.n_layers() {
            // SAFETY: the caller's guarantee; ranges are different outputs.
            team.for_each_range(self.tape.outputs(l), ROW_UNIT, 1, |_, outputs| unsafe { self.tape.pack(l, outputs) });
        }
    }

    /// Writes the loss of each row of `x` to `losses`, and 1 or 0 to `correct` for a right or wrong prediction; without
    /// dropout or gradients. Returns false if `interrupt` was set before all rows were done.
    ///
    /// # Safety
    /// As [`BatchRunner::batch`]; `losses` and `correct` have one element for each row.
    pub(crate) unsafe fn evaluate(
        &self,
        team: &Team,
        losses: Shared<f64>,
        correct: Shared<f64>,
        interrupt: &AtomicBool,
    ) -> bool {
        let rows = self.x.rows();
        for start in (0..rows).step_by(self.tape.rows()) {
            let block = self.tape.rows().min(rows - start);
            team.for_each_range(block, ROW_UNIT, block.div_ceil(CHUNK_ROWS * team.n_threads()), |_, range| {
                // SAFETY: the caller's guarantee; ranges are different rows.
                unsafe {
                    for row in range.clone() {
                        self.tape.set_input(row, &self.x, start + row);
                    }
                    self.tape.forward(&range, None);
                    for row in range {
                        let (out, d) = self.tape.output_row(row);
                        let index = start + row;
                        correct.slice_mut(index..index + 1)[0] =
                            f64::from(u8::from(self.objective.is_correct(index, out)));
                        losses.slice_mut(index..index + 1)[0] =
                            self.objective.row(self.kernels, index, out, 1.0, d).exact;
                    }
                }
            });
            if interrupt.load(Ordering::Relaxed) {
                return false;
            }
        }
        true
    }
}
