//! Tests of the public interface, as one program: each further one would compile all kernels again, half a minute.
//! `allocation.rs` and `guard_pages.rs` have allocators of their own.

#[path = "../common/mod.rs"]
mod common;
mod forward;
mod gradients;
mod network;
mod numeric_embedding;
mod quantized;
mod training;
