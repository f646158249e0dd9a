//! The loop over epochs: shuffling, batches, validation, early stopping, and restoring the last finished epoch if
//! training diverges or is interrupted.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::hash::shuffle;
use crate::linalg::elementwise::{AllFinite, Dropout};
use crate::memory::{collect, out_of_memory, zeros};
use crate::network::layer::Layer;
use crate::parallel::{Gate, Shared, with_team};
use crate::scalar::Scalar;
use crate::simd::dispatch::Dispatch;
use crate::training::checkpoint::{Checkpoint, TrainingState};
use crate::training::config::{Monitor, TrainingConfig};
use crate::training::optimizer::OptimizerConfig;
use crate::training::report::{EpochRecord, StopReason, TrainingReport};
use crate::training::snapshot::{SharedArray, Snapshot, TrainedArrays};
use crate::training::step::{Batch, BatchRunner, OptimizerState};
use crate::training::tape::DropoutMask;
use crate::training::validation::ValidationSet;

/// How the caller follows and stops training.
pub struct Hooks<'a, T: Scalar> {
    /// Called after each epoch; training stops if it returns true.
    pub on_epoch: &'a mut dyn FnMut(&TrainingState<T>) -> bool,
    /// Once this is true, training ends with [`Error::Interrupted`] after the current block of rows.
    pub interrupt: &'a AtomicBool,
}

/// The epochs of one call of `fit`: its settings, and the data and buffers that its threads share.
pub(crate) struct EpochLoop<'a, T: Scalar> {
    pub config: &'a TrainingConfig,
    pub optimizer: OptimizerConfig,
    /// The layers that are trained, for callbacks.
    pub layers: &'a [Layer<T>],
    /// The same parameters and the optimizer's moments, for snapshots.
    pub arrays: TrainedArrays<T>,
    /// The same arrays, for the steps of the optimizer.
    pub state: OptimizerState<T>,
    /// Trains on the training set.
    pub runner: BatchRunner<'a, T>,
    /// Training rows per step.
    pub batch_size: usize,
    /// The largest number of threads.
    pub n_threads: usize,
}

/// What distinguishes one epoch from the others.
struct EpochInput<'a> {
    /// The index of the epoch, from 0.
    epoch: usize,
    /// The training rows in the order of this epoch.
    order: &'a [u32],
    /// Steps of the optimizer before this epoch.
    steps_before: u64,
    /// Decides from the durations of previous batches whether workers help with the next one.
    gate: &'a Gate,
}

/// How an epoch ended.
#[derive(Default)]
struct EpochOutcome {
    /// The weighted mean loss over the training rows.
    loss: f64,
    /// Steps of the optimizer in this epoch.
    steps: usize,
    /// The learning rate of the last step.
    learning_rate: f64,
    interrupted: bool,
    /// Whether the loss of the last batch was infinite or NaN.
    diverged: bool,
}

impl<T: Dispatch> EpochLoop<'_, T> {
    /// Runs the epochs, from the first one that `resume` does not contain. `steps` counts the steps of the optimizer.
    pub(crate) fn run(
        &self,
        mut validation: Option<ValidationSet<T>>,
        steps: &mut u64,
        resume: Option<&Checkpoint<T>>,
        hooks: &mut Hooks<T>,
    ) -> Result<TrainingReport> {
        let config = self.config;
        let mut order = collect("X", 0..self.runner.x.rows() as u32)?;
        let mut shuffle_scratch = zeros("X", if config.shuffle { order.len() } else { 0 })?;
        let mut last_finished = Snapshot::new(self.arrays.all())?;
        let mut progress = Progress::new(self, validation.is_some(), resume)?;
        let gate = Gate::default();
        let mut stop = StopReason::Finished;
        for epoch in progress.epochs.len()..config.epochs {
            if config.patience.is_some_and(|patience| progress.best.epochs_without_improvement >= patience) {
                stop = StopReason::Patience;
                break;
            }
            let start = Instant::now();
            last_finished.save(self.arrays.all());
            if config.shuffle {
                shuffle(config.seed, epoch as u32, &mut order, &mut shuffle_scratch);
            }
            let input = EpochInput { epoch, order: &order, steps_before: *steps, gate: &gate };
            let rollback = Rollback { last_finished: &last_finished, arrays: &self.arrays };
            let outcome = self.epoch(&input, validation.as_mut(), hooks.interrupt);
            self.check(epoch, &outcome)?;
            std::mem::forget(rollback);
            *steps += outcome.steps as u64;
            let (validation_loss, validation_score) = validation.as_ref().map(ValidationSet::loss_and_score).unzip();
            let seconds = start.elapsed().as_secs_f64();
            let record = EpochRecord {
                epoch,
                loss: outcome.loss,
                validation_loss,
                validation_score,
                learning_rate: outcome.learning_rate,
                seconds,
                samples_per_second: order.len() as f64 / seconds,
            };
            progress.add(record, config.monitor, self.arrays.parameters())?;
            let state = TrainingState {
                epochs: &progress.epochs,
                layers: self.layers,
                moments: self.arrays.moments(),
                best: progress.best_parameters.as_ref(),
                optimizer: self.optimizer,
                steps: *steps,
            };
            if (hooks.on_epoch)(&state) {
                stop = StopReason::Callback;
                break;
            }
        }
        if let Some(best) = &progress.best_parameters {
            best.restore(self.arrays.parameters());
        }
        Ok(TrainingReport { epochs: progress.epochs, best_epoch: progress.best.epoch, stop })
    }

    /// An error if the epoch was interrupted, or if its loss or the parameters are not finite.
    fn check(&self, epoch: usize, outcome: &EpochOutcome) -> Result<()> {
        if outcome.interrupted {
            return Err(Error::Interrupted);
        }
        let diverged = |what: String| Error::Diverged { epoch, learning_rate: outcome.learning_rate, what };
        if outcome.diverged {
            return Err(diverged(format!("a loss of {}", T::from_f64(outcome.loss))));
        }
        if !self.arrays.parameters().iter().all(|array| self.runner.kernels.run(AllFinite { z: array.as_slice() })) {
            return Err(diverged("parameters that are infinite or NaN".into()));
        }
        Ok(())
    }

    /// Trains all batches of an epoch, then evaluates the validation set. Opens one team.
    fn epoch(
        &self,
        input: &EpochInput,
        validation: Option<&mut ValidationSet<T>>,
        interrupt: &AtomicBool,
    ) -> EpochOutcome {
        let n_rows = input.order.len();
        let n_batches = n_rows.div_ceil(self.batch_size);
        let total = n_batches as f64 * self.config.epochs as f64;
        let validation = validation.map(|validation| {
            let (losses, correct) = (validation.losses.as_mut_ptr(), validation.correct.as_mut_ptr());
            (&validation.runner, Shared(losses), Shared(correct))
        });
        let mut outcome = EpochOutcome::default();
        with_team(self.n_threads, |team| {
            // SAFETY: nothing else uses what training changes meanwhile.
            unsafe { self.runner.pack_all(team) };
            for (index, rows) in input.order.chunks(self.batch_size).enumerate() {
                let position = BatchPosition {
                    index: input.epoch * n_batches + index,
                    total,
                    step: input.steps_before + index as u64 + 1,
                };
                let (batch, learning_rate) = self.batch(rows, &position);
                (outcome.steps, outcome.learning_rate) = (index + 1, learning_rate);
                // SAFETY: as above.
                let train = || unsafe { self.runner.batch(team, &batch, interrupt) };
                match team.adaptively(input.gate, rows.len(), train) {
                    Some(loss) => {
                        outcome.loss += loss / n_rows as f64;
                        outcome.diverged = !T::from_f64(loss / rows.len() as f64).is_finite();
                    }
                    None => outcome.interrupted = true,
                }
                if outcome.interrupted || outcome.diverged {
                    return;
                }
            }
            if let Some((runner, losses, correct)) = validation {
                // SAFETY: as above.
                outcome.interrupted = !unsafe { runner.evaluate(team, losses, correct, interrupt) };
            }
        });
        outcome
    }

    /// The batch of `rows`, with dropout and the step of the optimizer as scheduled; and the learning rate.
    fn batch<'a>(&'a self, rows: &'a [u32], position: &BatchPosition) -> (Batch<'a, T>, f64) {
        let config = self.config;
        let t = position.index as f64 / position.total;
        let learning_rate = config.learning_rate * config.schedule.factor(t);
        let weight_decay = config.weight_decay * config.weight_decay_schedule.factor(t);
        let dropout = config.dropout * config.dropout_schedule.factor(t);
        let dropout_mask = (dropout > 0.0).then(|| DropoutMask {
            seed: config.seed,
            batch_index: position.index as u32,
            dropout: Dropout {
                threshold: (dropout * f64::from(1 << 24)) as u32,
                scale: T::from_f64(1.0 / (1.0 - dropout)),
            },
            rows_before: 0,
        });
        let square_bound = self.runner.objective.square_bound;
        let step = self.optimizer.step(position.step, learning_rate, weight_decay, square_bound);
        let update = Some((&self.state, step));
        (Batch { rows, dropout_mask, update, clip_norm: config.clip_norm }, learning_rate)
    }
}

/// Restores what training changes to the last finished epoch when it is dropped: after an epoch that was interrupted,
/// diverged or panicked.
struct Rollback<'a, T: Scalar> {
    last_finished: &'a Snapshot,
    arrays: &'a TrainedArrays<T>,
}

impl<T: Scalar> Drop for Rollback<'_, T> {
    fn drop(&mut self) {
        self.last_finished.restore(self.arrays.all());
    }
}

/// The place of a batch in training.
struct BatchPosition {
    /// The index of the batch, from 0, over all epochs; schedules and dropout depend on it.
    index: usize,
    /// The number of batches of all epochs.
    total: f64,
    /// The number of the optimizer's step, from 1; earlier calls of `fit` count too.
    step: u64,
}

/// The results of the epochs so far.
struct Progress {
    epochs: Vec<EpochRecord>,
    best: BestEpoch,
    /// The parameters of the best epoch, if training keeps them.
    best_parameters: Option<Snapshot>,
}

impl Progress {
    /// The progress before the first epoch, or that of the checkpoint `resume`.
    fn new<T: Scalar>(training: &EpochLoop<T>, has_validation: bool, resume: Option<&Checkpoint<T>>) -> Result<Self> {
        let (config, parameters) = (training.config, training.arrays.parameters());
        let keeps_best = config.restore_best && has_validation;
        let mut best_parameters = if keeps_best { Some(Snapshot::new(parameters)?) } else { None };
        if let Some(snapshot) = &mut best_parameters {
            snapshot.save(parameters);
        }
        let best = BestEpoch { value: f64::INFINITY, epoch: 0, epochs_without_improvement: 0 };
        let mut progress = Progress { epochs: Vec::new(), best, best_parameters };
        if let Some(checkpoint) = resume {
            progress.epochs = collect("epochs", checkpoint.epochs.iter().copied())?;
            for record in &progress.epochs {
                progress.best.update(config.monitor, record);
            }
            if let (Some(snapshot), Some(layers)) = (&mut progress.best_parameters, &checkpoint.best) {
                snapshot.save_layers(layers);
            }
        }
        Ok(progress)
    }

    /// Adds an epoch that ended with `parameters`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn add<T: Scalar>(&mut self, record: EpochRecord, monitor: Monitor, parameters: &[SharedArray<T>]) -> Result<()> {
        // Doubles the capacity now and then.
        self.epochs.try_reserve(1).map_err(|_| out_of_memory::<EpochRecord>("epochs", 2 * self.epochs.len()))?;
        self.epochs.push(record);
        if self.best.update(monitor, &record)
            && let Some(snapshot) = &mut self.best_parameters
        {
            snapshot.save(parameters);
        }
        Ok(())
    }
}

/// The best epoch so far, for early stopping.
struct BestEpoch {
    /// The monitored value: a loss, or a negated score. Smaller is better.
    value: f64,
    epoch: usize,
    epochs_without_improvement: usize,
}

impl BestEpoch {
    /// Compares an epoch with the best one; returns whether it is the best now. Of equal scores the last one is best,
    /// but it does not count as an improvement.
    fn update(&mut self, monitor: Monitor, record: &EpochRecord) -> bool {
        let value = match monitor {
            Monitor::Loss => record.validation_loss.unwrap_or(record.loss),
            Monitor::Score => -record.validation_score.unwrap_or(0.0),
        };
        let improves = value < self.value;
        self.epochs_without_improvement = if improves { 0 } else { self.epochs_without_improvement + 1 };
        let is_best = improves || (value == self.value && monitor == Monitor::Score);
        if is_best {
            (self.value, self.epoch) = (value, record.epoch);
        }
        is_best
    }
}
