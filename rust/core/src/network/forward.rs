//! The forward pass: of one row or of a batch, block by block through all layers.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::activation::OutputActivation;
use crate::error::{Error, Result};
use crate::linalg::dense::Inputs;
use crate::linalg::gemm::Columns;
use crate::linalg::kernels::Dispatch;
use crate::linalg::pack::row_stride;
use crate::matrix::{Matrix, MatrixMut};
use crate::memory::with_scratch;
use crate::network::Network;
use crate::network::layer::{Layer, check_all_finite, dense_forward};
use crate::network::packed_weights::PackedWeights;
use crate::network::plan::{Plan, Shape, Split};
use crate::network::rows::Rows;
use crate::network::sparse::Csr;
use crate::parallel::{self, Shared, Team};
use crate::simd::CACHE_LINE;

impl<T: Dispatch> Network<T> {
    /// Y = f(X): `x` is (batch, inputs), `out` (batch, outputs). At most `n_threads` threads are used, fewer where
    /// they would not pay. Each row's result has the same bits for any number of threads and in any batch.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a shape does not fit, [`Error::NonFinite`] if `x` holds NaN or infinity (nothing is
    /// written then), [`Error::OutOfMemory`].
    pub fn forward(&self, x: Matrix<T>, out: &mut MatrixMut<T>, n_threads: usize) -> Result<()> {
        let inputs = self.layers()[0].inputs();
        if x.cols() != inputs {
            return Err(Error::invalid("X", format!("{inputs} features"), x.cols()));
        }
        check_all_finite(self.kernels(), "X", x, n_threads)?;
        self.forward_rows(&x, out, n_threads)
    }

    /// [`Network::forward`] of sparse rows, a block of which is in memory in full at a time.
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

    /// [`Network::forward`] of rows that are finite, from wherever they come.
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

    /// What `forward` does with `batch` rows on at most `n_threads` threads.
    pub fn plan(&self, batch: usize, n_threads: usize) -> Plan {
        self.plan_with(batch, 0, n_threads)
    }

    /// With room for `features` numbers a row that are computed first.
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
            panel: self.kernels().panel(),
        };
        Plan::new(shape, n_threads)
    }

    /// The rows in blocks, each of which goes through all layers while it is in the cache.
    fn forward_blocks(&self, x: &impl Rows<T>, out: &mut [T], n_threads: usize) -> Result<()> {
        let (batch, unit) = (x.rows(), CACHE_LINE / size_of::<T>());
        let plan = self.plan_with(batch, x.room(1), n_threads);
        let packed = self.packed(|layer| plan.is_packed(layer.outputs()))?;
        let block = plan.block();
        let hidden = block * self.stride(self.hidden_width());
        let size = (2 * hidden + x.room(block)).next_multiple_of(unit);
        let desks = if plan.split() == Split::Rows { plan.n_threads() } else { 1 };
        with_scratch("X", desks * size, |scratch: &mut [T]| {
            let (scratch, out) = (Shared(scratch.as_mut_ptr()), Shared(out.as_mut_ptr()));
            let next = AtomicUsize::new(0);
            parallel::run(plan.n_threads(), |team| {
                let (scratch, out) = (&scratch, &out);
                let pass = |team: &Team, start: usize, desk: usize| {
                    let desk = scratch.at(desk * size);
                    let buffers = Buffers { hidden: [desk, desk.at(hidden)], room: desk.at(2 * hidden) };
                    self.forward_rows_of(team, (x, start..(start + block).min(batch)), (&plan, packed), &buffers, out);
                };
                match plan.split() {
                    Split::Outputs => (0..batch).step_by(block).for_each(|start| pass(team, start, 0)),
                    Split::Rows => loop {
                        let start = next.fetch_add(block, Ordering::Relaxed);
                        if start >= batch {
                            break;
                        }
                        pass(&Team::alone(), start, team.index);
                    },
                }
            });
        })
    }

    /// A team's pass of some rows, a block, through all layers.
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
        // SAFETY: `room` is as large as was asked for, and free.
        let x = unsafe { x.read(team, rows.clone(), &buffers.room) };
        self.forward_block(team, x, plan, &buffers.hidden, &out);
        // The block's outputs are whole, and the buffers free, when everybody is done with it.
        team.barrier();
        if self.config().output_activation == OutputActivation::Softmax {
            let share = team.share(rows.len(), 1);
            // SAFETY: the members' shares are disjoint rows of `out`.
            let out = unsafe { out.slice(share.start * outputs..share.end * outputs) };
            out.chunks_exact_mut(outputs).for_each(|row| self.kernels().softmax(row));
        }
    }

    /// One member's part of a block. Layer l reads what l - 1 wrote to `hidden[(l - 1) % 2]` and writes its share of
    /// the outputs to `hidden[l % 2]`, the last layer to `out`.
    fn forward_block(
        &self,
        team: &Team,
        mut x: Inputs<T>,
        (plan, packed): (&Plan, &PackedWeights<T>),
        hidden: &[Shared<T>; 2],
        out: &Shared<T>,
    ) {
        let last = self.layers().len() - 1;
        for (l, layer) in self.layers().iter().enumerate() {
            let outputs = layer.outputs();
            let share = team.share(outputs, self.kernels().panel());
            let (target, stride) = if l == last { (out, outputs) } else { (&hidden[l % 2], self.stride(outputs)) };
            let columns = Columns { first: target.at(share.start).0, stride, width: share.len() };
            let kernel = plan.kernel(x.rows, outputs);
            // SAFETY: each buffer holds a block of the widest hidden layer, `out` one of the last. Between two barriers
            // a layer's input is only read, and its output is written by members in disjoint shares.
            unsafe {
                let layer = (layer, packed.panels(l), kernel);
                dense_forward(self.kernels(), layer, share, x, self.epilogue(l), columns);
            }
            if l < last {
                team.barrier();
                // SAFETY: as above; the rows were written before the barrier.
                let data = unsafe { std::slice::from_raw_parts(target.0, (x.rows - 1) * stride + outputs) };
                x = Inputs { data, rows: x.rows, cols: outputs, stride };
            }
        }
    }

    /// Elements from one row of hidden values to the next.
    fn stride(&self, width: usize) -> usize {
        row_stride::<T>(width, self.kernels().panel())
    }

    fn outputs(&self) -> usize {
        self.layers()[self.layers().len() - 1].outputs()
    }

    /// The widest layer but the last.
    fn hidden_width(&self) -> usize {
        self.layers()[1..].iter().map(Layer::inputs).max().unwrap_or(0)
    }
}

/// Memory for the block of rows that is in work.
struct Buffers<T> {
    /// The values of two layers, in turn.
    hidden: [Shared<T>; 2],
    /// What [`Rows::read`] needs.
    room: Shared<T>,
}
