//! The arithmetic of a layer, generic over the element type and the instruction set (`simd`).
//!
//! Start with `dense`, a layer's forward pass: it chooses between `gemv` (one row), `gemm` (a batch) and `packed_gemm`
//! (weights in the panels that `pack` makes), and applies the `epilogue` (bias and activation) while the sums are in
//! cache. `low_precision` is the same for weights of f16, bf16 and int8, and `numeric_embedding` the layer before the
//! first dense one. Training also uses `elementwise` and `optimizer_update`. `view` has the operands of all of them. A
//! kernel is a struct that implements `simd::dispatch::Operation`. Everything here runs on the calling thread.

pub(crate) mod dense;
mod dot_tile;
pub(crate) mod elementwise;
pub(crate) mod epilogue;
pub(crate) mod gemm;
pub(crate) mod gemv;
pub(crate) mod low_precision;
pub(crate) mod numeric_embedding;
pub(crate) mod optimizer_update;
pub(crate) mod pack;
pub(crate) mod packed_gemm;
pub(crate) mod peaks;
pub(crate) mod row_maxima;
#[cfg(test)]
mod ulp_tests;
pub(crate) mod view;
