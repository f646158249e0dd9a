//! The forward pass: one row or a batch, block by block through all layers.

use std::ops::Range;

use crate::activation::OutputActivation;
use crate::error::{Error, Result};
use crate::linalg::epilogue::Softmax;
use crate::linalg::numeric_embedding::{EmbeddingArrays, EmbeddingForward};
use crate::linalg::view::{View, ViewMut};
use crate::matrix::{Matrix, MatrixMut};
use crate::memory::with_scratch;
use crate::network::architecture::Architecture;
use crate::network::checks::check_finite_parallel;
use crate::network::plan::{Plan, Shape, Split, Weights};
use crate::network::rows::Rows;
use crate::network::sparse::Csr;
use crate::parallel::{Shared, Team, with_team};
use crate::scalar::Scalar;
use crate::simd::CACHE_LINE;
use crate::simd::dispatch::Dispatch;

/// The layers of a network, or of several networks with layers of the same sizes, as [`Forward`] computes them.
pub trait Layers: Sync {
    /// The type of inputs, hidden values and outputs.
    type Value: Dispatch;

    fn architecture(&self) -> &Architecture<Self::Value>;

    /// The number of weights and biases.
    fn n_parameters(&self) -> usize {
        self.architecture().summary().n_parameters
    }

    /// The number of networks whose outputs are averaged.
    fn n_members(&self) -> usize {
        1
    }

    /// Whether the sizes, the activations and the formats of all dense layers are those of `other`.
    fn is_like(&self, other: &Self) -> bool {
        self.architecture().is_like(other.architecture())
    }

    /// The parameters of the embedding of network `member`, if there is one.
    fn embedding(&self, member: usize) -> Option<EmbeddingArrays<&[Self::Value]>>;

    /// What the plan of a pass depends on.
    fn weights(&self) -> Weights;

    /// Makes what the layers read besides the parameters. The first call does, for any plan of this network.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn pack(&self, plan: &Plan) -> Result<()>;

    /// Threads split the outputs of layer `layer` at multiples of this.
    fn unit(&self, layer: usize) -> usize;

    /// The number of scratch elements that a thread needs for its part of any layer, with a block of `rows` rows.
    fn scratch_len(&self, rows: usize) -> usize;

    /// Computes one thread's part of layer `layer`, after [`Layers::pack`].
    ///
    /// # Safety
    /// The columns `part.out` and [`Layers::scratch_len`] elements of `part.scratch` exist, and nothing else uses them.
    unsafe fn forward_layer(&self, layer: LayerIndex, plan: &Plan, part: LayerPart<Self::Value>);
}

/// A layer of one of the networks whose outputs are averaged.
#[derive(Debug, Clone, Copy)]
pub struct LayerIndex {
    pub(crate) member: usize,
    pub(crate) layer: usize,
}

/// One thread's part of a layer: some of its outputs for a block of rows.
pub struct LayerPart<'a, T> {
    pub(crate) outputs: Range<usize>,
    /// (rows, inputs)
    pub(crate) x: View<'a, T>,
    /// (rows, outputs), the columns of `outputs`.
    pub(crate) out: ViewMut<T>,
    pub(crate) scratch: *mut T,
}

/// The forward pass of a [`Network`](crate::Network), a [`QuantizedNetwork`](crate::QuantizedNetwork) or an
/// [`Ensemble`](crate::Ensemble) of them.
pub trait Forward: Layers {
    /// Computes the outputs `out` (batch, outputs) of the rows `x` (batch, inputs) on at most `n_threads` threads,
    /// fewer if more would not pay. The result of a row has the same bits for any number of threads and in any batch.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a shape does not fit, [`Error::NonFinite`] if `x` contains NaN or infinity,
    /// [`Error::OutOfMemory`]; nothing is written then.
    fn forward(&self, x: Matrix<Self::Value>, out: &mut MatrixMut<Self::Value>, n_threads: usize) -> Result<()> {
        let inputs = self.architecture().inputs();
        if x.cols() != inputs {
            return Err(Error::invalid("X", format!("{inputs} features"), x.cols()));
        }
        check_finite_parallel(self.architecture().kernels(), "X", x, n_threads)?;
        forward_rows(self, &x, out, n_threads)
    }

    /// [`Forward::forward`] for sparse rows. They are expanded one block at a time.
    ///
    /// # Errors
    /// As [`Forward::forward`].
    fn forward_sparse(&self, x: Csr<Self::Value>, out: &mut MatrixMut<Self::Value>, n_threads: usize) -> Result<()> {
        let inputs = self.architecture().inputs();
        if x.cols() != inputs {
            return Err(Error::invalid("X", format!("{inputs} features"), x.cols()));
        }
        x.check_finite("X")?;
        forward_rows(self, &x, out, n_threads)
    }

    /// The number of outputs of a row.
    fn outputs(&self) -> usize {
        self.architecture().outputs()
    }

    /// How [`Forward::forward`] computes `batch` rows on at most `n_threads` threads.
    fn plan(&self, batch: usize, n_threads: usize) -> Plan {
        let is_paused = self.architecture().gate(batch).is_paused();
        plan_with(self, batch, 0, n_threads).with_workers_paused(is_paused)
    }

    /// Whether a pass over `batch` rows ends before a second thread could wake, or another Python thread could use the
    /// GIL.
    fn is_short(&self, batch: usize) -> bool {
        self.weights().is_short(batch)
    }
}

impl<N: Layers> Forward for N {}

/// [`Forward::forward`] for rows from any source, which must be finite.
pub(crate) fn forward_rows<N: Layers + ?Sized>(
    network: &N,
    x: &impl Rows<N::Value>,
    out: &mut MatrixMut<N::Value>,
    n_threads: usize,
) -> Result<()> {
    let (inputs, outputs) = (network.architecture().inputs(), network.architecture().outputs());
    if x.cols() != inputs {
        return Err(Error::invalid("network", format!("one of {} inputs", x.cols()), inputs));
    }
    if (out.rows(), out.cols()) != (x.rows(), outputs) {
        let got = format!("({}, {})", out.rows(), out.cols());
        return Err(Error::invalid("out", format!("shape ({}, {outputs})", x.rows()), got));
    }
    forward_blocks(network, x, out.data_mut(), n_threads)
}

/// The plan for rows of which each needs scratch for `features` numbers that are computed first.
fn plan_with<N: Layers + ?Sized>(network: &N, batch: usize, features: usize, n_threads: usize) -> Plan {
    let architecture = network.architecture();
    let (summary, kernels) = (architecture.summary(), architecture.kernels());
    let row_values = summary.hidden_width.max(features).max(architecture.embedding_width());
    let shape = Shape {
        batch,
        n_parameters: network.n_parameters(),
        weights: network.weights(),
        n_members: network.n_members(),
        embedding_members: (0..network.n_members()).filter(|&member| network.embedding(member).is_some()).count(),
        embedded: architecture.embedded(),
        row_bytes: row_values * size_of::<N::Value>(),
        widest: summary.widest,
        narrowest: summary.narrowest,
        isa: kernels.isa(),
        registers: kernels.registers(),
        nr: kernels.nr(),
    };
    Plan::new(shape, n_threads)
}

/// Sends the rows through the network in blocks, each of which goes through all layers while it is in the cache.
fn forward_blocks<N: Layers + ?Sized>(
    network: &N,
    x: &impl Rows<N::Value>,
    out: &mut [N::Value],
    n_threads: usize,
) -> Result<()> {
    let (batch, unit, architecture) = (x.rows(), CACHE_LINE / size_of::<N::Value>(), network.architecture());
    let plan = plan_with(network, batch, x.scratch_len(1), n_threads);
    network.pack(&plan)?;
    let pass = Pass { network, plan: &plan };
    let block = plan.block();
    let hidden = (block * architecture.stride(architecture.summary().hidden_width)).next_multiple_of(unit);
    let input = x.scratch_len(block).next_multiple_of(unit);
    let embedded = (block * architecture.embedding_width()).next_multiple_of(unit);
    let product = network.scratch_len(block).next_multiple_of(unit);
    let member = if network.n_members() > 1 { (block * architecture.outputs()).next_multiple_of(unit) } else { 0 };
    // Threads that share outputs work on one block together; threads that share rows have one each.
    let (n_blocks_at_once, team_size) =
        if plan.split() == Split::Rows { (plan.n_threads(), 1) } else { (1, plan.n_threads()) };
    let size = 2 * hidden + input + embedded + member + team_size * product;
    with_scratch("X", n_blocks_at_once * size, |scratch: &mut [N::Value]| {
        let (scratch, out) = (Shared(scratch.as_mut_ptr()), Shared(out.as_mut_ptr()));
        let block_pass = |team: &Team, index: usize, slot: usize| {
            let scratch = scratch.at(slot * size);
            let buffers = Buffers {
                hidden: [scratch, scratch.at(hidden)],
                input: scratch.at(2 * hidden),
                embedded: scratch.at(2 * hidden + input),
                member: scratch.at(2 * hidden + input + embedded),
                products: scratch.at(2 * hidden + input + embedded + member),
                product_len: product,
            };
            let rows = index * block..((index + 1) * block).min(batch);
            pass.rows(team, (x, rows), &buffers, &out);
        };
        let n_blocks = batch.div_ceil(block);
        with_team(plan.n_threads(), |team| {
            team.adaptively(architecture.gate(batch), batch, || match plan.split() {
                Split::Outputs => (0..n_blocks).for_each(|index| block_pass(team, index, 0)),
                Split::Rows => team.for_each(n_blocks, |thread, index| block_pass(&Team::alone(), index, thread)),
            });
        });
    })
}

/// A pass through a network.
struct Pass<'a, N: Layers + ?Sized> {
    network: &'a N,
    plan: &'a Plan,
}

impl<N: Layers + ?Sized> Pass<'_, N> {
    /// Reads a block of rows, and writes the mean of what the networks compute for them.
    fn rows(
        &self,
        team: &Team,
        (x, rows): (&impl Rows<N::Value>, Range<usize>),
        buffers: &Buffers<N::Value>,
        out: &Shared<N::Value>,
    ) {
        let out = out.at(rows.start * self.network.architecture().outputs());
        // SAFETY: `input` has as many elements as `scratch_len` asked for, and nothing else uses it.
        let x = unsafe { x.read(team, rows, &buffers.input) };
        self.member(team, 0, x, buffers, &out);
        for member in 1..self.network.n_members() {
            self.member(team, member, x, buffers, &buffers.member);
            self.add(team, member, x.rows(), (&buffers.member, &out));
        }
    }

    /// Sends a block through network `member`, from the rows `x` to `out`.
    fn member(
        &self,
        team: &Team,
        member: usize,
        x: View<N::Value>,
        buffers: &Buffers<N::Value>,
        out: &Shared<N::Value>,
    ) {
        let x = self.embed(team, member, x, &buffers.embedded);
        self.layers(team, member, x, buffers, out);
        self.softmax(team, x.rows(), out);
    }

    /// The inputs of the first dense layer of network `member`: the rows `x`, or, if there is an embedding, what it
    /// writes to `embedded`.
    fn embed<'a>(
        &self,
        team: &Team,
        member: usize,
        x: View<'a, N::Value>,
        embedded: &Shared<N::Value>,
    ) -> View<'a, N::Value> {
        let Some(parameters) = self.network.embedding(member) else { return x };
        let architecture = self.network.architecture();
        let width = architecture.dense_inputs();
        team.for_each_range(x.rows(), 1, 1, |_, rows| {
            let out = ViewMut::new(embedded.at(rows.start * width).0, rows.len(), width, width);
            // SAFETY: `embedded` has `width` elements for each row of the block, and ranges are disjoint rows.
            unsafe {
                let x = View::new(x.at(rows.start, 0), rows.len(), x.cols(), x.stride());
                architecture.kernels().run_unchecked(EmbeddingForward { parameters, x, out });
            }
        });
        // SAFETY: all elements have been written, and no thread writes them while the dense layers read them.
        unsafe { View::new(embedded.0, x.rows(), width, width) }
    }

    /// Applies the softmax to `rows` rows of outputs, if there is one.
    fn softmax(&self, team: &Team, rows: usize, out: &Shared<N::Value>) {
        let architecture = self.network.architecture();
        let outputs = architecture.outputs();
        if architecture.config().output_activation != OutputActivation::Softmax {
            return;
        }
        team.for_each_range(rows, 1, 1, |_, range| {
            // SAFETY: ranges are disjoint rows of `out`, which no thread writes any more.
            let out = unsafe { out.slice_mut(range.start * outputs..range.end * outputs) };
            architecture.kernels().run(Softmax { z: out, outputs });
        });
    }

    /// Adds `rows` rows of outputs of network `member` to the sum of those before it; the last one divides the sum.
    fn add(&self, team: &Team, member: usize, rows: usize, (from, sum): (&Shared<N::Value>, &Shared<N::Value>)) {
        let (outputs, n_members) = (self.network.architecture().outputs(), self.network.n_members());
        let last = member + 1 == n_members;
        let count = N::Value::from_f64(n_members as f64);
        team.for_each_range(rows, 1, 1, |_, range| {
            let range = range.start * outputs..range.end * outputs;
            // SAFETY: ranges are disjoint rows of both, which no other thread uses any more.
            let (from, sum) = unsafe { (from.slice(range.clone()), sum.slice_mut(range)) };
            sum.iter_mut().zip(from).for_each(|(sum, value)| *sum += *value);
            if last {
                sum.iter_mut().for_each(|sum| *sum = *sum / count);
            }
        });
    }

    /// Sends a block through the dense layers of network `member`. Layer l reads `hidden[(l - 1) % 2]`, which layer
    /// l - 1 wrote, and writes `hidden[l % 2]`; the last layer writes `out`.
    fn layers(
        &self,
        team: &Team,
        member: usize,
        mut x: View<N::Value>,
        buffers: &Buffers<N::Value>,
        out: &Shared<N::Value>,
    ) {
        let architecture = self.network.architecture();
        let last = architecture.n_layers() - 1;
        for (l, &outputs) in architecture.widths().iter().enumerate() {
            let (target, stride) =
                if l == last { (out, outputs) } else { (&buffers.hidden[l % 2], architecture.stride(outputs)) };
            team.for_each_range(outputs, self.network.unit(l), 1, |thread, range| {
                let columns = ViewMut::new(target.at(range.start).0, x.rows(), range.len(), stride);
                let scratch = buffers.products.at(thread * buffers.product_len).0;
                let part = LayerPart { outputs: range, x, out: columns, scratch };
                // SAFETY: each buffer holds a block of the widest hidden layer, `out` one of the last. A layer's input
                // is only read while its output is written, and ranges are disjoint columns of the output. Each thread
                // of the team has its own part of `products`.
                unsafe { self.network.forward_layer(LayerIndex { member, layer: l }, self.plan, part) };
            });
            if l < last {
                // SAFETY: as above; the layer's output is complete.
                x = unsafe { View::new(target.0, x.rows(), outputs, stride) };
            }
        }
    }
}

/// Scratch buffers for one block of rows.
struct Buffers<T> {
    /// The values of a layer and of the one before it, in turn.
    hidden: [Shared<T>; 2],
    /// Scratch for [`Rows::read`].
    input: Shared<T>,
    /// The rows of the block after the embedding, if there is one.
    embedded: Shared<T>,
    /// The outputs of one of several networks.
    member: Shared<T>,
    /// Scratch for [`Layers::forward_layer`]: `product_len` elements for each thread of the team.
    products: Shared<T>,
    product_len: usize,
}
