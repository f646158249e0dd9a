//! `fit`: checks the arguments, allocates the buffers of training, and runs the epochs.

use crate::error::{Error, Result};
use crate::memory::zeros;
use crate::network::Network;
use crate::network::layer::Layer;
use crate::network::plan;
use crate::parallel::Shared;
use crate::simd::dispatch::Dispatch;
use crate::training::checkpoint::Checkpoint;
use crate::training::config::TrainingConfig;
use crate::training::epochs::{EpochLoop, Hooks};
use crate::training::loss::{LabelSmoothing, Objective};
use crate::training::optimizer::{Moment, Optimizer};
use crate::training::report::TrainingReport;
use crate::training::samples::Samples;
use crate::training::snapshot::{SharedArray, TrainedArrays};
use crate::training::step::{BLOCK_ROWS, BatchRunner, OptimizerState};
use crate::training::tape::{Head, Parameters, Tape, TapeOptions};
use crate::training::validation::ValidationSet;

/// Rows of the validation set that pass through the network together, at least: small training batches would be slow.
const VALIDATION_ROWS: usize = 256;

/// The rows that [`fit`] trains and validates on.
#[derive(Debug, Clone, Copy)]
pub struct FitData<'a, T> {
    /// The training set.
    pub train: &'a Samples<'a, T>,
    /// The validation set, evaluated after each epoch.
    pub validation: Option<&'a Samples<'a, T>>,
}

/// Trains `network` on `data`, from its current parameters or from the checkpoint `resume`.
///
/// The trained parameters have the same bits for any number of threads, because each sum has a fixed order.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NonFinite`] or [`Error::OutOfMemory`] before the first epoch, with `network` and
/// `optimizer` unchanged; [`Error::Diverged`] or [`Error::Interrupted`] with their state after the last finished epoch.
pub fn fit<T: Dispatch>(
    network: &mut Network<T>,
    optimizer: &mut Optimizer<T>,
    data: FitData<T>,
    config: &TrainingConfig,
    resume: Option<&Checkpoint<T>>,
    hooks: &mut Hooks<T>,
) -> Result<TrainingReport> {
    let result = match resume {
        None => train(network, optimizer, data, config, None, hooks),
        Some(checkpoint) => resume_from(checkpoint, network, optimizer, data, config, hooks),
    };
    if result.is_err() {
        optimizer.forget_unused_moments();
    }
    result
}

/// [`fit`] from a checkpoint. Trains copies, so that `network` and `optimizer` are unchanged if training cannot begin.
fn resume_from<T: Dispatch>(
    checkpoint: &Checkpoint<T>,
    network: &mut Network<T>,
    optimizer: &mut Optimizer<T>,
    data: FitData<T>,
    config: &TrainingConfig,
    hooks: &mut Hooks<T>,
) -> Result<TrainingReport> {
    checkpoint.check(network, config, config.restore_best && data.validation.is_some())?;
    let layers = checkpoint.layers.iter().map(Layer::try_clone).collect::<Result<_>>()?;
    let (mut resumed_network, mut resumed_optimizer) = (network.with_layers(layers), checkpoint.optimizer.try_clone()?);
    let result = train(&mut resumed_network, &mut resumed_optimizer, data, config, Some(checkpoint), hooks);
    if matches!(result, Ok(_) | Err(Error::Diverged { .. } | Error::Interrupted)) {
        (*network, *optimizer) = (resumed_network, resumed_optimizer);
    }
    result
}

/// [`fit`] from the current parameters; `resume` only provides the results of earlier epochs.
fn train<T: Dispatch>(
    network: &mut Network<T>,
    optimizer: &mut Optimizer<T>,
    data: FitData<T>,
    config: &TrainingConfig,
    resume: Option<&Checkpoint<T>>,
    hooks: &mut Hooks<T>,
) -> Result<TrainingReport> {
    let objectives = Objectives::checked(network, &data, config)?;
    let weights = data.train.scaled_weights()?;
    optimizer.prepare(network.layers())?;

    let options = tape_options(network, &data, config);
    let n_outputs = network.layers().iter().map(Layer::outputs).sum();
    let (mut losses, mut gradient_squares) = (zeros("batch_size", options.rows)?, zeros("layer_sizes", n_outputs)?);
    let state = optimizer_state(network, optimizer, config, &mut gradient_squares);
    // SAFETY: the arrays have these lengths, and only the epochs use them.
    let arrays = unsafe { trained_arrays(&state, network.layers()) };
    let tape = Tape::new(network, &state.parameters, &options)?;
    let runner = BatchRunner {
        kernels: network.kernels(),
        tape: &tape,
        x: data.train.x,
        objective: objectives.train,
        weights: weights.as_deref(),
        smoothed_losses: false,
        losses: Shared(losses.as_mut_ptr()),
    };
    let validation = data.validation.zip(objectives.validation);
    let validation = validation.map(|(samples, objective)| {
        ValidationSet::new(BatchRunner { x: samples.x, objective, weights: None, ..runner })
    });
    let validation = validation.transpose()?;
    let epochs = EpochLoop {
        config,
        optimizer: *optimizer.config(),
        layers: network.layers(),
        arrays,
        state,
        runner,
        batch_size: batch_size(&data, config),
        n_threads: options.n_threads,
    };
    epochs.run(validation, &mut optimizer.steps, resume, hooks)
}

/// The objectives of the training set and of the validation set.
struct Objectives<'a, T> {
    train: Objective<'a, T>,
    validation: Option<Objective<'a, T>>,
}

impl<'a, T: Dispatch> Objectives<'a, T> {
    /// Checks the configuration and both sets.
    fn checked(network: &Network<T>, data: &FitData<'a, T>, config: &'a TrainingConfig) -> Result<Self> {
        config.check::<T>(network.layers().len(), data.validation.is_some())?;
        let smoothing = LabelSmoothing { share: config.label_smoothing, prior: config.smoothing_prior.as_deref() };
        let train = Objective::new(network, data.train.targets, config.loss, smoothing);
        data.train.check(network, &train, ["X", "y"], config.n_threads)?;
        let validation = match data.validation {
            Some(samples) => {
                let objective = Objective::new(network, samples.targets, config.loss, LabelSmoothing::default());
                samples.check(network, &objective, ["validation X", "validation y"], config.n_threads)?;
                Some(objective)
            }
            None => None,
        };
        Ok(Objectives { train, validation })
    }
}

/// Training rows per step.
fn batch_size<T: Dispatch>(data: &FitData<T>, config: &TrainingConfig) -> usize {
    config.batch_size.min(data.train.x.rows())
}

/// One tape serves the training set and the validation set.
fn tape_options<T: Dispatch>(network: &Network<T>, data: &FitData<T>, config: &TrainingConfig) -> TapeOptions {
    let batch_size = batch_size(data, config);
    let validation_rows = data.validation.map_or(1, |samples| samples.x.rows().min(VALIDATION_ROWS));
    TapeOptions {
        n_threads: plan::training_threads(network.n_parameters(), batch_size, config.n_threads),
        rows: batch_size.max(validation_rows).min(BLOCK_ROWS),
        head: Head::for_loss(config.loss),
        dropout: config.dropout > 0.0,
        input_gradient: false,
        scratch_gradients: config.clip_norm.is_none(),
    }
}

/// Pointers to everything that a step of the optimizer changes.
fn optimizer_state<T: Dispatch>(
    network: &mut Network<T>,
    optimizer: &mut Optimizer<T>,
    config: &TrainingConfig,
    gradient_squares: &mut [f64],
) -> OptimizerState<T> {
    let shared = |(weight, bias)| Parameters { weight: Shared(weight), bias: Shared(bias) };
    let moments = |moments: &mut [Moment<T>]| moments.iter_mut().map(|moment| shared(moment.as_mut_ptrs())).collect();
    let n_layers = network.layers().len();
    OptimizerState {
        parameters: network.layers_mut().iter_mut().map(|layer| shared(layer.as_mut_ptrs())).collect(),
        first: moments(&mut optimizer.first),
        second: moments(&mut optimizer.second),
        learning_rate_factors: config.learning_rate_factors.clone().unwrap_or_else(|| vec![(1.0, 1.0); n_layers]),
        gradient_squares: Shared(gradient_squares.as_mut_ptr()),
    }
}

/// The arrays of `state`, with the lengths that `layers` tell.
///
/// # Safety
/// `state` points to parameters and moments of these layers; nothing else uses them while the result is used.
unsafe fn trained_arrays<T: Dispatch>(state: &OptimizerState<T>, layers: &[Layer<T>]) -> TrainedArrays<T> {
    let groups = [&state.parameters, &state.first, &state.second];
    let pairs = groups.into_iter().flat_map(|group| group.iter().zip(layers));
    // SAFETY: the caller's promise.
    let array = |start: Shared<T>, values: &[T]| unsafe { SharedArray::new(start, values.len()) };
    let arrays = pairs.flat_map(|(p, layer)| [array(p.weight, layer.weight()), array(p.bias, layer.bias())]);
    TrainedArrays::new(arrays.collect(), layers.len())
}
