//! The formats of low-precision weights.

use crate::string_enum::string_enum;

string_enum! {
    /// How a layer stores its weights in fewer bytes than f32, and how it multiplies with them.
    ///
    /// Biases, activations and outputs are f32 in every format.
    WeightFormat("kind") {
        /// Weights are IEEE half-precision numbers; inputs and sums are f32.
        F16 = "f16",
        /// Weights and inputs are rounded to bfloat16, to nearest even; sums are f32.
        Bf16 = "bf16",
        /// Weights are integers from -127 to 127 with an f32 scale for each output. Each row of inputs is quantized in
        /// the same way with one scale; sums are exact i32.
        Int8 = "int8",
        /// Weights as in `Int8`; inputs and sums are f32.
        Int8Weights = "int8_weights",
    }
}

impl WeightFormat {
    /// Whether the weights are integers with a scale for each output.
    pub fn has_scales(self) -> bool {
        matches!(self, WeightFormat::Int8 | WeightFormat::Int8Weights)
    }

    /// The size of one stored weight in bytes.
    pub fn weight_bytes(self) -> usize {
        if self.has_scales() { 1 } else { 2 }
    }
}
