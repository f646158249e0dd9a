//! Training: the same bits for any number of threads, and the last finished epoch after every failure.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{available, network, uniform};
use tinyrs_core::{
    Activation, Algorithm, Checkpoint, Dispatch, EpochRecord, Error, FitData, Hooks, Isa, Loss, Matrix, Monitor,
    Network, NetworkConfig, Optimizer, OptimizerConfig, OutputActivation, Samples, Schedule, StopReason, Targets,
    TrainingConfig, TrainingReport, TrainingState, fit,
};

/// Rows scattered around one centre per class.
struct Clusters<T> {
    x: Vec<T>,
    labels: Vec<u32>,
    features: usize,
}

impl<T: Dispatch> Clusters<T> {
    fn new(rows: usize, features: usize, classes: usize) -> Self {
        let (centres, noise) = (uniform::<T>(3, classes * features), uniform::<T>(4, rows * features));
        let labels: Vec<u32> = (0..rows).map(|row| (row * 5 % classes) as u32).collect();
        let centre = |row: usize, feature: usize| centres[labels[row] as usize * features + feature];
        let x = (0..rows * features).map(|i| centre(i / features, i % features) + noise[i]).collect();
        Clusters { x, labels, features }
    }

    fn samples(&self) -> Samples<'_, T> {
        let x = Matrix::new("X", &self.x, self.labels.len(), self.features).unwrap().into();
        Samples { x, targets: Targets::Labels(&self.labels), weights: None }
    }
}

fn classifier<T: Dispatch>(sizes: &[usize], isa: Isa) -> Network<T> {
    let config = NetworkConfig {
        activations: vec![Activation::Relu],
        output_activation: OutputActivation::Softmax,
        ..NetworkConfig::default()
    };
    network(sizes, config, isa)
}

fn config(epochs: usize) -> TrainingConfig {
    TrainingConfig { epochs, batch_size: 32, seed: 9, ..TrainingConfig::new(Loss::CrossEntropy) }
}

fn adam<T: Dispatch>() -> Optimizer<T> {
    Optimizer::new(OptimizerConfig::new(Algorithm::Adam)).unwrap()
}

fn sgd<T: Dispatch>() -> Optimizer<T> {
    Optimizer::new(OptimizerConfig::new(Algorithm::Sgd)).unwrap()
}

fn train<T: Dispatch>(
    network: &mut Network<T>,
    optimizer: &mut Optimizer<T>,
    samples: &Samples<T>,
    config: &TrainingConfig,
) -> Result<TrainingReport, Error> {
    let never = AtomicBool::new(false);
    let mut hooks = Hooks { on_epoch: &mut |_: &TrainingState<T>| false, interrupt: &never };
    fit(network, optimizer, FitData { train: samples, validation: None }, config, None, &mut hooks)
}

fn bits<T: Dispatch>(network: &Network<T>) -> Vec<u64> {
    let values = network.layers().iter().flat_map(|layer| layer.weight().iter().chain(layer.bias()));
    values.map(|v| v.to_f64().to_bits()).collect()
}

#[test]
fn training_gives_the_same_bits_for_any_number_of_threads() {
    fn check<T: Dispatch>() {
        let data = Clusters::<T>::new(700, 67, 7);
        for isa in available() {
            for algorithm in [Algorithm::Sgd, Algorithm::AdamW] {
                for clip_norm in [None, Some(0.5)] {
                    let trained = |n_threads| {
                        let mut network = classifier::<T>(&[67, 131, 37, 7], isa);
                        let mut optimizer = Optimizer::new(OptimizerConfig::new(algorithm)).unwrap();
                        let config = TrainingConfig {
                            n_threads,
                            clip_norm,
                            dropout: 0.3,
                            weight_decay: 0.01,
                            batch_size: 129,
                            ..config(2)
                        };
                        let report = train(&mut network, &mut optimizer, &data.samples(), &config).unwrap();
                        (bits(&network), report.epochs.iter().map(|epoch| epoch.loss.to_bits()).collect::<Vec<_>>())
                    };
                    let one_thread = trained(1);
                    for n_threads in [1, 2, 3, 8] {
                        let what = format!("{} {isa:?} {algorithm} {clip_norm:?} threads {n_threads}", T::NAME);
                        assert!(one_thread == trained(n_threads), "{what}");
                    }
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

/// Without clipping, the optimizer uses the gradient stripe by stripe; with clipping, after all of it is complete.
#[test]
fn a_clip_norm_that_is_never_reached_changes_no_bit() {
    let data = Clusters::<f32>::new(2500, 7, 3);
    for isa in available() {
        // A batch of 2,500 rows is several blocks, whose gradients are added up.
        for (batch_size, n_threads) in [(129, 1), (129, 2), (2500, 1), (2500, 2)] {
            let trained = |clip_norm| {
                let mut network = classifier::<f32>(&[7, 131, 101, 3], isa);
                let config = TrainingConfig { n_threads, clip_norm, batch_size, ..config(2) };
                train(&mut network, &mut adam(), &data.samples(), &config).unwrap();
                bits(&network)
            };
            assert!(trained(None) == trained(Some(1e9)), "{isa:?}, batch {batch_size}, {n_threads} threads");
        }
    }
}

#[test]
fn training_learns_with_every_optimizer_and_schedule() {
    let data = Clusters::<f32>::new(600, 10, 4);
    for &algorithm in Algorithm::ALL {
        for &schedule in Schedule::ALL {
            let mut network = classifier::<f32>(&[10, 32, 4], Isa::active().unwrap());
            let mut optimizer = Optimizer::new(OptimizerConfig::new(algorithm)).unwrap();
            let config = TrainingConfig { schedule, learning_rate: 0.01, ..config(25) };
            let report = train(&mut network, &mut optimizer, &data.samples(), &config).unwrap();
            let (first, last) = (report.epochs[0].loss, report.epochs[24].loss);
            assert!(last < 0.3 && last < 0.5 * first, "{algorithm} {schedule}: {first} to {last}");
            assert_eq!((report.stop, optimizer.steps()), (StopReason::Finished, 25 * 19));
        }
    }
}

#[test]
fn an_optimizer_keeps_its_state_between_calls_of_fit() {
    let data = Clusters::<f64>::new(64, 5, 3);
    let constant = TrainingConfig { shuffle: false, ..config(1) };
    let (mut once, mut twice) = (classifier(&[5, 8, 3], Isa::Scalar), classifier(&[5, 8, 3], Isa::Scalar));
    let (mut optimizer, mut reused) = (adam(), adam());
    train(&mut once, &mut optimizer, &data.samples(), &TrainingConfig { epochs: 2, ..constant.clone() }).unwrap();
    for _ in 0..2 {
        train(&mut twice, &mut reused, &data.samples(), &constant).unwrap();
    }
    assert_eq!(bits(&once), bits(&twice));
    // A new optimizer in each call gives another result.
    let mut with_new_optimizers = classifier(&[5, 8, 3], Isa::Scalar);
    for _ in 0..2 {
        train(&mut with_new_optimizers, &mut adam(), &data.samples(), &constant).unwrap();
    }
    assert_ne!(bits(&once), bits(&with_new_optimizers));
    // The state of another network is refused.
    let error = train(&mut classifier(&[5, 9, 3], Isa::Scalar), &mut reused, &data.samples(), &constant).unwrap_err();
    assert!(error.to_string().starts_with("optimizer: expected one used with"), "{error}");
}

#[test]
fn divergence_restores_the_last_finished_epoch() {
    let mut data = Clusters::<f32>::new(640, 5, 3);
    data.x.iter_mut().for_each(|x| *x *= 100.0);
    let isa = Isa::active().unwrap();
    // The learning rate grows from 0 over ten epochs, so that the parameters diverge after the first epoch.
    let (mut network, mut optimizer) = (classifier::<f32>(&[5, 3], isa), sgd());
    let (mut after, mut losses) = (Vec::new(), Vec::new());
    let config = TrainingConfig { learning_rate: 1e35, schedule: Schedule::WarmupCosine, ..config(100) };
    let never = AtomicBool::new(false);
    let mut on_epoch = |state: &TrainingState<f32>| {
        losses.push(state.epochs[state.epochs.len() - 1].loss);
        after = state.layers.iter().flat_map(|layer| layer.weight().to_vec()).collect();
        false
    };
    let mut hooks = Hooks { on_epoch: &mut on_epoch, interrupt: &never };
    let error = fit(
        &mut network,
        &mut optimizer,
        FitData { train: &data.samples(), validation: None },
        &config,
        None,
        &mut hooks,
    )
    .unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
    let message = error.to_string();
    for part in ["epoch", "learning rate", "try a smaller learning_rate"] {
        assert!(message.contains(part), "{message}");
    }
    let now: Vec<f32> = network.layers().iter().flat_map(|layer| layer.weight().to_vec()).collect();
    assert!(!losses.is_empty() && losses.len() < 100, "{losses:?}");
    assert_eq!(now, after);
    assert_eq!(optimizer.steps(), 20 * losses.len() as u64);
}

#[test]
fn an_interruption_restores_the_last_finished_epoch() {
    let data = Clusters::<f32>::new(640, 5, 3);
    let isa = Isa::active().unwrap();
    let (mut network, mut optimizer) = (classifier::<f32>(&[5, 8, 3], isa), adam());
    let interrupt = AtomicBool::new(false);
    let mut on_epoch = |state: &TrainingState<f32>| {
        interrupt.store(state.epochs.len() == 2, Ordering::Relaxed);
        false
    };
    let mut hooks = Hooks { on_epoch: &mut on_epoch, interrupt: &interrupt };
    let error = fit(
        &mut network,
        &mut optimizer,
        FitData { train: &data.samples(), validation: None },
        &config(9),
        None,
        &mut hooks,
    )
    .unwrap_err();
    assert_eq!(error, Error::Interrupted);
    let mut two_epochs = classifier::<f32>(&[5, 8, 3], isa);
    train(&mut two_epochs, &mut adam(), &data.samples(), &config(2)).unwrap();
    assert_eq!(bits(&network), bits(&two_epochs));
    assert_eq!(optimizer.steps(), 40);
}

#[test]
fn the_validation_set_selects_the_best_epoch_and_stops_training() {
    let data = Clusters::<f64>::new(400, 6, 3);
    let part = |from: usize, to: usize| Samples {
        x: Matrix::new("X", &data.x[from * 6..to * 6], to - from, 6).unwrap().into(),
        targets: Targets::Labels(&data.labels[from..to]),
        weights: None,
    };
    let isa = Isa::active().unwrap();
    for monitor in [Monitor::Loss, Monitor::Score] {
        let (mut network, mut optimizer) = (classifier::<f64>(&[6, 64, 3], isa), adam());
        let never = AtomicBool::new(false);
        let mut seen = Vec::new();
        let mut on_epoch = |state: &TrainingState<f64>| {
            seen.push(state.layers[0].weight().to_vec());
            false
        };
        let config = TrainingConfig { monitor, patience: Some(4), learning_rate: 0.02, ..config(300) };
        let mut hooks = Hooks { on_epoch: &mut on_epoch, interrupt: &never };
        let report = fit(
            &mut network,
            &mut optimizer,
            FitData { train: &part(0, 300), validation: Some(&part(300, 400)) },
            &config,
            None,
            &mut hooks,
        )
        .unwrap();
        assert_eq!(report.stop, StopReason::Patience, "{monitor}");
        let value = |epoch: &EpochRecord| match monitor {
            Monitor::Loss => epoch.validation_loss.unwrap(),
            Monitor::Score => -epoch.validation_score.unwrap(),
        };
        let best = report.epochs.iter().map(value).fold(f64::INFINITY, f64::min);
        assert_eq!(value(&report.epochs[report.best_epoch]), best);
        // The network has the best epoch's parameters, and its loss is that epoch's validation loss.
        assert_eq!(network.layers()[0].weight(), seen[report.best_epoch]);
        let validation = part(300, 400);
        let (loss, _) = tinyrs_core::loss_and_gradients(&network, &validation, Loss::CrossEntropy, 0.0, 1).unwrap();
        assert!((loss - report.epochs[report.best_epoch].validation_loss.unwrap()).abs() < 1e-12);
        let y = crate::common::forward(&network, &data.x[300 * 6..], 100, 1);
        let is_correct =
            |(row, p): (usize, &[f64])| p[data.labels[300 + row] as usize] >= p.iter().copied().fold(0.0, f64::max);
        let score = y.chunks(3).enumerate().filter(|row| is_correct(*row)).count() as f64 / 100.0;
        assert!((score - report.epochs[report.best_epoch].validation_score.unwrap()).abs() < 1e-12);
    }
}

#[test]
fn invalid_arguments_are_errors_that_change_nothing() {
    let data = Clusters::<f32>::new(40, 4, 3);
    let mut network = classifier::<f32>(&[4, 5, 3], Isa::active().unwrap());
    let before = bits(&network);
    let valid = || config(1);
    let (zeros, negative, few) = (vec![0.0; 40], vec![-1.0; 40], vec![1.0; 39]);
    let with = |weights| Samples { weights: Some(weights), ..data.samples() };
    let labels = |labels| Samples { targets: Targets::Labels(labels), ..data.samples() };
    let mut bad = vec![0u32; 40];
    bad[17] = 3;
    let mut nan = data.x.clone();
    nan[4 * 9 + 2] = f32::NAN;
    let nan = Samples { x: Matrix::new("X", &nan, 40, 4).unwrap().into(), ..data.samples() };
    let values = vec![0.5f32; 120];
    let values = Samples { targets: Targets::Values(Matrix::new("y", &values, 40, 3).unwrap()), ..data.samples() };
    for (samples, config, message) in [
        (data.samples(), TrainingConfig { batch_size: 0, ..valid() }, "batch_size: expected at least 1, got 0"),
        (data.samples(), TrainingConfig { epochs: 0, ..valid() }, "epochs: expected at least 1"),
        (data.samples(), TrainingConfig { patience: Some(0), ..valid() }, "patience: expected at least 1"),
        (
            data.samples(),
            TrainingConfig { learning_rate: 0.0, ..valid() },
            "learning_rate: expected a finite number above 0",
        ),
        (
            data.samples(),
            TrainingConfig { learning_rate: f64::INFINITY, ..valid() },
            "learning_rate: expected a finite",
        ),
        (
            data.samples(),
            TrainingConfig { clip_norm: Some(0.0), ..valid() },
            "clip_norm: expected a finite number above 0",
        ),
        (
            data.samples(),
            TrainingConfig { weight_decay: -1.0, ..valid() },
            "weight_decay: expected a finite number of at",
        ),
        (data.samples(), TrainingConfig { dropout: 1.0, ..valid() }, "dropout: expected 0 <= dropout < 1, got 1"),
        (data.samples(), TrainingConfig { label_smoothing: 1.0, ..valid() }, "label_smoothing: expected 0 <="),
        (
            data.samples(),
            TrainingConfig { smoothing_prior: Some(vec![0.5; 2]), ..valid() },
            "smoothing_prior: expected 3 probabilities, one per output, got 2",
        ),
        (
            data.samples(),
            TrainingConfig { smoothing_prior: Some(vec![0.5; 3]), ..valid() },
            "smoothing_prior: expected probabilities that sum to 1, got 1.5",
        ),
        (
            data.samples(),
            TrainingConfig { smoothing_prior: Some(vec![-0.5, 0.5, 1.0]), ..valid() },
            "smoothing_prior: expected probabilities from 0 to 1, got -0.5",
        ),
        (data.samples(), TrainingConfig { monitor: Monitor::Score, ..valid() }, "monitor: expected \"loss\""),
        (
            data.samples(),
            TrainingConfig { learning_rate_factors: Some(vec![(1.0, 1.0)]), ..valid() },
            "learning_rate_factors",
        ),
        (
            data.samples(),
            TrainingConfig { loss: Loss::BinaryCrossEntropy, ..valid() },
            "loss: expected a loss for the output",
        ),
        (data.samples(), TrainingConfig { loss: Loss::SquaredError, ..valid() }, "y: expected (40, 3) values"),
        (with(&zeros), valid(), "sample_weight: expected at least one weight above 0"),
        (with(&negative), valid(), "sample_weight: expected finite weights of at least 0, got -1 at row 0"),
        (with(&few), valid(), "sample_weight: expected 40 weights"),
        (labels(&bad), valid(), "y: expected labels from 0 to 2, got 3 at row 17"),
        (labels(&bad[..39]), valid(), "y: expected 40 rows, one per row of X, got 39"),
        (nan, valid(), "X: expected finite f32 values, got NaN at row 9, column 2"),
        (values, valid(), "y: expected rows that sum to 1, got 1.5 at row 0"),
    ] {
        let error = train(&mut network, &mut adam(), &samples, &config).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error:?} instead of {message:?}");
    }
    assert_eq!(bits(&network), before);
}

#[test]
fn moments_of_a_constant_zero_input_become_zero_instead_of_denormal() {
    // The first input is 0 except in the first batch; 900 steps later its moments would be denormal.
    let mut data = Clusters::<f32>::new(64, 3, 2);
    for row in 1..64 {
        data.x[3 * row] = 0.0;
    }
    let mut network = classifier::<f32>(&[3, 4, 2], Isa::active().unwrap());
    let mut optimizer = adam();
    let config = TrainingConfig { batch_size: 1, shuffle: false, ..config(18) };
    train(&mut network, &mut optimizer, &data.samples(), &config).unwrap();
    let (first, second) = optimizer.moments();
    let all = first.iter().chain(second).flat_map(|moment| moment.values().0);
    assert!(all.clone().all(|m| *m == 0.0 || m.abs() >= f32::MIN_POSITIVE));
}

#[test]
fn training_resumed_from_any_checkpoint_ends_with_the_same_bits() {
    let data = Clusters::<f32>::new(400, 6, 3);
    let part = |from: usize, to: usize| Samples {
        x: Matrix::new("X", &data.x[from * 6..to * 6], to - from, 6).unwrap().into(),
        targets: Targets::Labels(&data.labels[from..to]),
        weights: None,
    };
    let (train, validation_set) = (part(0, 300), part(300, 400));
    let isa = Isa::active().unwrap();
    let never = AtomicBool::new(false);
    let plain = TrainingConfig { dropout: 0.2, schedule: Schedule::CosLog4, ..config(6) };
    let monitored = TrainingConfig { monitor: Monitor::Score, patience: Some(2), learning_rate: 0.05, ..plain.clone() };
    for (algorithm, validation, config) in [
        (Algorithm::Sgd, None, &plain),
        (Algorithm::Adam, None, &plain),
        (Algorithm::AdamW, Some(&validation_set), &monitored),
    ] {
        let new_optimizer = || Optimizer::new(OptimizerConfig::new(algorithm)).unwrap();
        let run = |resume: Option<&Checkpoint<f32>>| {
            // The initial parameters do not matter when training resumes.
            let (mut network, mut optimizer) = (classifier::<f32>(&[6, 16, 3], isa), new_optimizer());
            let mut checkpoints = Vec::new();
            let mut on_epoch = |state: &TrainingState<f32>| {
                checkpoints.push(state.checkpoint().unwrap());
                false
            };
            let mut hooks = Hooks { on_epoch: &mut on_epoch, interrupt: &never };
            let report =
                fit(&mut network, &mut optimizer, FitData { train: &train, validation }, config, resume, &mut hooks)
                    .unwrap();
            let records: Vec<_> = report.epochs.iter().map(|e| (e.epoch, e.loss, e.validation_score)).collect();
            let outcome = (bits(&network), records, report.best_epoch, report.stop, optimizer.steps());
            (outcome, checkpoints)
        };
        let (want, checkpoints) = run(None);
        assert_eq!(checkpoints.len(), want.1.len());
        for checkpoint in &checkpoints {
            assert_eq!(run(Some(checkpoint)).0, want, "{algorithm} from epoch {}", checkpoint.epochs.len());
        }
        let mut other = classifier::<f32>(&[6, 17, 3], isa);
        let mut hooks = Hooks { on_epoch: &mut |_: &TrainingState<f32>| false, interrupt: &never };
        let error = fit(
            &mut other,
            &mut new_optimizer(),
            FitData { train: &train, validation },
            config,
            Some(&checkpoints[0]),
            &mut hooks,
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "resume: expected a checkpoint of a network of sizes [6, 17, 3], got one of sizes [6, 16, 3]"
        );
        let validation = if validation.is_some() { None } else { Some(&validation_set) };
        let config = TrainingConfig { monitor: Monitor::Loss, ..config.clone() };
        let (mut network, resume) = (classifier::<f32>(&[6, 16, 3], isa), Some(&checkpoints[0]));
        let error =
            fit(&mut network, &mut new_optimizer(), FitData { train: &train, validation }, &config, resume, &mut hooks);
        assert!(error.unwrap_err().to_string().starts_with("resume: expected a checkpoint with"), "{algorithm}");
    }
}
