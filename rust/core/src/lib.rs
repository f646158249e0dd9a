//! A small, fast neural-network classifier for CPUs: inference and training in f32 and f64, without Python.
//!
//! A [`Network`] is a multi-layer perceptron. [`Forward::forward`] predicts, for one row or a batch; [`fit`] trains it
//! with an [`Optimizer`]; a [`FeatureEncoder`] turns the columns of a table into features in the same pass.
//!
//! # The maths
//!
//! A network maps a row `x` of features to a row of outputs, layer by layer:
//!
//! - hidden layer: `x <- activation(W x + b) * activation_scale`
//! - last layer: `y = W x + b`, the same as a hidden layer, or softmax or sigmoid of `W x + b`
//! - training: `d = dLoss/d(W x + b)` from the last layer to the first, `dW = d^T x` and `db = d` summed over the
//!   batch, `dx = d W`, then an optimizer's step for W and b
//!
//! # Conventions
//!
//! - Matrices are row-major: inputs are (batch, features), weights (outputs, inputs), so that `Y = X W^T + b`.
//! - NaN and infinity in an argument are errors. Sums that overflow are bounded, so that outputs are finite.
//! - A result has the same bits for any number of threads, and for a row alone or in any batch.
//! - Errors are values of [`Error`]; they name the argument.
//!
//! # Folders
//!
//! Dependencies point down:
//!
//! - `training`: the loop over epochs, losses, optimizers, checkpoints; start with `fit`. Uses `network`.
//! - `preprocess`: from the columns of a table to features. Uses `network`.
//! - `network`: layers, initial weights, the plan of a pass, and the forward pass. Uses `linalg`.
//! - `linalg`: products, element-wise kernels and optimizer updates, generic over the instruction set. Uses `simd`.
//! - `simd`: one lane type for each instruction set; the only user of `core::arch`.
//! - `parallel`: workers and how many threads are allowed; the only user of rayon.
//! - `memory`, `scalar`, `matrix`, `error`, `hash`, `string_enum`, `weight_format`: used by all of them.
//!
//! `naive` is a slow reference for tests, `probe` measures the limits of the machine, and `TUNING.md` has the
//! measurements behind the constants.
//!
//! # Example
//!
//! ```
//! use tinyrs_core::{Forward, NetworkConfig, Init, Matrix, MatrixMut, Network};
//!
//! let network = Network::<f32>::new(&[4, 16, 3], NetworkConfig::default(), Init::GlorotUniform, 7)?;
//! let (x, mut y) = ([0.1, 0.2, 0.3, 0.4], [0.0; 3]);
//! network.forward(Matrix::new("x", &x, 1, 4)?, &mut MatrixMut::new("y", &mut y, 1, 3)?, 1)?;
//! assert!(y.iter().any(|v| *v != 0.0));
//! # Ok::<(), tinyrs_core::Error>(())
//! ```

mod activation;
#[cfg(all(test, not(miri)))]
mod allocation_fault_tests;
mod error;
mod hash;
#[cfg(test)]
mod late_threads_tests;
mod linalg;
mod matrix;
mod memory;
#[cfg(test)]
mod memory_model_tests;
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
mod weight_format;

pub use activation::{Activation, OutputActivation};
pub use error::{Error, Result};
pub use linalg::low_precision::{MAX_INT8_INPUTS, StoredWeights};
pub use linalg::peaks::ReadPattern;
pub use linalg::row_maxima::row_maxima;
pub use matrix::{Matrix, MatrixMut};
pub use memory::collect;
pub use network::ensemble::Ensemble;
pub use network::forward::Forward;
pub use network::init::Init;
pub use network::input::Input;
pub use network::layer::Layer;
pub use network::plan::Plan;
pub use network::quantized::QuantizedNetwork;
pub use network::quantized_layer::{LowPrecisionLayer, QuantizedLayer};
pub use network::sparse::Csr;
pub use network::{Network, NetworkConfig, NumericEmbedding};
pub use parallel::{num_threads, process_generation, set_num_threads};
pub use preprocess::cells::Cells;
pub use preprocess::column_check::{ColumnCheck, Finding, UsualColumn, ValueCounts};
pub use preprocess::feature_encoder::{CategoryColumn, FeatureEncoder, NumberColumn};
pub use preprocess::infinity::first_infinite;
pub use probe::{DEFAULT_WORKING_SET, MachineLimits, machine_limits};
pub use scalar::Scalar;
pub use simd::dispatch::Dispatch;
pub use simd::{Isa, LowPrecisionIsa};
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
pub use weight_format::WeightFormat;
