//! The forward pass: one row or a batch, block by block through all layers.

use std::ops::Range;

use crate::activation::OutputActivation;
use crate::error::{Error, Result};
use crate::linalg::epilogue::Softmax;
use crate::linalg::pack::row_stride;
use crate::linalg::view::{View, ViewMut};
use crate::matrix::{Matrix, MatrixMut};
use crate::memory::with_scratch;
use crate::network::Network;
use crate::network::checks::check_finite_parallel;
use crate::network::layer::{Layer, LayerForward};
use crate::network::packed_weights::PackedWeights;
use crate::network::plan::{Plan, Shape, Split};
use crate::network::rows::Rows;
use crate::network::sparse::Csr;
use crate::parallel::{Shared, Team, with_team};
use crate::simd::CACHE_LINE;
use crate::simd::dispatch::Dispatch;

impl<T: Dispatch> Network<T> {
    /// Computes the outputs `out` (batch, outputs) of the rows `x` (batch, inputs) on at most `n_threads` threads,
    /// fewer if more would not pay. The result of a row has the same bits for any number of threads and in any batch.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a shape does not fit, [`Error::NonFinite`] if `x` contains NaN or infinity,
    /// [`Error::OutOfMemory`]; nothing is written then.
    pub fn forward(&self, x: Matrix<T>, out: &mut MatrixMut<T>, n_threads: usize) -> Result<()> {
        let inputs = self.layers()[0].inputs();
        if x.cols() != inputs {
            return Err(Error::invalid("X", format!("{inputs} features"), x.cols()));
        }
        check_finite_parallel(self.kernels(), "X", x, n_threads)?;
        self.forward_rows(&x, out, n_threads)
    }

    /// [`Network::forward`] for sparse rows. They are expanded one block at a time.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn forward_sparse(&self, x: Csr<T>, out: &mut MatrixMut<T>, n_threads: usize) -> Result<()> {
        if x.cols() != self.layers()[0].inputs() {
            return Err(Error::invalid("X", format!("{} features", self.layers()[0].inputs()), x.cols()));
        }
        x.check_finite("X")?;
        self.forward_rows(&x, out, n_threads)
    }

    /// [`Network::forward`] for rows from any source, which must be finite.
    pub(crate) fn forward_rows(&self, x: &impl Rows<T>, out: &mut MatrixMut<T>, n_threads: usize) -> Result<()> {
        let (inputs, outputs) = (self.layers()[0].inputs(), self.outputs());
        if x.cols() != inputs {
            return Err(Error::invalid("network", format!("one of {} inputs", x.cols()), inputs));
        }
        if (out.rows(), out.cols()) != (x.rows(), outputs) {
            let got = format!("({}, {})", out.rows(), out.cols());
            return Err(Error::invalid("out", format!("shape ({}, {outputs})", x.rows()), got));
        }
        self.forward_blocks(x, out.data_mut(), n_threads)
    }

    /// How `forward` computes `batch` rows on at most `n_threads` threads.
    pub fn plan(&self, batch: usize, n_threads: usize) -> Plan {
        self.plan_with(batch, 0, n_threads).with_workers_paused(self.gate(batch).is_paused())
    }

    /// The plan for rows of which each needs scratch for `features` numbers that are computed first.
    fn plan_with(&self, batch: usize, features: usize, n_threads: usize) -> Plan {
        let shape = Shape {
            batch,
            n_parameters: self.n_parameters(),
            nbytes: self.nbytes(),
            row_bytes: self.hidden_width().max(features) * size_of::<T>(),
            widest: self.layers().iter().map(Layer::outputs).max().unwrap_or(0),
            narrowest: self.layers().iter().map(Layer::outputs).min().unwrap_or(0),
            isa: self.isa(),
            registers: self.kernels().registers(),
            nr: self.kernels().nr(),
        };
        Plan::new(shape, n_threads)
    }

    /// Sends the rows through the network in blocks, each of which goes through all layers while it is in the cache.
    fn forward_blocks(&self, x: &impl Rows<T>, out: &mut [T], n_threads: usize) -> Result<()> {
        let (batch, unit) = (x.rows(), CACHE_LINE / size_of::<T>());
        let plan = self.plan_with(batch, x.scratch_len(1), n_threads);
        let packed = self.packed(|layer| plan.is_packed(layer.outputs()))?;
        let block = plan.block();
        let hidden = block * self.stride(self.hidden_width());
        let size = (2 * hidden + x.scratch_len(block)).next_multiple_of(unit);
        // Threads that share outputs work on one block together; threads that share rows have one each.
        let n_blocks_at_once = if plan.split() == Split::Rows { plan.n_threads() } else { 1 };
        with_scratch("X", n_blocks_at_once * size, |scratch: &mut [T]| {
            let (scratch, out) = (Shared(scratch.as_mut_ptr()), Shared(out.as_mut_ptr()));
            let pass = |team: &Team, index: usize, slot: usize| {
                let scratch = scratch.at(slot * size);
                let buffers = Buffers { hidden: [scratch, scratch.at(hidden)], input: scratch.at(2 * hidden) };
                let rows = index * block..((index + 1) * block).min(batch);
                self.forward_rows_of(team, (x, rows), (&plan, packed), &buffers, &out);
            };
            let n_blocks = batch.div_ceil(block);
            with_team(plan.n_threads(), |team| {
                team.adaptively(self.gate(batch), batch, || match plan.split() {
                    Split::Outputs => (0..n_blocks).for_each(|index| pass(team, index, 0)),
                    Split::Rows => team.for_each(n_blocks, |thread, index| pass(&Team::alone(), index, thread)),
                });
            });
        })
    }

    /// Reads a block of rows, sends it through all layers, and applies the softmax if there is one.
    fn forward_rows_of(
        &self,
        team: &Team,
        (x, rows): (&impl Rows<T>, Range<usize>),
        plan: (&Plan, &PackedWeights<T>),
        buffers: &Buffers<T>,
        out: &Shared<T>,
    ) {
        let outputs = self.outputs();
        let out = out.at(rows.start * outputs);
        // SAFETY: `input` has as many elements as `scratch_len` asked for, and nothing else uses it.
        let x = unsafe { x.read(team, rows.clone(), &buffers.input) };
        self.forward_block(team, x, plan, &buffers.hidden, &out);
        if self.config().output_activation == OutputActivation::Softmax {
            team.for_each_range(rows.len(), 1, 1, |_, range| {
                // SAFETY: ranges are disjoint rows of `out`, which no thread writes any more.
                let out = unsafe { out.slice_mut(range.start * outputs..range.end * outputs) };
                out.chunks_exact_mut(outputs).for_each(|row| self.kernels().run(Softmax { z: row }));
            });
        }
    }

    /// Sends a block through all layers. Layer l reads `hidden[(l - 1) % 2]`, which layer l - 1 wrote, and writes
    /// `hidden[l % 2]`; the last layer writes `out`.
    fn forward_block(
        &self,
        team: &Team,
        mut x: View<T>,
        (plan, packed): (&Plan, &PackedWeights<T>),
        hidden: &[Shared<T>; 2],
        out: &Shared<T>,
    ) {
        let last = self.layers().len() - 1;
        for (l, layer) in self.layers().iter().enumerate() {
            let outputs = layer.outputs();
            let (target, stride) = if l == last { (out, outputs) } else { (&hidden[l % 2], self.stride(outputs)) };
            let kernel = plan.kernel(x.rows(), outputs);
            let forward = LayerForward { layer, panels: packed.panels(l), epilogue: self.epilogue(l), kernel };
            team.for_each_range(outputs, self.kernels().nr(), 1, |_, range| {
                let columns = ViewMut::new(target.at(range.start).0, x.rows(), range.len(), stride);
                // SAFETY: each buffer holds a block of the widest hidden layer, `out` one of the last. A layer's input
                // is only read while its output is written, and ranges are disjoint columns of the output.
                unsafe { forward.run(self.kernels(), range, x, columns) };
            });
            if l < last {
                // SAFETY: as above; the layer's output is complete.
                x = unsafe { View::new(target.0, x.rows(), outputs, stride) };
            }
        }
    }

    /// The row stride of hidden values, in elements.
    fn stride(&self, width: usize) -> usize {
        row_stride::<T>(width, self.kernels().nr())
    }

    fn outputs(&self) -> usize {
        self.layers()[self.layers().len() - 1].outputs()
    }

    /// The number of outputs of the widest hidden layer; 0 if there is none.
    fn hidden_width(&self) -> usize {
        self.layers()[1..].iter().map(Layer::inputs).max().unwrap_or(0)
    }
}

/// Scratch buffers for one block of rows.
struct Buffers<T> {
    /// The values of a layer and of the one before it, in turn.
    hidden: [Shared<T>; 2],
    /// Scratch for [`Rows::read`].
    input: Shared<T>,
}
