//! The product of a layer whose weights are f16, bf16 or int8.
//!
//! Start with [`LowPrecisionMatrix`], the weights (`matrix`), and its `multiply`, a layer's forward pass (`product`).
//! `stored` has weights as a file holds them, and how f32 weights are rounded to them; `layout` the panels that they are
//! packed in; `inputs` the preparation of the rows. What differs between formats and instruction sets is in
//! `simd::low_precision`.

mod inputs;
mod layout;
mod matrix;
mod product;
mod stored;
#[cfg(test)]
mod tests;

pub(crate) use self::matrix::LowPrecisionMatrix;
pub use self::stored::{MAX_INT8_INPUTS, StoredWeights};
