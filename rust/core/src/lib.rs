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
//! use tinyrs_core::{Config, Init, Matrix, MatrixMut, Network};
//!
//! let network = Network::<f32>::new(&[4, 16, 3], Config::default(), Init::GlorotUniform, 7)?;
//! let (x, mut y) = ([0.1, 0.2, 0.3, 0.4], [0.0; 3]);
//! network.forward(Matrix::new("x", &x, 1, 4)?, &mut MatrixMut::new("y", &mut y, 1, 3)?, 1)?;
//! assert!(y.iter().any(|v| *v != 0.0));
//! # Ok::<(), tinyrs_core::Error>(())
//! ```

mod activation;
mod affinity;
mod barrier;
mod checkpoint;
mod column_transformer;
mod error;
mod forward;
mod gradients;
mod held_out;
mod init;
mod layer;
mod left;
mod linalg;
mod loss;
mod matrix;
#[doc(hidden)]
pub mod naive;
mod named;
mod network;
mod optimizer;
mod pace;
mod packed;
mod plan;
mod probe;
mod random;
mod samples;
mod scalar;
mod schedule;
mod simd;
mod sparse;
mod stabilizer;
mod step;
mod tape;
mod threads;
mod training;
mod training_config;
mod workspace;

pub use activation::{Activation, OutputActivation};
pub use checkpoint::{Checkpoint, Epoch, Standing};
pub use column_transformer::{CategoryColumn, ColumnTransformer, NumberColumn};
pub use error::{Error, Result};
pub use gradients::{Gradients, backward, loss_and_gradients};
pub use init::Init;
pub use layer::Layer;
pub use linalg::Dispatch;
pub use linalg::limits::ReadPattern;
pub use loss::{Loss, Targets};
pub use matrix::{Matrix, MatrixMut};
pub use network::{Config, Network};
pub use optimizer::{Algorithm, Moment, Optimizer, OptimizerConfig};
pub use plan::Plan;
pub use probe::{DEFAULT_WORKING_SET, MachineLimits, machine_limits};
pub use samples::Samples;
pub use scalar::Scalar;
pub use schedule::Schedule;
pub use simd::Isa;
pub use sparse::{Csr, Input};
pub use stabilizer::Stabilizer;
pub use threads::{num_threads, set_num_threads};
pub use training::{Hooks, Report, Stop, fit};
pub use training_config::{Monitor, TrainingConfig};
