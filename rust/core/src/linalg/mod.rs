//! Products of weights with one row (`gemv`) or with a batch (`gemm`), with bias and activation applied while the
//! sums are in cache; those of training (`outer`, from weights that `pack` lays out) and what lies between them (`rows`);
//! and the table of kernels per instruction set.

pub(crate) mod dense;
pub(crate) mod epilogue;
pub(crate) mod gemm;
pub(crate) mod gemv;
pub(crate) mod kernels;
pub(crate) mod limits;
pub(crate) mod optimizer_update;
pub(crate) mod outer;
pub(crate) mod pack;
pub(crate) mod rows;
mod tile;
#[cfg(test)]
mod ulp_tests;
