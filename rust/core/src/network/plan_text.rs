//! A plan in words: the text of `Network.explain_plan`.

use std::fmt;

use crate::linalg::dense::Kernel;
use crate::linalg::gemm::{TILE_BATCH_ROWS, tile_weight_rows};
use crate::linalg::gemv::{GROUP_ROWS, STREAMS, WeightSource};
use crate::linalg::packed_gemm::mr;
use crate::network::plan::{
    BLOCK_BYTES, LowPrecision, MAX_PACKED_BYTES, PARALLEL_MIN_BYTES, PARALLEL_MIN_MULTIPLY_ADDS, Plan,
    SHORT_MULTIPLY_ADDS, Shape, Split,
};
use crate::weight_format::WeightFormat;

/// The kernel, the blocks and the threads of a pass, each with its reason, in a line each; before them a line for an
/// embedding.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Shape { n_members, embedding_members, embedded, .. } = self.shape;
        if embedded > 0 {
            let networks = if embedding_members < n_members {
                format!(" in {embedding_members} of {n_members} networks")
            } else {
                String::new()
            };
            writeln!(f, "embedding: {embedded} inputs, each by 16 cosines, before the first layer{networks}")?;
        }
        write!(f, "kernel: {}\nblocks: {}\nthreads: {}", self.kernels_text(), self.blocks_text(), self.threads_text())
    }
}

impl Plan {
    /// The kernel of the widest layer, and that of the narrowest if it is another.
    fn kernels_text(&self) -> String {
        if let Some(low_precision) = self.shape.weights.low_precision {
            return low_precision_text(low_precision);
        }
        let [widest, narrowest] =
            [self.shape.widest, self.shape.narrowest].map(|outputs| self.kernel(self.block(), outputs));
        let text = self.kernel_text(widest);
        if narrowest == widest {
            return text;
        }
        let few = self.shape.nr / 2;
        format!("{text}; for layers with at most {few} outputs, {}", self.kernel_text(narrowest))
    }

    fn kernel_text(&self, kernel: Kernel) -> String {
        let (isa, registers, nr) = (self.shape.isa.name(), self.shape.registers, self.shape.nr);
        let nbytes = bytes(self.shape.weights.nbytes);
        match kernel {
            Kernel::PackedGemm => {
                let tile = match self.block() {
                    1 => format!("{} outputs at a time", 2 * nr),
                    _ => format!("{} rows by {nr} outputs at a time", mr(registers)),
                };
                let limit = bytes(MAX_PACKED_BYTES);
                format!("packed gemm on {isa}, because {nbytes} of weights (at most {limit}) are kept packed: {tile}")
            }
            Kernel::Gemv(WeightSource::Cache) => format!(
                "gemv on {isa}, because one row reads each weight once: {GROUP_ROWS} neighbouring rows of weights \
                 at a time"
            ),
            Kernel::Gemv(WeightSource::Memory) => format!(
                "gemv on {isa}, because one row reads each weight once: {STREAMS} streams of rows with prefetching, \
                 because {nbytes} of weights are read from memory"
            ),
            Kernel::Gemm => format!(
                "gemm on {isa}: tiles of {} rows of weights by {TILE_BATCH_ROWS} rows of the batch, whose sums fit \
                 in {registers} registers",
                tile_weight_rows(registers)
            ),
        }
    }

    fn blocks_text(&self) -> String {
        match (self.shape.batch, self.block()) {
            (1, _) => "one row through all layers".into(),
            (batch, block) if block < batch && self.is_whole_share() => format!(
                "{block} rows at a time through all layers, the share of a thread, because {} of weights exceed its \
                 cache and are read once for each block",
                bytes(self.shape.weights.nbytes)
            ),
            (batch, block) if block < batch => format!(
                "{block} rows at a time through all layers, because their values in a hidden layer ({} a row) should \
                 stay within {} of cache",
                bytes(self.shape.row_bytes),
                bytes(BLOCK_BYTES)
            ),
            (batch, _) => format!("all {batch} rows at once through all layers"),
        }
    }

    fn threads_text(&self) -> String {
        let split = match self.split() {
            _ if self.n_threads() == 1 => "",
            Split::Outputs => "; the threads share the outputs of every layer, one layer after the other",
            Split::Rows => "; each thread takes the next block when it is done",
        };
        let paused = if self.n_threads() > 1 && self.workers_paused {
            "; at present the calling thread works alone, because other threads did not make recent passes faster; they \
             are tried again from time to time"
        } else {
            ""
        };
        format!("{} of {}, because {}{split}{paused}", self.n_threads(), self.available, self.threads_reason())
    }

    /// The number of multiply-adds; if they are not f32, also the number of f32 ones that take as long.
    fn multiply_adds_text(&self) -> String {
        let (multiply_adds, work) = (self.shape.multiply_adds(), self.shape.work());
        let text = format!("{} multiply-adds", grouped(multiply_adds));
        if work == multiply_adds { text } else { format!("{text}, about as fast as {} in f32", grouped(work)) }
    }

    fn threads_reason(&self) -> String {
        let multiply_adds = self.multiply_adds_text();
        let nbytes = bytes(self.shape.weights.nbytes);
        match (self.n_threads(), self.shape.batch) {
            _ if self.available == 1 => "no more are allowed".into(),
            _ if self.is_short() => {
                let limit = grouped(SHORT_MULTIPLY_ADDS);
                format!("{multiply_adds} (fewer than {limit}) are done before a second thread wakes")
            }
            (1, 1) => {
                let limit = bytes(PARALLEL_MIN_BYTES);
                format!("{nbytes} of weights (less than {limit}) are too few to share")
            }
            (1, _) => {
                let limit = grouped(PARALLEL_MIN_MULTIPLY_ADDS);
                format!("{multiply_adds} (fewer than {limit}) are too few to share")
            }
            (_, 1) => {
                let limit = bytes(PARALLEL_MIN_BYTES);
                format!("{nbytes} of weights (at least {limit}) are read faster by several")
            }
            _ => {
                let limit = grouped(PARALLEL_MIN_MULTIPLY_ADDS);
                format!("{multiply_adds} (at least {limit}) are enough work for several")
            }
        }
    }
}

/// The kernel of the widest layer with low-precision weights.
fn low_precision_text(LowPrecision { isa, format, is_mixed }: LowPrecision) -> String {
    let arithmetic = match format {
        WeightFormat::F16 => "weights are converted to f32; inputs and sums are f32, so batches take as long as in f32",
        WeightFormat::Bf16 => "weights and inputs are bfloat16; sums are f32",
        WeightFormat::Int8 => "weights and inputs are 8-bit integers; sums are exact",
        WeightFormat::Int8Weights => {
            "weights are 8-bit integers, converted to f32; inputs and sums are f32, so batches take as long as in f32"
        }
    };
    let others = if is_mixed { "; some layers have weights of other formats" } else { "" };
    format!("packed {format} product on {}: {arithmetic}{others}", isa.name())
}

/// A number of bytes in a suitable unit.
fn bytes(n: usize) -> String {
    match n {
        0..0x400 => format!("{n} bytes"),
        0x400..0x10_0000 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / (1024.0 * 1024.0)),
    }
}

/// A number with commas between groups of three digits.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::plan::tests::plan;
    use crate::network::plan::{Shape, Weights};
    use crate::simd::LowPrecisionIsa;

    #[test]
    fn the_text_explains_the_plan() {
        let text = plan(3, 64, 1, 2).to_string();
        assert_eq!(
            text,
            "kernel: packed gemm on scalar, because 48.8 KiB of weights (at most 96.0 MiB) are kept packed: 64 outputs \
             at a time; for layers with at most 16 outputs, gemv on scalar, because one row reads each weight once: 8 \
             neighbouring rows of weights at a time\n\
             blocks: one row through all layers\n\
             threads: 1 of 2, because 12,480 multiply-adds (fewer than 500,000) are done before a second thread wakes"
        );
        let paused = plan(4, 1024, 1, 2).with_workers_paused(true).to_string();
        assert!(paused.ends_with("; they are tried again from time to time"), "{paused}");
        let text = plan(100, 1024, 1, 2).to_string();
        assert!(text.contains("2 streams of rows with prefetching, because 400.4 MiB of weights are read"), "{text}");
        assert!(text.contains("threads: 2 of 2, because 400.4 MiB of weights (at least 1.0 MiB)"), "{text}");
        let text = plan(4, 1024, 1000, 2).to_string();
        assert!(text.contains("6 rows by 32 outputs at a time; for layers with at most 16 outputs, gemm on"), "{text}");
        assert!(text.contains("gemm on scalar: tiles of 4 rows of weights by 3 rows of the batch"), "{text}");
        assert!(text.contains("blocks: 128 rows at a time"), "{text}");
        assert!(
            text.contains(
                "threads: 2 of 2, because 4,198,400,000 multiply-adds (at least 2,097,152) are enough work for \
                 several; each thread takes the next block"
            ),
            "{text}"
        );
        let low_precision =
            Some(LowPrecision { isa: LowPrecisionIsa::Scalar, format: WeightFormat::Int8, is_mixed: true });
        let shape = plan(3, 64, 1, 2).shape;
        let weights = Weights { row_work: shape.n_parameters / 4, low_precision, ..shape.weights };
        let text = Plan::new(Shape { weights, ..shape }, 2).to_string();
        assert!(text.starts_with("kernel: packed int8 product on scalar: weights and inputs are 8-bit"), "{text}");
        assert!(text.contains("sums are exact; some layers have weights of other formats\nblocks: one row"), "{text}");
        assert!(
            text.ends_with(
                "12,480 multiply-adds, about as fast as 3,120 in f32 (fewer than 500,000) are done before \
                                a second thread wakes"
            ),
            "{text}"
        );
        let shape = plan(10, 1024, 256, 2).shape;
        let weights = Weights { row_work: shape.n_parameters / 4, low_precision, ..shape.weights };
        let text = Plan::new(Shape { weights, ..shape }, 2).to_string();
        assert!(
            text.contains("blocks: 128 rows at a time through all layers, the share of a thread, because"),
            "{text}"
        );
        let text = plan(1, 8, 5, 1).to_string();
        assert!(text.contains("all 5 rows at once") && text.contains("because no more are allowed"), "{text}");
    }

    #[test]
    fn digits_are_grouped_by_three() {
        for (n, want) in [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), want);
        }
    }
}
