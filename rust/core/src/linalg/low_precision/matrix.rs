//! The low-precision weights of a layer, packed for one instruction set.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};

use super::layout::{Layout, LayoutOf};
use super::stored::StoredWeights;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::memory::{Aligned, HUGE_PAGE, collect, zeros};
use crate::simd::low_precision::dispatch;
use crate::simd::{CACHE_LINE, LowPrecisionIsa};
use crate::weight_format::WeightFormat;

/// Weights (outputs, inputs) in a low-precision format, in the panels of `layout`.
#[derive(Debug)]
pub(crate) struct LowPrecisionMatrix {
    pub(super) isa: LowPrecisionIsa,
    format: WeightFormat,
    outputs: usize,
    inputs: usize,
    pub(super) layout: Layout,
    panels: Panels,
    /// The scale of each output, with zeros up to whole panels; empty for formats without scales.
    pub(super) scales: Aligned<f32>,
    /// The offset of the inputs times the sum of the weights of each output; empty for formats with inputs in f32.
    pub(super) corrections: Aligned<i32>,
}

/// Packed weights: a part of a block of memory that starts on a cache line. Layers may share the block.
#[derive(Debug)]
struct Panels {
    block: Arc<Aligned<u8>>,
    part: Range<usize>,
}

impl Panels {
    fn bytes(&self) -> &[u8] {
        &self.block[self.part.clone()]
    }

    fn halves(&self) -> &[u16] {
        let bytes = self.bytes();
        // SAFETY: the part starts on a cache line, and every bit pattern is a valid u16.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<u16>()) }
    }

    fn integers(&self) -> &[i8] {
        let bytes = self.bytes();
        // SAFETY: u8 and i8 have the same size, and every bit pattern is a valid i8.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
    }
}

impl LowPrecisionMatrix {
    /// Rounds finite f32 weights (outputs, inputs) to `format` and packs them for `isa`; errors call them `name`.
    ///
    /// # Errors
    /// As for [`StoredWeights::from_f32`], and [`Error::Invalid`] if this CPU lacks `isa`.
    pub(crate) fn from_f32(
        name: &str,
        format: WeightFormat,
        weights: Matrix<f32>,
        isa: LowPrecisionIsa,
    ) -> Result<Self> {
        let stored = StoredWeights::from_f32(name, format, weights)?;
        Self::pack(name, (weights.rows(), weights.cols()), &stored, isa)
    }

    /// Packs weights of the shape (outputs, inputs) for `isa`; errors call them `name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the weights are not valid (see [`StoredWeights`]), a dimension is 0 or this CPU lacks
    /// `isa`; [`Error::OutOfMemory`].
    pub(crate) fn from_stored(
        name: &str,
        (outputs, inputs): (usize, usize),
        stored: &StoredWeights,
        isa: LowPrecisionIsa,
    ) -> Result<Self> {
        if outputs == 0 || inputs == 0 {
            return Err(Error::invalid(name, "at least one output and one input", format!("({outputs}, {inputs})")));
        }
        stored.check(name, (outputs, inputs))?;
        Self::pack(name, (outputs, inputs), stored, isa)
    }

    fn pack(
        name: &str,
        (outputs, inputs): (usize, usize),
        stored: &StoredWeights,
        isa: LowPrecisionIsa,
    ) -> Result<Self> {
        if !isa.is_available() {
            return Err(Error::invalid("isa", "an instruction set of this CPU", isa.name()));
        }
        let format = stored.format();
        // SAFETY: the CPU has `isa`, and the operation has no requirements.
        let layout = unsafe { dispatch::run(isa, LayoutOf(format)) };
        let (mut scales, mut corrections) = (zeros(name, 0)?, zeros(name, 0)?);
        let panels = match stored {
            StoredWeights::F16(bits) | StoredWeights::Bf16(bits) => {
                packed(name, &layout, inputs, bits, u16::to_ne_bytes)?
            }
            StoredWeights::Int8 { values, scales: per_output }
            | StoredWeights::Int8Weights { values, scales: per_output } => {
                let padded = outputs.next_multiple_of(layout.nr);
                scales = zeros(name, padded)?;
                scales[..outputs].copy_from_slice(per_output);
                if format == WeightFormat::Int8 {
                    corrections = zeros(name, padded)?;
                    for (correction, row) in corrections.iter_mut().zip(values.chunks_exact(inputs)) {
                        // Wraps as the sums do that it corrects.
                        let sum: i32 = row.iter().map(|value| i32::from(*value)).sum();
                        *correction = sum.wrapping_mul(layout.offset());
                    }
                }
                packed(name, &layout, inputs, values, i8::to_ne_bytes)?
            }
        };
        Ok(LowPrecisionMatrix { isa, format, outputs, inputs, layout, panels, scales, corrections })
    }

    /// A copy, packed for `isa`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this CPU lacks `isa`; [`Error::OutOfMemory`].
    pub(crate) fn with_isa(&self, isa: LowPrecisionIsa) -> Result<Self> {
        Self::pack("network", (self.outputs, self.inputs), &self.stored()?, isa)
    }

    /// The weights as a file holds them.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn stored(&self) -> Result<StoredWeights> {
        let scales = || collect("network", self.scales.iter().copied().take(self.outputs));
        let halves = || self.unpacked(self.panels.halves());
        let integers = || self.unpacked(self.panels.integers());
        Ok(match self.format {
            WeightFormat::F16 => StoredWeights::F16(halves()?),
            WeightFormat::Bf16 => StoredWeights::Bf16(halves()?),
            WeightFormat::Int8 => StoredWeights::Int8 { values: integers()?, scales: scales()? },
            WeightFormat::Int8Weights => StoredWeights::Int8Weights { values: integers()?, scales: scales()? },
        })
    }

    fn unpacked<E: Copy + Default>(&self, panels: &[E]) -> Result<Vec<E>> {
        let mut values = collect("network", (0..self.outputs * self.inputs).map(|_| E::default()))?;
        for (o, row) in values.chunks_exact_mut(self.inputs).enumerate() {
            for (i, value) in row.iter_mut().enumerate() {
                *value = panels[self.layout.place(self.inputs, o, i)];
            }
        }
        Ok(values)
    }

    /// The weight of output `o` and input `i` as a number.
    pub(crate) fn weight(&self, o: usize, i: usize) -> f32 {
        let place = self.layout.place(self.inputs, o, i);
        match self.format {
            WeightFormat::F16 => f16::from_bits(self.panels.halves()[place]).to_f32(),
            WeightFormat::Bf16 => bf16::from_bits(self.panels.halves()[place]).to_f32(),
            WeightFormat::Int8 | WeightFormat::Int8Weights => f32::from(self.panels.integers()[place]) * self.scales[o],
        }
    }

    /// The format of the weights.
    pub(crate) fn format(&self) -> WeightFormat {
        self.format
    }

    /// The number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The number of inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The size of the stored weights and scales in bytes.
    pub(crate) fn nbytes(&self) -> usize {
        let scales = if self.format.has_scales() { self.outputs * size_of::<f32>() } else { 0 };
        self.outputs * self.inputs * self.format.weight_bytes() + scales
    }

    /// The packed weights.
    pub(super) fn panels(&self) -> &[u8] {
        self.panels.bytes()
    }

    /// Moves the panels of those `matrices` that are smaller than a huge page into one block, so that they lie on huge
    /// pages together. Measured for one row: rust/core/TUNING.md, "Low precision".
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; nothing has changed then.
    pub(crate) fn gather<'a>(matrices: impl Iterator<Item = &'a mut LowPrecisionMatrix>) -> Result<()> {
        let mut small: Vec<_> = matrices.filter(|matrix| matrix.panels().len() < HUGE_PAGE).collect();
        let bytes = small.iter().map(|matrix| matrix.panels().len().next_multiple_of(CACHE_LINE)).sum();
        let mut block = zeros("network", bytes)?;
        let mut parts = Vec::with_capacity(small.len());
        let mut start = 0;
        for matrix in &small {
            let part = start..start + matrix.panels().len();
            block[part.clone()].copy_from_slice(matrix.panels());
            start = part.end.next_multiple_of(CACHE_LINE);
            parts.push(part);
        }
        let block = Arc::new(block);
        for (matrix, part) in small.iter_mut().zip(parts) {
            matrix.panels = Panels { block: block.clone(), part };
        }
        Ok(())
    }

    /// Threads may split the outputs at multiples of this.
    pub(crate) fn unit(&self) -> usize {
        self.layout.nr
    }

    /// The scratch memory of [`LowPrecisionMatrix::multiply`] for `rows` rows, in elements.
    pub(crate) fn scratch_len(&self, rows: usize) -> usize {
        self.layout.scratch_len(rows, self.inputs)
    }
}

/// `values` (outputs, inputs) in the panels of `layout`.
fn packed<E: Copy, const BYTES: usize>(
    name: &str,
    layout: &Layout,
    inputs: usize,
    values: &[E],
    to_bytes: impl Fn(E) -> [u8; BYTES],
) -> Result<Panels> {
    let mut block = zeros(name, layout.panels_len(values.len() / inputs, inputs).saturating_mul(BYTES))?;
    for (o, row) in values.chunks_exact(inputs).enumerate() {
        for (i, value) in row.iter().enumerate() {
            let place = layout.place(inputs, o, i) * BYTES;
            block[place..place + BYTES].copy_from_slice(&to_bytes(*value));
        }
    }
    let part = 0..block.len();
    Ok(Panels { block: Arc::new(block), part })
}
