//! Training: losses, gradients, optimizers, and the loop over epochs.
//!
//! Uses `network` and everything below it; only `lib.rs` uses this folder. Start with `fit` (checks and buffers), then
//! read `epochs` (the loop, early stopping, interruption), `step` (one batch on a team of threads) and `tape` (forward
//! and backward pass of a block of rows).

pub(crate) mod checkpoint;
pub(crate) mod config;
pub(crate) mod epochs;
pub(crate) mod fit;
pub(crate) mod gradients;
pub(crate) mod loss;
pub(crate) mod optimizer;
pub(crate) mod report;
pub(crate) mod samples;
pub(crate) mod schedule;
mod snapshot;
mod step;
mod tape;
mod tape_buffers;
mod validation;
