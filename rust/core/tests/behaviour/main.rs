//! Tests of the public interface, as one program: each further one would compile all kernels again, more than a minute
//! of processor time.

#[cfg(all(target_os = "linux", not(miri)))]
mod allocation;
#[cfg(all(target_os = "linux", not(miri)))]
mod allocator;
mod common;
mod forward;
mod gradients;
#[cfg(all(target_os = "linux", not(miri)))]
mod guard_pages;
mod network;
mod numeric_embedding;
mod quantized;
mod training;
