//! Training: epochs, shuffling, validation, early stopping, and the way back when something goes wrong.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::hash::shuffle;
use crate::linalg::kernels::Dispatch;
use crate::linalg::rows::Dropout;
use crate::network::Network;
use crate::network::layer::Layer;
use crate::network::plan;
use crate::parallel::{Gate, Shared, with_team};
use crate::scalar::Scalar;
use crate::training::checkpoint::{Arrays, BestEpoch, Checkpoint, EpochRecord, Snapshot, TrainingState};
use crate::training::config::TrainingConfig;
use crate::training::loss::Objective;
use crate::training::optimizer::{Moment, Optimizer, OptimizerConfig};
use crate::training::samples::Samples;
use crate::training::step::{BLOCK_ROWS, Batch, BatchRunner, OptimizerState};
use crate::training::tape::{DropoutMask, Head, Parameters, Tape, TapeOptions};
use crate::training::validation::ValidationSet;

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// All epochs were made.
    Finished,
    /// `patience` epochs were no better.
    Patience,
    /// The callback asked for it.
    Callback,
}

impl StopReason {
    /// "finished", "patience" or "callback".
    pub fn name(self) -> &'static str {
        match self {
            StopReason::Finished => "finished",
            StopReason::Patience => "patience",
            StopReason::Callback => "callback",
        }
    }
}

/// What training came to.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingReport {
    /// One a finished epoch.
    pub epochs: Vec<EpochRecord>,
    /// The epoch that was best by the monitor.
    pub best_epoch: usize,
    /// Why it ended.
    pub stop: StopReason,
}

/// The rows that [`fit`] trains and validates on.
#[derive(Debug, Clone, Copy)]
pub struct FitData<'a, T> {
    /// Rows to learn from.
    pub train: &'a Samples<'a, T>,
    /// Rows that are evaluated after each epoch, if any.
    pub validation: Option<&'a Samples<'a, T>>,
}

/// What `fit` lets the caller do meanwhile.
pub struct Hooks<'a, T: Scalar> {
    /// Called after each epoch; true ends training.
    pub on_epoch: &'a mut dyn FnMut(&TrainingState<T>) -> bool,
    /// Once set, training ends with [`Error::Interrupted`] after the block of rows that is under way.
    pub interrupt: &'a AtomicBool,
}

/// Trains `network` on `data`: from its present parameters, or from where
/// `resume` stands.
///
/// The parameters have the same bits for any number of threads: each sum has an order of its own.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NonFinite`] or [`Error::OutOfMemory`] before anything is changed; [`Error::Diverged`] or
/// [`Error::Interrupted`], with network and optimizer as they were after the last finished epoch.
pub fn fit<T: Dispatch>(
    network: &mut Network<T>,
    optimizer: &mut Optimizer<T>,
    data: FitData<T>,
    config: &TrainingConfig,
    resume: Option<&Checkpoint<T>>,
    hooks: &mut Hooks<T>,
) -> Result<TrainingReport> {
    let FitData { train: samples, validation } = data;
    let square_bound = network.epilogue(0).stabilizer.square_bound();
    let objective = |targets, label_smoothing| Objective {
        loss: config.loss,
        output: network.config().output_activation,
        label_smoothing,
        targets,
        square_bound,
    };
    let training_objective = objective(samples.targets, config.label_smoothing);
    config.check::<T>(network.layers().len(), validation.is_some())?;
    samples.check(network, &training_objective, ["X", "y"], config.n_threads)?;
    let validation = match validation {
        Some(validation) => {
            let objective = objective(validation.targets, 0.0);
            validation.check(network, &objective, ["validation X", "validation y"], config.n_threads)?;
            Some((validation.x, objective))
        }
        None => None,
    };
    let weights = samples.scaled_weights()?;
    if let Some(checkpoint) = resume {
        let keeps_best = config.restore_best && validation.is_some();
        checkpoint.check(network, config, keeps_best)?;
        *optimizer = checkpoint.optimizer.clone();
        *network = network.with_layers(checkpoint.layers.clone());
    }
    optimizer.prepare(network.layers())?;

    let (rows, n_layers) = (samples.x.rows(), network.layers().len());
    let batch_size = config.batch_size.min(rows);
    // The validation set goes through the same tape, in blocks worth the name.
    let tape_rows = batch_size.max(validation.map_or(1, |(x, _)| x.rows().min(256))).min(BLOCK_ROWS);
    let head = if config.loss.takes_logits() { Head::Logits } else { Head::Output };
    let n_threads = plan::training_threads(network.n_parameters(), batch_size, config.n_threads);
    let dropout = config.dropout > 0.0;
    let scratch_gradients = config.clip_norm.is_none();
    let options =
        TapeOptions { members: n_threads, rows: tape_rows, head, dropout, input_gradient: false, scratch_gradients };
    let outputs: usize = network.layers().iter().map(Layer::outputs).sum();
    let (mut losses, mut squares) = (vec![0.0; tape_rows], vec![0.0; outputs]);
    let parameters: Vec<_> = network.layers_mut().iter_mut().map(|layer| shared(layer.parameters_mut())).collect();
    let moments = |moments: &mut Vec<Moment<T>>| -> Vec<_> {
        moments.iter_mut().map(|moment| shared((&mut moment.weight, &mut moment.bias))).collect()
    };
    let (first, second) = (moments(&mut optimizer.first), moments(&mut optimizer.second));
    let pairs = [&parameters, &first, &second].into_iter().flat_map(|group| group.iter().zip(network.layers()));
    let arrays: Vec<_> =
        pairs.flat_map(|(p, layer)| [(p.weight, layer.weight().len()), (p.bias, layer.bias().len())]).collect();
    let tape = Tape::new(network, &parameters, &options)?;
    let work = BatchRunner {
        kernels: network.kernels(),
        tape: &tape,
        x: samples.x,
        objective: training_objective,
        weights: weights.as_deref(),
        losses: Shared(losses.as_mut_ptr()),
    };
    let run = TrainingRun {
        config,
        optimizer: *optimizer.config(),
        state: OptimizerState {
            parameters,
            first,
            second,
            learning_rate_factors: config.learning_rate_factors.clone().unwrap_or_else(|| vec![(1.0, 1.0); n_layers]),
            gradient_squares: Shared(squares.as_mut_ptr()),
        },
        work,
        batch_size,
        n_threads,
    };
    let validation =
        validation.map(|(x, objective)| ValidationSet::new(BatchRunner { x, objective, weights: None, ..work }));
    run.all_epochs(validation, (network.layers(), &arrays), (&mut optimizer.steps, resume), hooks)
}

/// Both arrays of a layer, for several threads.
fn shared<T>((weight, bias): (&mut [T], &mut [T])) -> Parameters<T> {
    Parameters { weight: Shared(weight.as_mut_ptr()), bias: Shared(bias.as_mut_ptr()) }
}

/// One call of `fit`, as the members of the team see it.
struct TrainingRun<'a, T: Scalar> {
    config: &'a TrainingConfig,
    optimizer: OptimizerConfig,
    state: OptimizerState<T>,
    work: BatchRunner<'a, T>,
    batch_size: usize,
    n_threads: usize,
}

impl<T: Scalar> TrainingRun<'_, T> {
    fn all_epochs(
        &self,
        mut validation: Option<ValidationSet<T>>,
        (layers, arrays): (&[Layer<T>], &Arrays<T>),
        (steps, resume): (&mut u64, Option<&Checkpoint<T>>),
        hooks: &mut Hooks<T>,
    ) -> Result<TrainingReport> {
        let config = self.config;
        let (parameters, moments) = arrays.split_at(2 * layers.len());
        let mut order: Vec<u32> = (0..self.work.x.rows() as u32).collect();
        let mut scratch = vec![0; if config.shuffle { order.len() } else { 0 }];
        let mut finished = Snapshot::new(arrays)?;
        let keep_best = config.restore_best && validation.is_some();
        let mut kept = if keep_best { Some(Snapshot::new(parameters)?) } else { None };
        if let Some(kept) = &mut kept {
            kept.take(parameters);
        }
        let mut report = TrainingReport { epochs: Vec::new(), best_epoch: 0, stop: StopReason::Finished };
        let mut best = BestEpoch { value: f64::INFINITY, epoch: 0, epochs_without_improvement: 0 };
        if let Some(checkpoint) = resume {
            report.epochs.clone_from(&checkpoint.epochs);
            for record in &report.epochs {
                best.update(config.monitor, record);
            }
            if let (Some(kept), Some(layers)) = (&mut kept, &checkpoint.best) {
                kept.take_layers(layers);
            }
        }
        let gate = Gate::default();
        for epoch in report.epochs.len()..config.epochs {
            if config.patience.is_some_and(|patience| best.epochs_without_improvement >= patience) {
                report.stop = StopReason::Patience;
                break;
            }
            let start = Instant::now();
            finished.take(arrays);
            if config.shuffle {
                shuffle(config.seed, epoch as u32, &mut order, &mut scratch);
            }
            let end = self.epoch((epoch, &gate), &order, *steps, validation.as_mut(), hooks.interrupt);
            if let Err(error) = self.check_end(epoch, &end, parameters) {
                finished.restore(arrays);
                return Err(error);
            }
            *steps += end.steps as u64;
            let (validation_loss, validation_score) = validation.as_ref().map(ValidationSet::result).unzip();
            let seconds = start.elapsed().as_secs_f64();
            let record = EpochRecord {
                epoch,
                loss: end.loss,
                validation_loss,
                validation_score,
                learning_rate: end.learning_rate,
                seconds,
                samples_per_second: order.len() as f64 / seconds,
            };
            report.epochs.push(record);
            if best.update(config.monitor, &record)
                && let Some(kept) = &mut kept
            {
                kept.take(parameters);
            }
            let state = TrainingState {
                epochs: &report.epochs,
                layers,
                moments,
                best: kept.as_ref(),
                optimizer: self.optimizer,
                steps: *steps,
            };
            if (hooks.on_epoch)(&state) {
                report.stop = StopReason::Callback;
                break;
            }
        }
        if let Some(kept) = &kept {
            kept.restore(parameters);
        }
        report.best_epoch = best.epoch;
        Ok(report)
    }

    /// An epoch may only count if it was finished and all is finite.
    fn check_end(&self, epoch: usize, end: &EpochOutcome, parameters: &[(Shared<T>, usize)]) -> Result<()> {
        if end.interrupted {
            return Err(Error::Interrupted);
        }
        let diverged = |what: String| Error::Diverged { epoch, learning_rate: end.learning_rate, what };
        if end.diverged {
            return Err(diverged(format!("a loss of {}", T::from_f64(end.loss))));
        }
        // SAFETY: between epochs nobody else uses the arrays, which are that long.
        if !parameters.iter().all(|(array, len)| self.work.kernels.all_finite(unsafe { array.slice(0..*len) })) {
            return Err(diverged("parameters that are infinite or NaN".into()));
        }
        Ok(())
    }

    /// All batches, then the validation set. Enters the pool once.
    fn epoch(
        &self,
        (epoch, gate): (usize, &Gate),
        order: &[u32],
        steps_before: u64,
        validation: Option<&mut ValidationSet<T>>,
        interrupt: &AtomicBool,
    ) -> EpochOutcome {
        let n_batches = order.len().div_ceil(self.batch_size);
        let total = n_batches as f64 * self.config.epochs as f64;
        let validation = validation.map(|validation| {
            let results = (Shared(validation.losses.as_mut_ptr()), Shared(validation.correct.as_mut_ptr()));
            (&validation.work, results)
        });
        let mut end = EpochOutcome::default();
        with_team(self.n_threads, |team| {
            // SAFETY: nothing else uses what training changes meanwhile.
            unsafe { self.work.pack_all(team) };
            for (index, rows) in order.chunks(self.batch_size).enumerate() {
                let step = epoch * n_batches + index;
                let (batch, learning_rate) = self.batch(rows, (step, total), steps_before + index as u64 + 1);
                (end.steps, end.learning_rate) = (index + 1, learning_rate);
                // SAFETY: as above.
                let loss = team.adaptively(gate, rows.len(), || unsafe { self.work.batch(team, &batch, interrupt) });
                match loss {
                    Some(loss) => {
                        end.loss += loss / order.len() as f64;
                        end.diverged = !T::from_f64(loss / rows.len() as f64).is_finite();
                    }
                    None => end.interrupted = true,
                }
                if end.interrupted || end.diverged {
                    return;
                }
            }
            if let Some((work, (losses, correct))) = &validation {
                // SAFETY: as above.
                end.interrupted = !unsafe { work.evaluate(team, (*losses, *correct), interrupt) };
            }
        });
        end
    }

    /// Step number `step` of `total` in this call, number `count` (from 1) in the life of the optimizer; and its
    /// learning rate.
    fn batch<'a>(&'a self, rows: &'a [u32], (step, total): (usize, f64), count: u64) -> (Batch<'a, T>, f64) {
        let config = self.config;
        let t = step as f64 / total;
        let rate = config.learning_rate * config.schedule.factor(t);
        let weight_decay = config.weight_decay * config.weight_decay_schedule.factor(t);
        let dropout = config.dropout * config.dropout_schedule.factor(t);
        let dropout_mask = (dropout > 0.0).then(|| DropoutMask {
            seed: config.seed,
            step: step as u32,
            dropout: Dropout {
                threshold: (dropout * f64::from(1 << 24)) as u32,
                scale: T::from_f64(1.0 / (1.0 - dropout)),
            },
            rows_before: 0,
        });
        let update = self.optimizer.step(count, rate, weight_decay, self.work.objective.square_bound);
        (Batch { rows, dropout_mask, update: Some((&self.state, update)), clip_norm: config.clip_norm }, rate)
    }
}

/// Where an epoch ended.
#[derive(Clone, Copy, Default)]
struct EpochOutcome {
    /// The mean of the rows' losses, each times its weight.
    loss: f64,
    steps: usize,
    /// Of the last step.
    learning_rate: f64,
    interrupted: bool,
    /// Whether the last batch's loss was infinite or NaN.
    diverged: bool,
}
