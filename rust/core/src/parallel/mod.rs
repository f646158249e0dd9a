//! Threads: how many a pass may use, the pool, and how the threads of one pass work together.
//!
//! The only folder that knows rayon; it uses nothing of the crate but `error`. Start with `team`: `run` calls a closure on
//! every thread of a team, `Team` is one thread's view of it.

mod affinity;
mod barrier;
mod limits;
mod shared;
mod team;
mod work_queue;

pub use limits::{num_threads, set_num_threads};
pub(crate) use shared::Shared;
pub(crate) use team::{Team, run};
