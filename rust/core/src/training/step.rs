//! One batch on a team of threads: losses and gradients, block by block, then the optimizer's step.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::linalg::kernels::Kernels;
use crate::linalg::optimizer_update::ParameterArrays;
use crate::linalg::packed_gemm::ROW_UNIT;
use crate::network::input::Input;
use crate::parallel::{Shared, Team, share};
use crate::scalar::Scalar;
use crate::training::loss::Objective;
use crate::training::optimizer::OptimizerStep;
use crate::training::tape::{DropoutMask, Parameters, STRIPE, Stripe, Tape};

/// Rows that go through the network together at most: a larger batch is several blocks whose gradients are added up.
/// It bounds the memory of the tape, and how long an interruption waits.
pub(crate) const BLOCK_ROWS: usize = 1024;

/// Rows that go through the network together: what a member takes of the rows that another has not begun, see
/// [`Team::for_each`]. With fixed shares, on two threads of Zen 4 (medians of 6 to 12 rounds in turn), 784-512-512-10 (batch
/// 256), 784-256-128-10 (200) and 784-64-64-10 (32) took 1.00, 1.01 and 1.11 of the time on a quiet machine, 1.20, 1.12 and
/// 1.36 beside one busy process. 24 and 96 rows were within 2 %.
const CHUNK_ROWS: usize = 48;

/// Part `index` of a range that is cut into parts of `len`.
fn part(range: Range<usize>, index: usize, len: usize) -> Range<usize> {
    let start = range.start + index * len;
    start..(start + len).min(range.end)
}

/// What batches are made from, shared by all members of a team.
#[derive(Clone, Copy)]
pub(crate) struct BatchRunner<'a, T: Scalar> {
    pub kernels: &'static Kernels<T>,
    pub tape: &'a Tape<T>,
    pub x: Input<'a, T>,
    pub objective: Objective<'a, T>,
    /// A weight a row, of mean 1; none where all are 1.
    pub weights: Option<&'a [f64]>,
    /// The loss of each row of the block, times its weight.
    pub losses: Shared<f64>,
}

/// The optimizer's arrays.
pub(crate) struct OptimizerState<T> {
    pub parameters: Vec<Parameters<T>>,
    pub first: Vec<Parameters<T>>,
    pub second: Vec<Parameters<T>>,
    /// Factors of the learning rate, of weights and of biases.
    pub learning_rate_factors: Vec<(f64, f64)>,
    /// The sum of squares of each output's gradient, all layers one after the other.
    pub gradient_squares: Shared<f64>,
}

/// One batch and what is to be done with it.
pub(crate) struct Batch<'a, T> {
    /// The rows of x.
    pub rows: &'a [u32],
    pub dropout_mask: Option<DropoutMask<T>>,
    /// None where only gradients are wanted.
    pub update: Option<(&'a OptimizerState<T>, OptimizerStep<T>)>,
    pub clip_norm: Option<f64>,
}

impl<T: Scalar> BatchRunner<'_, T> {
    /// Does a batch. Returns the sum of the rows' losses, each times its weight, or none if `interrupt` was set meanwhile; the batch
    /// is not finished then.
    ///
    /// # Safety
    /// Nothing else uses the tape, its parameters or the optimizer's arrays; the weights have been packed.
    pub(crate) unsafe fn batch(&self, team: &Team, batch: &Batch<T>, interrupt: &AtomicBool) -> Option<f64> {
        let block_rows = self.tape.rows();
        let n_blocks = batch.rows.len().div_ceil(block_rows);
        let (n_threads, mut total) = (team.n_threads(), 0.0);
        for (index, rows) in batch.rows.chunks(block_rows).enumerate() {
            let shares = |owner| share(owner, n_threads, rows.len(), ROW_UNIT);
            team.for_each_owned(
                |owner| shares(owner).len().div_ceil(CHUNK_ROWS),
                // SAFETY: the caller's promise; items are different rows.
                |_, owner, item| unsafe {
                    let chunk = part(shares(owner), item, CHUNK_ROWS);
                    self.passes(&chunk, rows, index * block_rows, batch);
                },
            );
            // SAFETY: nothing writes the losses until the next block.
            total += unsafe { self.losses.slice(0..rows.len()) }.iter().sum::<f64>();
            if interrupt.load(Ordering::Relaxed) {
                return None;
            }
            let is_last = index + 1 == n_blocks;
            team.for_each_owned(
                |owner| self.stripes(n_threads, owner).count(),
                |thread, owner, item| {
                    let stripe = self.stripes(n_threads, owner).nth(item);
                    let (l, stripe) = stripe.expect("an item of those counted");
                    // SAFETY: the caller's promise; items are different outputs, and each is updated with its gradient.
                    unsafe { self.stripe(thread, (l, stripe), rows.len(), index > 0, batch, is_last) };
                },
            );
            if let (true, Some((state, step)), Some(norm)) = (is_last, &batch.update, batch.clip_norm) {
                // SAFETY: as above; all squares are there.
                unsafe { self.clipped_update(team, state, *step, norm) };
            }
        }
        Some(total)
    }

    /// Forward, loss and backward for the rows `share` of a block.
    unsafe fn passes(&self, share: &Range<usize>, rows: &[u32], before: usize, batch: &Batch<T>) {
        let dropout_mask = batch.dropout_mask.map(|mask| DropoutMask { rows_before: before, ..mask });
        // SAFETY: the caller's promise: these rows are this member's.
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
                self.losses.slice(row..row + 1)[0] = weight * loss;
            }
            self.tape.backward(share, None);
        }
    }

    /// The stripes of a member's outputs, each with its layer.
    fn stripes(&self, n_threads: usize, owner: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        (0..self.tape.n_layers()).flat_map(move |l| {
            let share = share(owner, n_threads, self.tape.outputs(l), ROW_UNIT);
            let count = share.len().div_ceil(STRIPE);
            (0..count).map(move |index| (l, part(share.clone(), index, STRIPE)))
        })
    }

    /// The gradient of a stripe of outputs of a layer; then the squares of it where it is to be clipped, or the update,
    /// while both are in the cache.
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
        // A gradient that is used at once goes where that of the stripe before was, which is in the cache. Each in its
        // own place, 784-512-512-10 trained at 0.98 of the speed, 784-256-128-10 at 0.99, on one thread at 0.97 and
        // 0.95 (measured as STRIPE was).
        let scratch = if at_once && !accumulate { self.tape.scratch_gradient(thread) } else { None };
        let to = scratch.unwrap_or_else(|| self.tape.weight_gradient(l, stripe.start));
        // SAFETY: the caller's promise: nobody else has these outputs.
        unsafe {
            self.tape.parameter_gradient(thread, &Stripe { layer: l, outputs: stripe.clone() }, to, rows, accumulate);
            match &batch.update {
                Some((state, step)) if at_once => self.update(state, step, l, stripe, to),
                Some((state, _)) if is_last => {
                    let before: usize = (0..l).map(|l| self.tape.outputs(l)).sum();
                    for output in stripe {
                        let (dw, db) = self.tape.gradient_of_output(l, output);
                        let squares = self.kernels.sum_of_squares(dw) + db.to_f64() * db.to_f64();
                        state.gradient_squares.slice(before + output..before + output + 1)[0] = squares;
                    }
                }
                _ => {}
            }
        }
    }

    /// All of this member's outputs, once the norm of the whole gradient is known.
    unsafe fn clipped_update(
        &self,
        team: &Team,
        state: &OptimizerState<T>,
        mut step: OptimizerStep<T>,
        clip_norm: f64,
    ) {
        let n_layers = self.tape.n_layers();
        let outputs: usize = (0..n_layers).map(|l| self.tape.outputs(l)).sum();
        // SAFETY: the caller's promise: all are written, and nobody writes them now. Each member sums in the same order.
        let norm = unsafe { state.gradient_squares.slice(0..outputs) }.iter().sum::<f64>().sqrt();
        step.gradient_factor = clip_norm / norm.max(clip_norm);
        for l in 0..n_layers {
            team.for_each_range(self.tape.outputs(l), ROW_UNIT, 1, |_, outputs| {
                let gradient = self.tape.weight_gradient(l, outputs.start);
                // SAFETY: the caller's promise; ranges are different outputs.
                unsafe { self.update(state, &step, l, outputs, gradient) };
            });
        }
    }

    /// The optimizer's step for some outputs of a layer, whose gradient by the weights is at `of_weights`, and their weights
    /// into the panels.
    unsafe fn update(
        &self,
        state: &OptimizerState<T>,
        step: &OptimizerStep<T>,
        l: usize,
        outputs: Range<usize>,
        of_weights: Shared<T>,
    ) {
        let inputs = self.tape.inputs(l);
        let gradient = self.tape.gradient(l);
        let weights = outputs.start * inputs..outputs.end * inputs;
        let (weight_factor, bias_factor) = state.learning_rate_factors[l];
        // SAFETY: the caller's promise: these outputs are this member's, in all arrays.
        unsafe {
            let arrays =
                |range: Range<usize>, gradient: Shared<T>, of: fn(&Parameters<T>) -> Shared<T>| ParameterArrays {
                    parameters: of(&state.parameters[l]).slice(range.clone()),
                    gradient: gradient.slice(0..range.len()),
                    first_moment: of(&state.first[l]).slice(range.clone()),
                    second_moment: state.second.get(l).map_or(&mut [], |second| of(second).slice(range)),
                };
            let of_biases = gradient.bias.at(outputs.start);
            self.kernels
                .optimizer_update(&step.weight_update(weight_factor), arrays(weights, of_weights, |p| p.weight));
            self.kernels
                .optimizer_update(&step.bias_update(bias_factor), arrays(outputs.clone(), of_biases, |p| p.bias));
            self.tape.pack(l, outputs);
        }
    }

    /// Packs all weights, before the first batch.
    ///
    /// # Safety
    /// As [`BatchRunner::batch`].
    pub(crate) unsafe fn pack_all(&self, team: &Team) {
        for l in 0..self.tape.n_layers() {
            // SAFETY: the caller's promise; ranges are different outputs.
            team.for_each_range(self.tape.outputs(l), ROW_UNIT, 1, |_, outputs| unsafe { self.tape.pack(l, outputs) });
        }
    }

    /// The loss of each row and whether it is predicted right, in `losses` and `correct`, without dropout or gradients.
    /// Returns whether it was finished, as [`BatchRunner::batch`] does.
    ///
    /// # Safety
    /// As [`BatchRunner::batch`]; both have as many elements as there are rows.
    pub(crate) unsafe fn evaluate(
        &self,
        team: &Team,
        (losses, correct): (Shared<f64>, Shared<f64>),
        interrupt: &AtomicBool,
    ) -> bool {
        let rows = self.x.rows();
        for start in (0..rows).step_by(self.tape.rows()) {
            let block = self.tape.rows().min(rows - start);
            team.for_each_range(block, ROW_UNIT, block.div_ceil(CHUNK_ROWS * team.n_threads()), |_, range| {
                // SAFETY: the caller's promise; ranges are different rows.
                unsafe {
                    for row in range.clone() {
                        self.tape.set_input(row, &self.x, start + row);
                    }
                    self.tape.forward(&range, None);
                    for row in range {
                        let (out, d) = self.tape.output_row(row);
                        let index = start + row;
                        correct.slice(index..index + 1)[0] = f64::from(u8::from(self.objective.is_correct(index, out)));
                        losses.slice(index..index + 1)[0] = self.objective.row(self.kernels, index, out, 1.0, d);
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
