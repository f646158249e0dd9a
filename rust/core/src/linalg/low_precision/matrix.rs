//! The low-precision weights of a layer, packed for one instruction set.

use half::{bf16, f16};

use super::layout::{Layout, LayoutOf};
use super::stored::StoredWeights;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::memory::{Aligned, collect, zeros};
use crate::simd::LowPrecisionIsa;
use crate::simd::low_precision::dispatch;
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

/// Packed weights.
#[derive(Debug)]
enum Panels {
    Halves(Aligned<u16>),
    Integers(Aligned<i8>),
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
                Panels::Halves(packed(name, &layout, inputs, bits)?)
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
                Panels::Integers(packed(name, &layout, inputs, values)?)
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
        Ok(match (&self.panels, self.format) {
            (Panels::Halves(panels), WeightFormat::F16) => StoredWeights::F16(self.unpacked(panels)?),
            (Panels::Halves(panels), _) => StoredWeights::Bf16(self.unpacked(panels)?),
            (Panels::Integers(panels), WeightFormat::Int8) => {
                StoredWeights::Int8 { values: self.unpacked(panels)?, scales: scales()? }
            }
            (Panels::Integers(panels), _) => {
                StoredWeights::Int8Weights { values: self.unpacked(panels)?, scales: scales()? }
            }
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
        match (&self.panels, self.format) {
            (Panels::Halves(panels), WeightFormat::F16) => f16::from_bits(panels[place]).to_f32(),
            (Panels::Halves(panels), _) => bf16::from_bits(panels[place]).to_f32(),
            (Panels::Integers(panels), _) => f32::from(panels[place]) * self.scales[o],
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
        let (first, bytes) = match &self.panels {
            Panels::Halves(panels) => (panels.as_ptr().cast(), size_of_val(&panels[..])),
            Panels::Integers(panels) => (panels.as_ptr().cast(), panels.len()),
        };
        // SAFETY: the vector has this many bytes, and every byte of its elements is initialised.
        unsafe { std::slice::from_raw_parts(first, bytes) }
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
fn packed<E: Copy + Default>(name: &str, layout: &Layout, inputs: usize, values: &[E]) -> Result<Aligned<E>> {
    let mut panels = zeros(name, layout.panels_len(values.len() / inputs, inputs))?;
    for (o, row) in values.chunks_exact(inputs).enumerate() {
        for (i, value) in row.iter().enumerate() {
            panels[layout.place(inputs, o, i)] = *value;
        }
    }
    Ok(panels)
}
