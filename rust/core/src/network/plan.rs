//! How a forward pass is computed: kernels, blocks and threads, decided from shapes alone by pure functions.
//!
//! The number of threads here is an upper bound: `parallel/limits.rs` says how many are allowed, `parallel/adaptive.rs`
//! lets the caller work alone while workers do not help.

use crate::linalg::dense::Kernel;
use crate::linalg::gemm::TILE_BATCH_ROWS;
use crate::linalg::gemv::WeightSource;
use crate::linalg::packed_gemm::ROW_UNIT;
use crate::simd::low_precision::TILE_ROW_UNIT;
use crate::simd::{Isa, LowPrecisionIsa};
use crate::weight_format::WeightFormat;

/// A pass with fewer multiply-adds is short: one core finishes it in about 20 us, before a second thread is awake, and
/// releasing the GIL would cost more than it gains. See rust/core/TUNING.md, "When threads pay".
pub(super) const SHORT_MULTIPLY_ADDS: usize = 500_000;

/// A pass of one row uses several threads if the weights have at least this many bytes.
pub(super) const PARALLEL_MIN_BYTES: usize = 1 << 20;

/// A pass of several rows uses several threads if it has at least this many multiply-adds.
pub(super) const PARALLEL_MIN_MULTIPLY_ADDS: usize = 1 << 21;

/// A training step uses several threads if it has at least this many parameters times rows.
/// See rust/core/TUNING.md, "When threads pay".
const PARALLEL_MIN_TRAINING: usize = 1 << 17;

/// Threads split the rows of a batch if each gets at least this many, otherwise the outputs of each layer, so that each
/// weight is read once. See rust/core/TUNING.md, "Splitting rows or outputs".
const MIN_ROWS_PER_THREAD: usize = if cfg!(miri) { 4 } else { 16 };

/// The share of a thread is two blocks if they have at least this many rows, so that the others can take over one of
/// them from a thread that is late or shares its core. See rust/core/TUNING.md, "Splitting rows or outputs".
const MIN_HALF_BLOCK: usize = 48;

/// A thread's share of a pass that multiplies narrower numbers than f32 is not halved if the weights have more bytes: they
/// do not stay in the private cache of a core, and reading them again takes longer than multiplying.
/// See rust/core/TUNING.md, "Low precision".
const MAX_REREAD_BYTES: usize = 1 << 20;

/// Networks with at most this many bytes of weights keep a packed copy of them, except for layers with too few outputs
/// to fill one register of a panel. See rust/core/TUNING.md, "Packed weights".
pub(super) const MAX_PACKED_BYTES: usize = 96 << 20;

/// The size of the hidden values of one layer for a block of rows; two layers are in use at a time. Larger blocks do
/// not stay in the private cache of a core, smaller ones read the weights too often.
/// See rust/core/TUNING.md, "Batch blocks".
pub(super) const BLOCK_BYTES: usize = 512 << 10;

/// What the plan of a forward pass depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The number of input rows.
    pub batch: usize,
    pub n_parameters: usize,
    pub weights: Weights,
    /// The number of networks.
    pub n_members: usize,
    /// The number of networks with an embedding.
    pub embedding_members: usize,
    /// The number of inputs that these embed.
    pub embedded: usize,
    /// The size in bytes of one row of the widest hidden layer.
    pub row_bytes: usize,
    /// The number of outputs of the widest layer.
    pub widest: usize,
    /// The number of outputs of the narrowest layer.
    pub narrowest: usize,
    pub isa: Isa,
    /// The number of vector registers of `isa`.
    pub registers: usize,
    /// The number of columns in a panel of packed weights.
    pub nr: usize,
}

/// What the plan of a forward pass depends on besides the sizes of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// The size of all parameters in bytes.
    pub(crate) nbytes: usize,
    /// The work of one row in f32 multiply-adds: an int8 multiply-add counts as a quarter of one, a bf16 one as half.
    pub(crate) row_work: usize,
    /// Set if the weights of a layer are not f32 or f64.
    pub(crate) low_precision: Option<LowPrecision>,
}

/// The low-precision weights of a network, as the text of a plan describes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LowPrecision {
    pub isa: LowPrecisionIsa,
    /// The format of the widest layer with low-precision weights.
    pub format: WeightFormat,
    /// Whether there are layers with other weights.
    pub is_mixed: bool,
}

impl Weights {
    /// The number of f32 multiply-adds that take as long as a pass over `batch` rows.
    fn work(&self, batch: usize) -> usize {
        self.row_work.saturating_mul(batch)
    }

    /// Whether a pass over `batch` rows ends before a second thread could wake, or another Python thread could use the
    /// GIL.
    pub(super) fn is_short(&self, batch: usize) -> bool {
        self.work(batch) < SHORT_MULTIPLY_ADDS
    }
}

impl Shape {
    pub(super) fn multiply_adds(&self) -> usize {
        self.n_parameters.saturating_mul(self.batch)
    }

    /// The number of f32 multiply-adds that take as long as the pass.
    pub(super) fn work(&self) -> usize {
        self.weights.work(self.batch)
    }

    /// Whether the weights are packed, except those of layers with few outputs.
    fn is_packed(&self) -> bool {
        self.weights.nbytes <= MAX_PACKED_BYTES
    }

    /// Whether reading the weights once more takes less time than the arithmetic of half a share.
    fn may_reread(&self) -> bool {
        self.weights.row_work >= self.n_parameters || self.weights.nbytes <= MAX_REREAD_BYTES
    }

    fn is_short(&self) -> bool {
        self.weights.is_short(self.batch)
    }

    /// Whether several threads are faster than one. Under Miri always, so that small shapes test teams.
    fn is_parallel(&self) -> bool {
        match self.batch {
            _ if cfg!(miri) => true,
            1 => self.weights.nbytes >= PARALLEL_MIN_BYTES && !self.is_short(),
            _ => self.work() >= PARALLEL_MIN_MULTIPLY_ADDS,
        }
    }
}

/// How a forward pass is computed. The pass follows it, and its `Display` explains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub(super) shape: Shape,
    /// The number of threads that the pass may use.
    pub(super) available: usize,
    n_threads: usize,
    split: Split,
    block: usize,
    /// Whether workers are not called at present, because they did not make recent passes faster.
    pub(super) workers_paused: bool,
}

/// What the threads of a pass share among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// The outputs of every layer; a layer starts when the one before is complete.
    Outputs,
    /// The rows, one block at a time: a thread that has finished a block takes the next.
    Rows,
}

impl Plan {
    /// The plan for at most `available` threads.
    pub(crate) fn new(shape: Shape, available: usize) -> Self {
        let n_threads = if shape.is_parallel() { available } else { 1 };
        let block = block_rows(shape.batch, shape.row_bytes);
        if n_threads == 1 || shape.batch < MIN_ROWS_PER_THREAD * n_threads {
            return Plan { shape, available, n_threads, split: Split::Outputs, block, workers_paused: false };
        }
        // At least one block for each thread, in whole tiles.
        let unit = match shape.weights.low_precision {
            Some(_) => TILE_ROW_UNIT,
            None if shape.is_packed() => ROW_UNIT,
            None => TILE_BATCH_ROWS,
        };
        let rows_per_thread = shape.batch.div_ceil(n_threads).next_multiple_of(unit);
        let half = (rows_per_thread / 2).next_multiple_of(unit);
        let is_halved = half >= MIN_HALF_BLOCK && shape.may_reread();
        let block = block.min(if is_halved { half } else { rows_per_thread });
        Plan { shape, available, n_threads, split: Split::Rows, block, workers_paused: false }
    }

    /// The same plan, at a time when workers are not called or are called again.
    pub(super) fn with_workers_paused(self, workers_paused: bool) -> Self {
        Plan { workers_paused, ..self }
    }

    /// Whether the pass is short: see [`Forward::is_short`](crate::Forward::is_short).
    pub fn is_short(&self) -> bool {
        self.shape.is_short()
    }

    /// The maximum number of threads that compute the pass.
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// What the threads share among themselves.
    pub(crate) fn split(&self) -> Split {
        self.split
    }

    /// Whether a block is the whole share of a thread because weights would have to be read again for a second one.
    pub(super) fn is_whole_share(&self) -> bool {
        self.split == Split::Rows && !self.shape.may_reread() && self.block * self.n_threads >= self.shape.batch
    }

    /// The number of rows that go through all layers together.
    pub(crate) fn block(&self) -> usize {
        self.block
    }

    /// Whether a layer with `outputs` outputs has packed weights. This does not depend on the batch, because packed and
    /// unpacked products sum in different orders.
    pub(crate) fn is_packed(&self, outputs: usize) -> bool {
        self.shape.is_packed() && outputs > self.shape.nr / 2
    }

    /// The kernel for a block of `rows` rows and a layer with `outputs` outputs.
    pub(crate) fn kernel(&self, rows: usize, outputs: usize) -> Kernel {
        match rows {
            _ if self.is_packed(outputs) => Kernel::PackedGemm,
            1 if self.shape.is_packed() => Kernel::Gemv(WeightSource::Cache),
            1 => Kernel::Gemv(WeightSource::Memory),
            _ => Kernel::Gemm,
        }
    }
}

/// The number of threads, at most `available`, for training steps of `batch` rows through `n_parameters` parameters.
pub(crate) fn training_threads(n_parameters: usize, batch: usize, available: usize) -> usize {
    if cfg!(miri) || n_parameters.saturating_mul(batch) >= PARALLEL_MIN_TRAINING { available } else { 1 }
}

/// The number of rows that go through all layers together, where a row of the widest hidden layer has `row_bytes`
/// bytes.
fn block_rows(batch: usize, row_bytes: usize) -> usize {
    (BLOCK_BYTES / row_bytes.max(1) / 4 * 4).clamp(16, 256).min(batch.max(1))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plan for `layers` layers of `width` x `width` in f32.
    pub(in crate::network) fn plan(layers: usize, width: usize, batch: usize, available: usize) -> Plan {
        let n_parameters = layers * (width * width + width);
        let shape = Shape {
            batch,
            n_parameters,
            weights: Weights { nbytes: 4 * n_parameters, row_work: n_parameters, low_precision: None },
            n_members: 1,
            embedding_members: 0,
            embedded: 0,
            row_bytes: 4 * width,
            widest: width,
            narrowest: width.min(10),
            isa: Isa::Scalar,
            registers: 16,
            nr: 32,
        };
        Plan::new(shape, available)
    }

    #[test]
    fn small_work_stays_on_one_thread() {
        assert_eq!(plan(3, 64, 1, 2).n_threads(), 1);
        assert_eq!(plan(4, 1024, 1, 2).n_threads(), 2);
        assert_eq!(plan(4, 1024, 1, 1).n_threads(), 1);
        assert_eq!(plan(3, 64, 32, 2).n_threads(), 1);
        assert_eq!(plan(3, 64, 256, 2).n_threads(), 2);
        // The blocks of a packed batch are whole tiles: one for each thread, or two if they are large.
        assert_eq!([32, 64, 256].map(|batch| plan(4, 128, batch, 2).block()), [16, 32, 64]);
        // A short pass stays on one thread even if its weights are larger than a megabyte.
        assert_eq!(plan(1, 600, 1, 2).n_threads(), 1);
        assert!(plan(1, 600, 1, 2).is_short() && !plan(1, 600, 2, 2).is_short());
    }

    #[test]
    fn low_precision_shares_work_that_takes_as_long() {
        let plan = |format, row_work, batch| {
            let plan = plan(4, 256, batch, 2);
            let low_precision = Some(LowPrecision { isa: LowPrecisionIsa::Scalar, format, is_mixed: false });
            let weights = Weights { nbytes: plan.shape.n_parameters, row_work, low_precision };
            Plan::new(Shape { weights, ..plan.shape }, 2)
        };
        let n = 4 * (256 * 256 + 256);
        assert_eq!([7, 8].map(|batch| plan(WeightFormat::Int8Weights, n, batch).n_threads()), [1, 2]);
        assert_eq!([31, 32].map(|batch| plan(WeightFormat::Int8, n / 4, batch).n_threads()), [1, 2]);
        assert!(plan(WeightFormat::Int8, n / 4, 7).is_short() && !plan(WeightFormat::Int8Weights, n, 7).is_short());
        // One row reads a quarter of a megabyte.
        assert_eq!(plan(WeightFormat::Int8, n / 4, 1).n_threads(), 1);
        // Blocks are whole tiles.
        assert_eq!(plan(WeightFormat::Int8, n / 4, 200).block(), 64);
        // Weights that exceed the cache are read once by each thread, unless the arithmetic takes longer.
        let large = |format, row_work| {
            let plan = self::plan(10, 1024, 256, 2);
            let low_precision = Some(LowPrecision { isa: LowPrecisionIsa::Scalar, format, is_mixed: false });
            let weights = Weights { nbytes: plan.shape.n_parameters, row_work, low_precision };
            Plan::new(Shape { weights, ..plan.shape }, 2).block()
        };
        let n = 10 * (1024 * 1024 + 1024);
        assert_eq!((large(WeightFormat::Int8, n / 4), large(WeightFormat::Int8Weights, n)), (128, 64));
    }

    #[test]
    fn the_gemv_depends_on_where_the_weights_are() {
        for (layers, source) in [(1, WeightSource::Cache), (10, WeightSource::Cache), (60, WeightSource::Memory)] {
            assert_eq!(plan(layers, 1024, 1, 1).kernel(1, 10), Kernel::Gemv(source));
        }
        assert_eq!(plan(1, 256, 8, 1).kernel(8, 0), Kernel::Gemm);
        assert_eq!(plan(100, 1024, 8, 1).kernel(8, 1024), Kernel::Gemm);
        // The last block of a batch may be a single row.
        assert_eq!(plan(1, 256, 9, 1).kernel(1, 0), Kernel::Gemv(WeightSource::Cache));
    }

    #[test]
    fn packing_does_not_depend_on_the_batch() {
        for batch in [1, 2, 256] {
            let kernel = |layers, outputs| plan(layers, 1024, batch, 2).kernel(batch, outputs);
            assert_eq!((kernel(10, 1024), kernel(10, 17)), (Kernel::PackedGemm, Kernel::PackedGemm));
            assert!(kernel(10, 16) != Kernel::PackedGemm && kernel(100, 1024) != Kernel::PackedGemm);
        }
    }
}
