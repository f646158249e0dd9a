//! Threads: how many a pass may use, the workers that help, and when helping pays.
//!
//! The only folder that knows rayon and `fork`; of the crate it uses only `error`. Start with `team`: a pass
//! asks for a `Team` and hands it pieces of work. `phase` is the lock-free protocol by which workers claim pieces,
//! `pool` keeps the workers, `adaptive` learns when to call them, `limits` decides how many threads are allowed
//! (whether several pay for a shape is decided in `network/plan.rs`).

mod adaptive;
mod affinity;
#[cfg(test)]
pub(crate) mod delay;
mod limits;
mod phase;
mod pool;
mod shared;
mod sync;
mod team;

pub(crate) use adaptive::Gate;
pub use limits::{num_threads, set_num_threads};
pub use pool::process_generation;
pub(crate) use shared::Shared;
pub(crate) use team::{Team, share, with_team};
