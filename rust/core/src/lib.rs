//! A small neural-network classifier for CPUs: the network itself, without Python.
//!
//! # The maths
//!
//! A network maps a row `x` of features to a row of outputs, layer after layer:
//!
//! - hidden layer: `x <- activation(W x + b) * activation_scale`
//! - last layer: `y = W x + b`, or the same as a hidden layer, or softmax or sigmoid of `W x + b`
//! - training: `d = dLoss/d(W x + b)` from the last layer down, `dW = d^T x` and `db = d` summed over the batch,
//!   `dx = d W`, and an optimizer's step for W and b
//!
//! # Conventions
//!
//! Everything is row-major: inputs are (batch, features), weights (outputs, inputs), so that `Y = X W^T + b`.
//! Finite in, finite out: NaN and infinity in an argument are errors, and sums that overflow are bounded.
//! The result of a pass has the same bits for any number of threads.
//!
//! # Where things are
//!
//! `network` (parameters, passes) uses `layer`, which uses `linalg` (products) and `activation`, which use `simd` (one
//! lane type per instruction set), `matrix` and `scalar`. `plan` decides from shapes what a pass does; `threads` is
//! the only user of rayon, whose teams meet at a `barrier` and have in `left` what members have not begun; `probe`
//! measures what the machine can do. `column_transformer` makes features of a table's rows.
//!
//! `checkpoint` is where training stands between two epochs. `training` (epochs, early stopping) uses `held_out` (the
//! validation set), `pace` (how many threads pay) and `step` (a batch on a team of threads), which uses `tape` (both passes
//! over a block of rows), `loss` and `optimizer`; `schedule`, `init` and `random` are small and by themselves.
//!
//! ```
//! use tinyrs_core::{NetworkConfig, Init, Matrix, MatrixMut, Network};
//!
//! let network = Network::<f32>::new(&[4, 16, 3], NetworkConfig::default(), Init::GlorotUniform, 7)?;
//! let (x, mut y) = ([0.1, 0.2, 0.3, 0.4], [0.0; 3]);
//! network.forward(Matrix::new("x", &x, 1, 4)?, &mut MatrixMut::new("y", &mut y, 1, 3)?, 1)?;
//! assert!(y.iter().any(|v| *v != 0.0));
//! # Ok::<(), tinyrs_core::Error>(())
//! ```

mod activation;
mod error;
mod hash;
mod linalg;
mod matrix;
mod memory;
#[doc(hidden)]
pub mod naive;
mod network;
mod parallel;
mod preprocess;
mod probe;
mod scalar;
mod simd;
mod stabilizer;
mod string_enum;
mod training;

pub use activation::{Activation, OutputActivation};
pub use error::{Error, Result};
pub use linalg::kernels::Dispatch;
pub use linalg::peaks::ReadPattern;
pub use matrix::{Matrix, MatrixMut};
pub use network::init::Init;
pub use network::input::Input;
pub use network::layer::Layer;
pub use network::plan::Plan;
pub use network::sparse::Csr;
pub use network::{Network, NetworkConfig};
pub use parallel::{num_threads, set_num_threads};
pub use preprocess::feature_encoder::{CategoryColumn, FeatureEncoder, NumberColumn};
pub use probe::{DEFAULT_WORKING_SET, MachineLimits, machine_limits};
pub use scalar::Scalar;
pub use simd::Isa;
pub use stabilizer::Stabilizer;
pub use training::checkpoint::{Checkpoint, TrainingState};
pub use training::config::{Monitor, TrainingConfig};
pub use training::epochs::Hooks;
pub use training::fit::{FitData, fit};
pub use training::gradients::{Gradients, backward, loss_and_gradients};
pub use training::loss::{Loss, Targets};
pub use training::optimizer::{Algorithm, Moment, Optimizer, OptimizerConfig};
pub use training::report::{EpochRecord, StopReason, TrainingReport};
pub use training::samples::Samples;
pub use training::schedule::Schedule;
