//! The panels that low-precision weights are packed in.
//!
//! A panel has the weights of [`PANEL_REGISTERS`] registers of outputs; inputs are in groups:
//! `panel[o / nr][i / group][o % nr][order[i % group]]` is the weight of output o and input i. Unused places are 0.

use crate::simd::Lanes;
use crate::simd::low_precision::dispatch::LowPrecisionOperation;
use crate::simd::low_precision::{InputForm, LowPrecision, Multiply};
use crate::weight_format::WeightFormat;

/// Registers of sums in one row of a panel.
pub(super) const PANEL_REGISTERS: usize = 2;

/// The panels of formats with inputs in f32 are widened to f32, one at a time, for a product of at least this many rows.
/// For fewer rows, the micro-kernel widens registers of weights.
pub(super) const WIDEN_MIN_ROWS: usize = 36;

/// Prepared rows of inputs have room for a multiple of this, of which those after the last input are 0.
const INPUT_UNIT: usize = 64;

/// What the packed weights and the prepared inputs of one format look like on one instruction set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Outputs in a panel.
    pub nr: usize,
    /// Inputs in a group.
    pub group: usize,
    /// The place of each input in its group.
    pub order: &'static [usize],
    /// The size of a prepared input in bytes.
    pub input_bytes: usize,
    pub form: InputForm,
    /// The number of groups of a panel is a multiple of this.
    groups_unit: usize,
}

impl Layout {
    fn of<M: Multiply>(_: M) -> Self {
        Layout {
            nr: PANEL_REGISTERS * M::Lanes::N,
            group: M::GROUP,
            order: M::ORDER,
            input_bytes: M::INPUT_BYTES,
            form: M::FORM,
            groups_unit: M::STEPS_UNIT,
        }
    }

    /// The number of groups in a panel.
    pub(super) fn groups(&self, inputs: usize) -> usize {
        inputs.div_ceil(self.group).next_multiple_of(self.groups_unit)
    }

    /// Elements in one panel.
    pub(super) fn panel_len(&self, inputs: usize) -> usize {
        self.groups(inputs) * self.nr * self.group
    }

    /// Elements in all panels of a matrix.
    pub(super) fn panels_len(&self, outputs: usize, inputs: usize) -> usize {
        outputs.div_ceil(self.nr).saturating_mul(self.panel_len(inputs))
    }

    /// The place of the weight of output `o` and input `i` in the panels.
    #[inline]
    pub(super) fn place(&self, inputs: usize, o: usize, i: usize) -> usize {
        let row = (o / self.nr * self.groups(inputs) + i / self.group) * self.nr + o % self.nr;
        row * self.group + self.order[i % self.group]
    }

    /// What is added to each quantized input.
    pub(super) fn offset(&self) -> i32 {
        if let InputForm::Int8 { offset } = self.form { offset } else { 0 }
    }

    /// The size in bytes of a row of `inputs` prepared inputs: whole cache lines, and not a large power of two, with
    /// which the rows of a tile would compete for the same sets of the first-level cache.
    pub(super) fn row_bytes(&self, inputs: usize) -> usize {
        let bytes = inputs.next_multiple_of(INPUT_UNIT) * self.input_bytes;
        if bytes.is_multiple_of(2048) { bytes + INPUT_UNIT } else { bytes }
    }
}

/// The [`Layout`] of a format.
pub(super) struct LayoutOf(pub WeightFormat);

impl LowPrecisionOperation for LayoutOf {
    type Output = Layout;

    #[inline(always)]
    unsafe fn run<S: LowPrecision>(self, s: S) -> Layout {
        match self.0 {
            WeightFormat::F16 => Layout::of(s.f16()),
            WeightFormat::Bf16 => Layout::of(s.bf16()),
            WeightFormat::Int8 => Layout::of(s.int8()),
            WeightFormat::Int8Weights => Layout::of(s.int8_weights()),
        }
    }
}
