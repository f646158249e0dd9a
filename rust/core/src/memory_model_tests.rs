//! Small passes and trainings that touch every piece of `unsafe` code outside `simd`: `make miri` runs them on a checker
//! of memory accesses, aliasing and data races.
//!
//! Under Miri every pass and step uses all threads, so shapes can be small; elsewhere these are quick tests of results.

use std::sync::atomic::AtomicBool;

use crate::parallel::delay::with_late_threads;
use crate::*;

const THREADS: [usize; 2] = [1, 2];
/// Rows that a team reads together, because its threads share the outputs, and rows that its threads share.
const ROWS: [usize; 2] = [3, 9];

const EMBEDDINGS: [Option<NumericEmbedding>; 2] = [None, Some(NumericEmbedding::Pbld)];

fn network<T: Dispatch>(sizes: &[usize]) -> Network<T> {
    network_with(sizes, None)
}

fn network_with<T: Dispatch>(sizes: &[usize], numeric_embedding: Option<NumericEmbedding>) -> Network<T> {
    let output_activation = OutputActivation::Softmax;
    let config = NetworkConfig { output_activation, numeric_embedding, ..NetworkConfig::default() };
    Network::new(sizes, config, Init::GlorotUniform, 5).expect("sizes in order")
}

fn values<T: Dispatch>(n: usize) -> Vec<T> {
    (0..n).map(|i| T::from_f64((i * i % 31) as f64 / 31.0 - 0.5)).collect()
}

fn outputs<T: Dispatch>(rows: usize, pass: impl Fn(&mut MatrixMut<T>, usize) -> Result<()>) -> [Vec<T>; 2] {
    THREADS.map(|n_threads| {
        let mut out = vec![T::from_f64(f64::NAN); rows * 3];
        let mut view = MatrixMut::new("out", &mut out, rows, 3).expect("shape");
        with_late_threads(|| pass(&mut view, n_threads)).expect("a pass");
        out
    })
}

fn check_dense<T: Dispatch>() {
    // One row; rows that share their outputs; rows that are shared.
    for (sizes, rows) in [(&[3, 5, 3][..], 1), (&[2, 9, 3], 3), (&[2, 5, 3], 9)] {
        let x = values(rows * sizes[0]);
        let x = Matrix::new("X", &x, rows, sizes[0]).expect("shape");
        for embedding in EMBEDDINGS {
            let network = network_with::<T>(sizes, embedding);
            let [alone, together] = outputs(rows, |out, n_threads| network.forward(x, out, n_threads));
            assert_eq!(alone, together, "{sizes:?} {embedding:?}");
        }
    }
}

#[test]
fn memory_model_dense_rows() {
    check_dense::<f32>();
    check_dense::<f64>();
}

/// Rows a page apart are copied.
#[test]
fn memory_model_conflicting_rows() {
    let (network, x) = (network::<f64>(&[512, 1, 3]), values(8 * 512));
    let x = Matrix::new("X", &x, 8, 512).expect("shape");
    let [alone, together] = outputs(8, |out, n_threads| network.forward(x, out, n_threads));
    assert_eq!(alone, together);
}

/// Every second element of each row, which starts with an element that is stored in two parts.
fn sparse(rows: usize) -> (Vec<i64>, Vec<i32>, Vec<f32>) {
    let indices = [0, 0, 2, 4].repeat(rows);
    ((0..=rows as i64).map(|row| 4 * row).collect(), indices, values(4 * rows))
}

#[test]
fn memory_model_sparse_rows() {
    let network = network::<f32>(&[5, 2, 3]);
    for rows in ROWS {
        let (indptr, indices, data) = sparse(rows);
        let x = Csr::new("X", &indptr, &indices, &data, 5).expect("a matrix");
        let [alone, together] = outputs(rows, |out, n_threads| network.forward_sparse(x, out, n_threads));
        assert_eq!(alone, together, "{rows} rows");
    }
}

#[test]
fn memory_model_encoded_rows() {
    let number = |column| NumberColumn { column, centre: 0.1, scale: 2.0, missing_indicator: column == 0 };
    let category = CategoryColumn { column: 2, n_codes: 3 };
    let encoder = FeatureEncoder::new(3, &[number(0), number(1)], vec![category]).expect("valid columns");
    let network = network::<f32>(&[6, 2, 3]);
    for rows in ROWS {
        let x = values::<f64>(rows * 3);
        let x = Matrix::new("X", &x, rows, 3).expect("shape");
        let [alone, together] = outputs(rows, |out, n_threads| encoder.forward(&network, x, out, n_threads));
        assert_eq!(alone, together, "{rows} rows");
    }
}

/// What a training ends with: parameters, moments, losses, and a checkpoint after its first epoch.
type Trained<T> = (Vec<Vec<T>>, Vec<Vec<T>>, Vec<f64>, Option<Checkpoint<T>>);

fn arrays<T: Dispatch>(layers: &[Layer<T>], optimizer: &Optimizer<T>) -> (Vec<Vec<T>>, Vec<Vec<T>>) {
    let (first, second) = optimizer.moments();
    let moments = first.iter().chain(second).flat_map(|moment| <[_; 2]>::from(moment.values()));
    let parameters = layers.iter().flat_map(|layer| [layer.weight(), layer.bias()]);
    (parameters.map(<[T]>::to_vec).collect(), moments.map(<[T]>::to_vec).collect())
}

/// Trains on `x` for two epochs, or the rest of them after `resume`; the callback reads everything that it is given.
fn train<T: Dispatch>(x: Input<T>, config: &TrainingConfig, resume: Option<&Checkpoint<T>>) -> Trained<T> {
    train_network(network(&[x.cols(), 5, 3]), x, config, resume)
}

/// [`train`] of a network.
fn train_network<T: Dispatch>(
    mut network: Network<T>,
    x: Input<T>,
    config: &TrainingConfig,
    resume: Option<&Checkpoint<T>>,
) -> Trained<T> {
    let labels: Vec<u32> = (0..x.rows() as u32).map(|row| row % 3).collect();
    let weights = vec![0.5; x.rows()];
    let samples = Samples { x, targets: Targets::Labels(&labels), weights: Some(&weights) };
    let validation = Samples { weights: None, ..samples };
    let mut optimizer = Optimizer::new(OptimizerConfig::new(Algorithm::Adam)).expect("defaults");
    let mut checkpoint = None;
    let mut on_epoch = |state: &TrainingState<T>| {
        checkpoint.get_or_insert_with(|| state.checkpoint().expect("memory"));
        state.layers.iter().any(|layer| layer.weight().iter().chain(layer.bias()).any(|v| !v.is_finite()))
    };
    let never = AtomicBool::new(false);
    let mut hooks = Hooks { on_epoch: &mut on_epoch, interrupt: &never };
    let data = FitData { train: &samples, validation: Some(&validation) };
    let report = with_late_threads(|| fit(&mut network, &mut optimizer, data, config, resume, &mut hooks));
    let losses = report.expect("a training").epochs.iter().map(|epoch| epoch.loss).collect();
    let (parameters, moments) = arrays(network.layers(), &optimizer);
    (parameters, moments, losses, checkpoint)
}

fn config(epochs: usize) -> TrainingConfig {
    TrainingConfig { epochs, batch_size: 8, dropout: 0.2, ..TrainingConfig::new(Loss::CrossEntropy) }
}

/// Two threads and a resumed training end with the bits of one thread.
fn check_training<T: Dispatch>(x: Input<T>) {
    let config = config(2);
    let (parameters, moments, losses, _) = train(x, &config, None);
    let config = TrainingConfig { n_threads: 2, ..config };
    let together = train(x, &config, None);
    assert!((&together.0, &together.1, &together.2) == (&parameters, &moments, &losses));
    let resumed = train(x, &config, together.3.as_ref());
    assert!((resumed.0, resumed.1, resumed.2) == (parameters, moments, losses));
}

#[test]
fn memory_model_training() {
    let x = values(9 * 2);
    check_training::<f32>(Matrix::new("X", &x, 9, 2).expect("shape").into());
}

/// With and without clipping, which takes the gradients of all blocks first.
#[test]
fn memory_model_training_of_an_embedding() {
    let x = values::<f32>(9 * 2);
    let x = Matrix::new("X", &x, 9, 2).expect("shape").into();
    for clip_norm in [None, Some(0.1)] {
        let [alone, together] = THREADS.map(|n_threads| {
            let config = TrainingConfig { clip_norm, n_threads, ..config(2) };
            let (parameters, moments, losses, _) =
                train_network(network_with(&[2, 5, 3], EMBEDDINGS[1]), x, &config, None);
            (parameters, moments, losses)
        });
        assert!(alone == together, "{clip_norm:?}");
    }
}

/// One batch, because the gradients of all layers are kept and measured before they are used.
#[test]
fn memory_model_training_with_clipped_gradients() {
    let x = values::<f64>(8 * 2);
    let x = Matrix::new("X", &x, 8, 2).expect("shape").into();
    let [alone, together] = THREADS.map(|n_threads| {
        let (parameters, moments, losses, _) =
            train(x, &TrainingConfig { clip_norm: Some(0.1), n_threads, ..config(1) }, None);
        (parameters, moments, losses)
    });
    assert!(alone == together);
}

#[test]
fn memory_model_training_on_sparse_rows() {
    let (indptr, indices, data) = sparse(9);
    check_training(Csr::new("X", &indptr, &indices, &data, 5).expect("a matrix").into());
}

#[test]
fn memory_model_an_interrupted_training_is_restored() {
    let x = values::<f32>(9 * 2);
    let x = Matrix::new("X", &x, 9, 2).expect("shape");
    let targets = values(9 * 3);
    let targets = Targets::Values(Matrix::new("y", &targets, 9, 3).expect("shape"));
    let samples = Samples { x: x.into(), targets, weights: None };
    let config = NetworkConfig::default();
    let mut network = Network::new(&[2, 5, 3], config, Init::Orthogonal, 5).expect("sizes in order");
    let mut optimizer = Optimizer::new(OptimizerConfig::new(Algorithm::Sgd)).expect("defaults");
    let before = arrays(network.layers(), &optimizer).0;
    let always = AtomicBool::new(true);
    let mut hooks = Hooks { on_epoch: &mut |_: &TrainingState<f32>| false, interrupt: &always };
    let data = FitData { train: &samples, validation: None };
    let config = TrainingConfig { n_threads: 2, ..TrainingConfig::new(Loss::SquaredError) };
    let error = fit(&mut network, &mut optimizer, data, &config, None, &mut hooks).expect_err("an interruption");
    assert_eq!((error, arrays(network.layers(), &optimizer).0), (Error::Interrupted, before));
}

#[test]
fn memory_model_gradients() {
    let (x, d) = (values(9 * 2), values(9 * 3));
    let (x, d) = (Matrix::new("X", &x, 9, 2).expect("shape"), Matrix::new("d", &d, 9, 3).expect("shape"));
    for embedding in EMBEDDINGS {
        let network = network_with::<f32>(&[2, 5, 3], embedding);
        let both = THREADS.map(|n_threads| {
            with_late_threads(|| {
                let mut dx = vec![f32::NAN; 9 * 2];
                let mut view = MatrixMut::new("dx", &mut dx, 9, 2).expect("shape");
                let gradients = backward(&network, x, d, &mut view, n_threads).expect("gradients");
                let samples = Samples { x: x.into(), targets: Targets::Labels(&[1; 9]), weights: None };
                (dx, gradients, loss_and_gradients(&network, &samples, Loss::CrossEntropy, 0.1, n_threads))
            })
        });
        assert_eq!(both[0], both[1]);
    }
}
