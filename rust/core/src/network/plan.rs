//! What a pass does, decided from shapes alone: pure functions, with the measurements behind their constants.

use std::fmt;

use crate::linalg::dense::Kernel;
use crate::linalg::gemm::{TILE_BATCH_ROWS, tile_weight_rows};
use crate::linalg::gemv::{GROUP_ROWS, STREAMS, WeightSource};
use crate::linalg::packed_gemm::{ROW_UNIT, mr};
use crate::simd::Isa;

/// Below so many multiply-adds a pass is over, in about 20 us at the rate of one core, before anything could be gained by
/// handing on what it holds: another thread is not awake yet, and taking Python's lock back can cost more than it gave.
const SHORT_MULTIPLY_ADDS: usize = 500_000;

/// From how many bytes of weights on a row is worth all threads, and from how many multiply-adds on a batch.
const WORTHWHILE_BYTES: usize = 1 << 20;
const WORTHWHILE_MULTIPLY_ADDS: usize = 1 << 21;

/// What a forward pass depends on beside its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Rows of the input.
    pub batch: usize,
    pub n_parameters: usize,
    /// Of all parameters.
    pub nbytes: usize,
    /// Of a row of the widest hidden layer.
    pub row_bytes: usize,
    /// Outputs of the widest and of the narrowest layer.
    pub widest: usize,
    pub narrowest: usize,
    pub isa: Isa,
    /// Vector registers of `isa`.
    pub registers: usize,
    /// Columns of a panel of packed weights.
    pub nr: usize,
}

impl Shape {
    fn multiply_adds(&self) -> usize {
        self.n_parameters.saturating_mul(self.batch)
    }

    /// Whether weights are packed, but for layers of few outputs.
    fn is_packed(&self) -> bool {
        self.nbytes <= PACKED_BYTES
    }

    fn is_short(&self) -> bool {
        self.multiply_adds() < SHORT_MULTIPLY_ADDS
    }
}

/// What a forward pass does: the pass obeys it, and its `Display` says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    shape: Shape,
    /// Threads that may be used.
    available: usize,
    n_threads: usize,
    split: Split,
    block: usize,
}

/// What each thread of a pass has a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// The outputs of every layer; the threads meet between layers.
    Outputs,
    /// The rows, a block at a time: who is done takes the next block, and nobody waits.
    Rows,
}

/// Rows for each thread from which on threads split rows. Before, they split outputs, so that each weight is read once.
/// Splitting rows took 0.96 of the time for 10 x 1024 with a batch of 256, 0.94 for 3 x 256, 0.86 for 4 x 128 with
/// batches of 64 and 256 (f32, 2 threads of Zen 4, dot products, interleaved medians), and 0.68 to 0.98 in f64.
const ROWS_EACH: usize = 16;

impl Plan {
    /// For at most `available` threads.
    pub(crate) fn new(shape: Shape, available: usize) -> Self {
        let n_threads = if is_worth_threads(&shape) { available } else { 1 };
        let block = batch_block(shape.batch, shape.row_bytes);
        if n_threads == 1 || shape.batch < ROWS_EACH * n_threads {
            return Plan { shape, available, n_threads, split: Split::Outputs, block };
        }
        // A block for each thread at least, in whole tiles.
        let unit = if shape.is_packed() { ROW_UNIT } else { TILE_BATCH_ROWS };
        let each = shape.batch.div_ceil(n_threads).next_multiple_of(unit);
        Plan { shape, available, n_threads, split: Split::Rows, block: block.min(each) }
    }

    /// Whether the pass is over before a thread could wake, or make use of what the caller lets go of meanwhile.
    pub fn is_short(&self) -> bool {
        self.shape.is_short()
    }

    /// Threads that split the outputs of each layer.
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// What the threads split.
    pub(crate) fn split(&self) -> Split {
        self.split
    }

    /// Rows of a batch that go through all layers together.
    pub(crate) fn block(&self) -> usize {
        self.block
    }

    /// Whether the weights of a layer of `outputs` are packed: for every batch or for none, since the two ways of
    /// summing differ in their last bits.
    pub(crate) fn is_packed(&self, outputs: usize) -> bool {
        self.shape.is_packed() && outputs > self.shape.nr / 2
    }

    /// For a block of `rows` rows and a layer of `outputs`.
    pub(crate) fn kernel(&self, rows: usize, outputs: usize) -> Kernel {
        match rows {
            _ if self.is_packed(outputs) => Kernel::PackedGemm,
            1 if self.shape.is_packed() => Kernel::Gemv(WeightSource::Cache),
            1 => Kernel::Gemv(WeightSource::Memory),
            _ => Kernel::Gemm,
        }
    }
}

/// Weights of up to this many bytes are packed, and so in memory twice; but for layers that would not fill one register
/// of a panel. Without packing (this constant 0) a pass took, over the time with, by `quick_benchmark.py -a tanh` on
/// two threads of Zen 4, medians of five runs of each in turn, f32 (f64): 4 x 128 with batches of 4, 32 and 256 1.13,
/// 1.11, 1.12 (1.07), 3 x 256 with 256 1.06, 10 x 1024 with 4, 32 and 256 1.63, 1.30, 1.11 (1.18), 3 x 1024 with 1,024
/// 1.08 (1.18); one row: 3 x 64 1.10, 3 x 256 1.04, 4 x 512 1.08, 10 x 1024 1.02 (1.01). PackedWeights, one row through 100 x
/// 1024, from memory, would take 0.98 (0.99) of the time, 0.95 (0.91) on one thread: too little for 400 MB.
const PACKED_BYTES: usize = 96 << 20;

/// Whether all threads are faster than one.
fn is_worth_threads(shape: &Shape) -> bool {
    match shape.batch {
        1 => shape.nbytes >= WORTHWHILE_BYTES && !shape.is_short(),
        _ => shape.multiply_adds() >= WORTHWHILE_MULTIPLY_ADDS,
    }
}

/// Threads for training steps of `batch` rows through `n_parameters`, at most `available`. At twice the threshold
/// (64-64-64-10, batch 32) two threads took 21 us a step and one 30; where they break even was not measured.
pub(crate) fn training_threads(n_parameters: usize, batch: usize, available: usize) -> usize {
    if n_parameters.saturating_mul(batch) >= 1 << 17 { available } else { 1 }
}

/// Bytes of a block of hidden values, of which two are in use. The weights of all layers are read again for every
/// block, and every few rows of weights read the whole block: too small and the weights come from memory too often, too
/// large and the block does not stay in a core's own cache. Two threads of a Zen 4 with 1 MiB of such a cache took,
/// over the time with 512 KiB, for 10 x 1024 with a batch of 256 in f32 and f64 1.01 and 1.06 with 256 KiB, 1.01 and
/// 1.01 with 1 MiB; for 3 x 1024 with 1,024 0.98 and 1.04, 0.97 and 0.94. Dot products, which read each row of weights
/// with all rows of a block, took 1.27 with 1 MiB in f64. More than 256 rows gained nothing.
const BLOCK_BYTES: usize = 512 << 10;

/// Rows of a batch that go through all layers together; `row_bytes` is a row of the widest hidden layer.
fn batch_block(batch: usize, row_bytes: usize) -> usize {
    (BLOCK_BYTES / row_bytes.max(1) / 4 * 4).clamp(16, 256).min(batch.max(1))
}

impl Plan {
    /// A kernel in words, and why it.
    fn describe(&self, f: &mut fmt::Formatter, kernel: Kernel) -> fmt::Result {
        let Shape { nbytes, isa, registers, nr, .. } = self.shape;
        match kernel {
            Kernel::PackedGemm => {
                let (nbytes, most) = (bytes(nbytes), bytes(PACKED_BYTES));
                write!(
                    f,
                    "packed gemm on {}, from weights that are packed, since {nbytes} are at most {most}: ",
                    isa.name()
                )?;
                match self.block {
                    1 => write!(f, "{} outputs at a time", 2 * nr),
                    _ => write!(f, "{} rows by {nr} outputs at a time", mr(registers)),
                }
            }
            Kernel::Gemv(source) => {
                write!(f, "gemv on {}, since a row reads each weight once: ", isa.name())?;
                match source {
                    WeightSource::Cache => write!(f, "{GROUP_ROWS} neighbouring rows at a time"),
                    WeightSource::Memory => write!(
                        f,
                        "{STREAMS} runs of rows side by side, asked for ahead, since {} of weights are read from memory",
                        bytes(nbytes)
                    ),
                }
            }
            Kernel::Gemm => write!(
                f,
                "gemm on {}, in tiles of {} rows of weights by {TILE_BATCH_ROWS} rows of the batch, \
                 as many sums as {registers} registers hold",
                isa.name(),
                tile_weight_rows(registers)
            ),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Plan { shape: Shape { batch, nbytes, row_bytes, widest, narrowest, nr, .. }, available, .. } = *self;
        let (kernel, narrow) = (self.kernel(self.block, widest), self.kernel(self.block, narrowest));
        write!(f, "kernel: ")?;
        self.describe(f, kernel)?;
        if narrow != kernel {
            write!(f, "; for layers of at most {} outputs ", nr / 2)?;
            self.describe(f, narrow)?;
        }
        write!(f, "\nblocks: ")?;
        match (batch, self.block) {
            (1, _) => write!(f, "one row through all layers")?,
            (_, block) if block < batch => write!(
                f,
                "{block} rows at a time through all layers, since the values of a hidden layer, {} a row, \
                 are to stay in {}",
                bytes(row_bytes),
                bytes(BLOCK_BYTES)
            )?,
            _ => write!(f, "all {batch} rows at once through all layers")?,
        }
        write!(f, "\nthreads: {} of {available}, since ", self.n_threads)?;
        let multiply_adds = self.shape.multiply_adds();
        match (self.n_threads, batch) {
            _ if available == 1 => write!(f, "no more are allowed")?,
            _ if self.is_short() => {
                write!(
                    f,
                    "{multiply_adds} multiply-adds, less than {SHORT_MULTIPLY_ADDS}, are done before others wake"
                )?;
            }
            (1, 1) => write!(
                f,
                "{} of weights, less than {}, are read soonest by one",
                bytes(nbytes),
                bytes(WORTHWHILE_BYTES)
            )?,
            (1, _) => write!(
                f,
                "{multiply_adds} multiply-adds, less than {WORTHWHILE_MULTIPLY_ADDS}, are done soonest by one"
            )?,
            (_, 1) => write!(
                f,
                "{} of weights, at least {}, are read faster by several",
                bytes(nbytes),
                bytes(WORTHWHILE_BYTES)
            )?,
            _ => write!(
                f,
                "{multiply_adds} multiply-adds, at least {WORTHWHILE_MULTIPLY_ADDS}, are done faster by several"
            )?,
        }
        match self.split {
            _ if self.n_threads == 1 => {}
            Split::Outputs => {
                write!(f, "; each has its share of the outputs of every layer, and they meet between layers")?;
            }
            Split::Rows => write!(f, "; who is done with a block takes the next one")?,
        }
        Ok(())
    }
}

/// A number of bytes in the unit that suits it.
fn bytes(n: usize) -> String {
    match n {
        0..0x400 => format!("{n} bytes"),
        0x400..0x10_0000 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / (1024.0 * 1024.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan for layers of `width` x `width` in f32, on two threads.
    fn plan(layers: usize, width: usize, batch: usize, available: usize) -> Plan {
        let n_parameters = layers * (width * width + width);
        let shape = Shape {
            batch,
            n_parameters,
            nbytes: 4 * n_parameters,
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
        // Halves of packed batches are whole tiles.
        assert_eq!([32, 64, 256].map(|batch| plan(4, 128, batch, 2).block()), [16, 32, 128]);
        // More than a megabyte, yet short.
        assert_eq!(plan(1, 600, 1, 2).n_threads(), 1);
        assert!(plan(1, 600, 1, 2).is_short() && !plan(1, 600, 2, 2).is_short());
    }

    #[test]
    fn rows_follow_the_weights_to_where_they_are() {
        for (layers, source) in [(1, WeightSource::Cache), (10, WeightSource::Cache), (60, WeightSource::Memory)] {
            assert_eq!(plan(layers, 1024, 1, 1).kernel(1, 10), Kernel::Gemv(source));
        }
        assert_eq!(plan(1, 256, 8, 1).kernel(8, 0), Kernel::Gemm);
        assert_eq!(plan(100, 1024, 8, 1).kernel(8, 1024), Kernel::Gemm);
        // The last block of a batch.
        assert_eq!(plan(1, 256, 9, 1).kernel(1, 0), Kernel::Gemv(WeightSource::Cache));
    }

    #[test]
    fn what_is_packed_does_not_depend_on_the_batch() {
        for batch in [1, 2, 256] {
            let kernel = |layers, outputs| plan(layers, 1024, batch, 2).kernel(batch, outputs);
            assert_eq!((kernel(10, 1024), kernel(10, 17)), (Kernel::PackedGemm, Kernel::PackedGemm));
            assert!(kernel(10, 16) != Kernel::PackedGemm && kernel(100, 1024) != Kernel::PackedGemm);
        }
    }

    #[test]
    fn the_words_say_what_was_decided() {
        let text = plan(3, 64, 1, 2).to_string();
        assert_eq!(
            text,
            "kernel: packed gemm on scalar, from weights that are packed, since 48.8 KiB are at most 96.0 MiB: 64 outputs \
             at a time; for layers of at most 16 outputs gemv on scalar, since a row reads each weight once: 8 \
             neighbouring rows at a time\n\
             blocks: one row through all layers\n\
             threads: 1 of 2, since 12480 multiply-adds, less than 500000, are done before others wake"
        );
        let text = plan(100, 1024, 1, 2).to_string();
        assert!(text.contains("2 runs of rows side by side, asked for ahead, since 400.4 MiB of weights"), "{text}");
        assert!(text.contains("threads: 2 of 2, since 400.4 MiB of weights, at least 1.0 MiB,"), "{text}");
        let text = plan(4, 1024, 1000, 2).to_string();
        assert!(text.contains("6 rows by 32 outputs at a time; for layers of at most 16 outputs gemm on"));
        assert!(text.contains("gemm on scalar, in tiles of 4 rows of weights by 3 rows of the batch"), "{text}");
        assert!(text.contains("blocks: 128 rows at a time"), "{text}");
        assert!(
            text.contains("4198400000 multiply-adds, at least 2097152, are done faster by several; who is done"),
            "{text}"
        );
        let text = plan(1, 8, 5, 1).to_string();
        assert!(text.contains("all 5 rows at once") && text.contains("since no more are allowed"), "{text}");
    }
}
