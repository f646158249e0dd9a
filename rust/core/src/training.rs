//! Training: epochs, shuffling, validation, early stopping, and the way back when something goes wrong.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::linalg::Dispatch;
use crate::linalg::rows::Dropout;
use crate::loss::{Loss, Objective, Targets};
use crate::network::Network;
use crate::optimizer::{Moment, Optimizer, OptimizerConfig};
use crate::pace::Pace;
use crate::plan;
use crate::random::shuffle;
use crate::samples::Samples;
use crate::scalar::Scalar;
use crate::step::{BLOCK_ROWS, Batch, State, Work};
use crate::tape::{Drops, Head, Parameters, Purpose, Tape};
use crate::threads::{self, Shared, Team};
use crate::training_config::{Monitor, TrainingConfig};
use crate::workspace::{Aligned, zeros};

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Counted from 0.
    pub epoch: usize,
    /// The mean over the rows of their weighted losses, each as it was when its batch came by.
    pub loss: f64,
    /// The mean loss of the validation set, without dropout or weights, after the epoch.
    pub validation_loss: Option<f64>,
    /// Its share of rows predicted right, or for the squared error 1 - residual / total sum of squares.
    pub validation_score: Option<f64>,
    /// Of the epoch's last step.
    pub learning_rate: f64,
    /// What the epoch took, validation included.
    pub seconds: f64,
    /// Training rows by that time.
    pub samples_per_second: f64,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// All epochs were made.
    Finished,
    /// `patience` epochs were no better.
    Patience,
    /// The callback asked for it.
    Callback,
}

impl Stop {
    /// "finished", "patience" or "callback".
    pub fn name(self) -> &'static str {
        match self {
            Stop::Finished => "finished",
            Stop::Patience => "patience",
            Stop::Callback => "callback",
        }
    }
}

/// What training came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// One a finished epoch.
    pub epochs: Vec<Epoch>,
    /// The epoch that was best by the monitor.
    pub best_epoch: usize,
    /// Why it ended.
    pub stop: Stop,
}

/// Training as it stands after an epoch.
pub struct Standing<'a, T: Scalar> {
    /// All epochs up to it.
    pub epochs: &'a [Epoch],
    /// The parameters.
    pub layers: &'a [Layer<T>],
    /// Parameters and moments.
    finished: &'a Copies<T>,
    /// Parameters of the best epoch, where they are kept.
    best: Option<&'a Copies<T>>,
    optimizer: OptimizerConfig,
    steps: u64,
}

impl<T: Scalar> Standing<'_, T> {
    /// A copy of all that training has to know to go on.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn checkpoint(&self) -> Result<Checkpoint<T>> {
        let mut best = None;
        if let Some(copies) = self.best {
            let mut layers = self.layers.to_vec();
            for (layer, pair) in layers.iter_mut().zip(copies.0.chunks_exact(2)) {
                layer.copy_from(&pair[0], &pair[1]);
            }
            best = Some(layers);
        }
        let pairs = self.finished.0[2 * self.layers.len()..].chunks_exact(2);
        let mut first = pairs.map(|pair| Moment::new(&pair[0], &pair[1])).collect::<Result<Vec<_>>>()?;
        let second = first.split_off(self.layers.len());
        let optimizer = Optimizer::with_state(self.optimizer, self.steps, first, second)?;
        Ok(Checkpoint { epochs: self.epochs.to_vec(), layers: self.layers.to_vec(), best, optimizer })
    }
}

/// All that training has to know to go on after an epoch as if it had never stopped.
#[derive(Debug, Clone)]
pub struct Checkpoint<T> {
    /// What was made.
    pub epochs: Vec<Epoch>,
    /// The parameters.
    pub layers: Vec<Layer<T>>,
    /// The parameters of the best epoch, where they are kept.
    pub best: Option<Vec<Layer<T>>>,
    /// With its state.
    pub optimizer: Optimizer<T>,
}

/// What `fit` lets the caller do meanwhile.
pub struct Hooks<'a, T: Scalar> {
    /// Called after each epoch; true ends training.
    pub on_epoch: &'a mut dyn FnMut(&Standing<T>) -> bool,
    /// Once set, training ends with [`Error::Interrupted`] after the block of rows that is under way.
    pub interrupt: &'a AtomicBool,
}

/// Trains `network` on the first of `data`, and validates on the second: from its present parameters, or from where
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
    (samples, validation): (&Samples<T>, Option<&Samples<T>>),
    config: &TrainingConfig,
    resume: Option<&Checkpoint<T>>,
    hooks: &mut Hooks<T>,
) -> Result<Report> {
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
    samples.check(network, &training_objective, ["X", "y"])?;
    let validation = match validation {
        Some(validation) => {
            let objective = objective(validation.targets, 0.0);
            validation.check(network, &objective, ["validation X", "validation y"])?;
            Some((validation.x, objective))
        }
        None => None,
    };
    let weights = samples.scaled_weights()?;
    if let Some(checkpoint) = resume {
        let keeps_best = config.restore_best && validation.is_some();
        checkpoint.check(network, config, keeps_best)?;
        *optimizer = checkpoint.optimizer.clone();
        network.copy_layers(&checkpoint.layers);
    }
    optimizer.prepare(network)?;

    let (rows, n_layers) = (samples.x.rows(), network.layers().len());
    let batch_size = config.batch_size.min(rows);
    // The validation set goes through the same tape, in blocks worth the name.
    let tape_rows = batch_size.max(validation.map_or(1, |(x, _)| x.rows().min(256))).min(BLOCK_ROWS);
    let head = if config.loss.takes_logits() { Head::Logits } else { Head::Output };
    let purpose = Purpose { rows: tape_rows, head, dropout: config.dropout > 0.0, input_gradient: false };
    let outputs: usize = network.layers().iter().map(Layer::outputs).sum();
    let (mut losses, mut squares) = (vec![0.0; tape_rows], vec![0.0; outputs]);
    let n_threads = plan::training_threads(network.n_parameters(), batch_size, config.n_threads);
    let parameters: Vec<_> = network.layers_mut().iter_mut().map(|layer| shared(layer.parameters_mut())).collect();
    let moments = |moments: &mut Vec<Moment<T>>| -> Vec<_> {
        moments.iter_mut().map(|moment| shared((&mut moment.weight, &mut moment.bias))).collect()
    };
    let (first, second) = (moments(&mut optimizer.first), moments(&mut optimizer.second));
    let pairs = [&parameters, &first, &second].into_iter().flat_map(|group| group.iter().zip(network.layers()));
    let arrays: Arrays<T> =
        pairs.flat_map(|(p, layer)| [(p.weight, layer.weight().len()), (p.bias, layer.bias().len())]).collect();
    let tape = Tape::new(network, &parameters, &purpose)?;
    let work = Work {
        kernels: network.kernels(),
        tape: &tape,
        x: samples.x,
        objective: training_objective,
        weights: weights.as_deref(),
        losses: Shared(losses.as_mut_ptr()),
    };
    let run = Run {
        config,
        optimizer: *optimizer.config(),
        state: State {
            parameters,
            first,
            second,
            rate_factors: config.learning_rate_factors.clone().unwrap_or_else(|| vec![(1.0, 1.0); n_layers]),
            squares: Shared(squares.as_mut_ptr()),
        },
        work,
        batch_size,
        n_threads,
    };
    let held_out = validation.map(|(x, objective)| HeldOut::new(Work { x, objective, weights: None, ..work }));
    run.all_epochs(held_out, (network.layers(), &arrays), (&mut optimizer.steps, resume), hooks)
}

impl<T: Scalar> Checkpoint<T> {
    /// Whether it is one of training such a network.
    fn check(&self, network: &Network<T>, config: &TrainingConfig, keeps_best: bool) -> Result<()> {
        let invalid = |expected: String, got: String| Err(Error::invalid("resume", expected, got));
        let sizes = |layers: &[Layer<T>]| layers.iter().map(|l| (l.inputs(), l.outputs())).collect::<Vec<_>>();
        for layers in std::iter::once(&self.layers).chain(&self.best) {
            if sizes(layers) != sizes(network.layers()) {
                let expected = format!("a checkpoint of a network of {:?}", network.layer_sizes());
                return invalid(expected, format!("layers of {:?}", sizes(layers)));
            }
        }
        if self.best.is_some() != keeps_best {
            let with =
                |best| if best { "one with the best epoch's parameters" } else { "one without the best epoch's" };
            return invalid(with(keeps_best).into(), with(self.best.is_some()).into());
        }
        if self.epochs.len() > config.epochs {
            return invalid(format!("at most {} epochs", config.epochs), self.epochs.len().to_string());
        }
        Ok(())
    }
}

/// Both arrays of a layer, for several threads.
fn shared<T>((weight, bias): (&mut [T], &mut [T])) -> Parameters<T> {
    Parameters { weight: Shared(weight.as_mut_ptr()), bias: Shared(bias.as_mut_ptr()) }
}

/// The arrays that training changes, with their lengths: the parameters, then the optimizer's moments.
type Arrays<T> = Vec<(Shared<T>, usize)>;

/// Which epoch was the best so far.
struct Best {
    /// The smaller the better.
    value: f64,
    epoch: usize,
    /// Epochs since then that were not better.
    stale: usize,
}

impl Best {
    /// Whether the epoch is the best.
    fn update(&mut self, monitor: Monitor, record: &Epoch) -> bool {
        let value = match monitor {
            Monitor::Loss => record.validation_loss.unwrap_or(record.loss),
            Monitor::Score => -record.validation_score.unwrap_or(0.0),
        };
        self.stale = if value < self.value { 0 } else { self.stale + 1 };
        let is_best = value < self.value || (value == self.value && monitor == Monitor::Score);
        if is_best {
            (self.value, self.epoch) = (value, record.epoch);
        }
        is_best
    }
}

/// Copies of some arrays, to go back to.
struct Copies<T: Scalar>(Vec<Aligned<T>>);

impl<T: Scalar> Copies<T> {
    fn of(arrays: &[(Shared<T>, usize)]) -> Result<Self> {
        let mut copies = Copies(arrays.iter().map(|(_, len)| zeros("layer_sizes", *len)).collect::<Result<_>>()?);
        copies.take(arrays);
        Ok(copies)
    }

    fn take(&mut self, arrays: &[(Shared<T>, usize)]) {
        for (copy, (array, len)) in self.0.iter_mut().zip(arrays) {
            // SAFETY: between epochs nobody else uses the arrays, which are that long.
            copy.copy_from_slice(unsafe { array.slice(0..*len) });
        }
    }

    /// Copies of their weights and biases.
    fn take_layers(&mut self, layers: &[Layer<T>]) {
        for (pair, layer) in self.0.chunks_exact_mut(2).zip(layers) {
            pair[0].copy_from_slice(layer.weight());
            pair[1].copy_from_slice(layer.bias());
        }
    }

    fn restore(&self, arrays: &[(Shared<T>, usize)]) {
        for (copy, (array, len)) in self.0.iter().zip(arrays) {
            // SAFETY: as above.
            unsafe { array.slice(0..*len) }.copy_from_slice(copy);
        }
    }
}

/// The validation set, and its results after an epoch.
struct HeldOut<'a, T: Scalar> {
    work: Work<'a, T>,
    losses: Vec<f64>,
    hits: Vec<f64>,
    /// For the squared error: the mean loss if the mean target were predicted everywhere.
    total: f64,
}

impl<'a, T: Scalar> HeldOut<'a, T> {
    fn new(work: Work<'a, T>) -> Self {
        let rows = work.x.rows();
        let mut total = 0.0;
        if let (Loss::SquaredError, Targets::Values(values)) = (work.objective.loss, work.objective.targets) {
            for column in 0..values.cols() {
                let column = || (0..rows).map(|row| values.row(row)[column].to_f64());
                let mean = column().sum::<f64>() / rows as f64;
                total += column().map(|v| (v - mean).powi(2)).sum::<f64>() / (rows * values.cols()) as f64;
            }
        }
        HeldOut { work, losses: vec![0.0; rows], hits: vec![0.0; rows], total }
    }

    /// (loss, score)
    fn result(&self) -> (f64, f64) {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let loss = mean(&self.losses);
        let score = match self.work.objective.loss {
            Loss::SquaredError if self.total > 0.0 => 1.0 - loss / self.total,
            // As scikit-learn has it: constant targets are met or not.
            Loss::SquaredError => f64::from(u8::from(loss == 0.0)),
            _ => mean(&self.hits),
        };
        (loss, score)
    }
}

/// One call of `fit`, as the members of the team see it.
struct Run<'a, T: Scalar> {
    config: &'a TrainingConfig,
    optimizer: OptimizerConfig,
    state: State<T>,
    work: Work<'a, T>,
    batch_size: usize,
    n_threads: usize,
}

impl<T: Scalar> Run<'_, T> {
    fn all_epochs(
        &self,
        mut held_out: Option<HeldOut<T>>,
        (layers, arrays): (&[Layer<T>], &Arrays<T>),
        (steps, resume): (&mut u64, Option<&Checkpoint<T>>),
        hooks: &mut Hooks<T>,
    ) -> Result<Report> {
        let config = self.config;
        let parameters = &arrays[..2 * layers.len()];
        let mut order: Vec<u32> = (0..self.work.x.rows() as u32).collect();
        let mut scratch = vec![0; if config.shuffle { order.len() } else { 0 }];
        let mut finished = Copies::of(arrays)?;
        let keep_best = config.restore_best && held_out.is_some();
        let mut kept = if keep_best { Some(Copies::of(parameters)?) } else { None };
        let mut report = Report { epochs: Vec::new(), best_epoch: 0, stop: Stop::Finished };
        let mut best = Best { value: f64::INFINITY, epoch: 0, stale: 0 };
        if let Some(checkpoint) = resume {
            report.epochs.clone_from(&checkpoint.epochs);
            for record in &report.epochs {
                best.update(config.monitor, record);
            }
            if let (Some(kept), Some(layers)) = (&mut kept, &checkpoint.best) {
                kept.take_layers(layers);
            }
        }
        let mut pace = Pace::new(self.n_threads, config.epochs - report.epochs.len());
        for epoch in report.epochs.len()..config.epochs {
            if config.patience.is_some_and(|patience| best.stale >= patience) {
                report.stop = Stop::Patience;
                break;
            }
            let start = Instant::now();
            if config.shuffle {
                shuffle(config.seed, epoch as u32, &mut order, &mut scratch);
            }
            let turn = (epoch, pace.n_threads());
            let end = self.epoch(turn, &order, *steps, held_out.as_mut(), hooks.interrupt);
            if let Err(error) = self.check_end(epoch, &end, parameters) {
                finished.restore(arrays);
                return Err(error);
            }
            finished.take(arrays);
            *steps += end.steps as u64;
            let (validation_loss, validation_score) = held_out.as_ref().map(HeldOut::result).unzip();
            let seconds = start.elapsed().as_secs_f64();
            pace.note(seconds);
            let record = Epoch {
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
            let standing = Standing {
                epochs: &report.epochs,
                layers,
                finished: &finished,
                best: kept.as_ref(),
                optimizer: self.optimizer,
                steps: *steps,
            };
            if (hooks.on_epoch)(&standing) {
                report.stop = Stop::Callback;
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
    fn check_end(&self, epoch: usize, end: &EpochEnd, parameters: &[(Shared<T>, usize)]) -> Result<()> {
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
        (epoch, n_threads): (usize, usize),
        order: &[u32],
        steps_before: u64,
        held_out: Option<&mut HeldOut<T>>,
        interrupt: &AtomicBool,
    ) -> EpochEnd {
        let n_batches = order.len().div_ceil(self.batch_size);
        let total = n_batches as f64 * self.config.epochs as f64;
        let held_out = held_out.map(|held_out| {
            let results = (Shared(held_out.losses.as_mut_ptr()), Shared(held_out.hits.as_mut_ptr()));
            (&held_out.work, results)
        });
        let mut end = EpochEnd::default();
        let (result, halt) = (Shared(&raw mut end), AtomicBool::new(false));
        threads::run(n_threads, |team: &Team| {
            let mut end = EpochEnd::default();
            // SAFETY: all members do the same, and nothing else uses what training changes meanwhile.
            unsafe {
                self.work.pack_all(team);
                for (index, rows) in order.chunks(self.batch_size).enumerate() {
                    let step = epoch * n_batches + index;
                    let (batch, learning_rate) = self.batch(rows, (step, total), steps_before + index as u64 + 1);
                    (end.steps, end.learning_rate) = (index + 1, learning_rate);
                    match self.work.batch(team, &batch, interrupt, &halt) {
                        Some(loss) => {
                            end.loss += loss / order.len() as f64;
                            end.diverged = !T::from_f64(loss / rows.len() as f64).is_finite();
                        }
                        None => end.interrupted = true,
                    }
                    if end.interrupted || end.diverged {
                        break;
                    }
                }
                if let Some((work, (losses, hits))) = &held_out
                    && !end.interrupted
                    && !end.diverged
                {
                    end.interrupted = !work.evaluate(team, (*losses, *hits), interrupt, &halt);
                }
                if team.index == 0 {
                    result.slice(0..1)[0] = end;
                }
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
        let drops = (dropout > 0.0).then(|| Drops {
            seed: config.seed,
            step: step as u32,
            dropout: Dropout {
                threshold: (dropout * f64::from(1 << 24)) as u32,
                scale: T::from_f64(1.0 / (1.0 - dropout)),
            },
            rows_before: 0,
        });
        let update = self.optimizer.step(count, rate, weight_decay, self.work.objective.square_bound);
        (Batch { rows, drops, update: Some((&self.state, update)), clip_norm: config.clip_norm }, rate)
    }
}

/// Where an epoch ended.
#[derive(Clone, Copy, Default)]
struct EpochEnd {
    /// The mean of the rows' losses, each times its weight.
    loss: f64,
    steps: usize,
    /// Of the last step.
    learning_rate: f64,
    interrupted: bool,
    /// Whether the last batch's loss was infinite or NaN.
    diverged: bool,
}
