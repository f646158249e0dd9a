//! Passes, training, sparse rows and encoded tables of odd shapes on every instruction set, with a forbidden page at
//! the end or at the start of each buffer.

use std::hint::black_box;
use std::sync::atomic::AtomicBool;

use tinyrs_core::{
    Activation, Algorithm, CategoryColumn, Csr, Dispatch, FeatureEncoder, FitData, Forward, Hooks, Init, Isa, Loss,
    LowPrecisionIsa, Matrix, MatrixMut, Network, NetworkConfig, NumberColumn, NumericEmbedding, Optimizer,
    OptimizerConfig, OutputActivation, QuantizedNetwork, Samples, Targets, TrainingConfig, WeightFormat, backward, fit,
    loss_and_gradients,
};

use crate::allocator::{End, Guard, in_guarded_child};
use crate::common::{available, forward, network, uniform};

/// Inputs and outputs of the first layer, around the widths of registers, tiles, stripes and pages.
const SHAPES: [(usize, usize); 12] = [
    (1, 1),
    (3, 2),
    (5, 7),
    (16, 16),
    (9, 33),
    (31, 15),
    (17, 49),
    (67, 31),
    (129, 65),
    (33, 97),
    (63, 127),
    (257, 130),
];
const BATCHES: [usize; 8] = [1, 2, 3, 7, 16, 19, 49, 130];
const CLASSES: usize = 5;

/// Runs `work` for both guards, every instruction set and every shape, each in a child of its own: buffers that
/// tinyrs keeps for later calls are then as short as the case allows.
fn in_children(work: impl Fn(Isa, (usize, usize))) {
    for isa in available() {
        for shape in SHAPES {
            for guard in [Guard::End, Guard::Start] {
                let end = in_guarded_child(guard, || work(isa, shape));
                assert_eq!(end, End::Done, "{isa:?}, inputs and outputs {shape:?}, {guard:?}");
            }
        }
    }
}

fn classifier<T: Dispatch>(isa: Isa, (inputs, outputs): (usize, usize)) -> Network<T> {
    let output_activation = OutputActivation::Softmax;
    let config = NetworkConfig { activations: vec![Activation::Gelu], output_activation, ..NetworkConfig::default() };
    network(&[inputs, outputs, CLASSES], config, isa)
}

/// [`classifier`] with an embedding of all inputs.
fn embedded_classifier<T: Dispatch>(isa: Isa, (inputs, outputs): (usize, usize)) -> Network<T> {
    let config = NetworkConfig { numeric_embedding: Some(NumericEmbedding::Pbld), ..NetworkConfig::default() };
    Network::new(&[inputs, outputs, CLASSES], config, Init::HeNormal, 1).unwrap().with_isa(isa).unwrap()
}

fn assert_finite<T: Dispatch>(values: &[T]) {
    assert!(values.iter().all(|v| v.is_finite()));
}

fn predict<T: Dispatch>() {
    in_children(|isa, shape| {
        let network = classifier::<T>(isa, shape);
        for batch in BATCHES {
            for n_threads in [1, 2] {
                // A new thread has new scratch memory.
                std::thread::scope(|scope| {
                    let work =
                        || assert_finite(&forward(&network, &uniform::<T>(1, batch * shape.0), batch, n_threads));
                    scope.spawn(work).join().unwrap();
                });
            }
        }
    });
}

#[test]
fn a_pass_stays_inside_its_buffers() {
    predict::<f32>();
    predict::<f64>();
}

fn predict_quantized(format: WeightFormat) {
    in_children(|isa, shape| {
        for isa in LowPrecisionIsa::available().filter(|low_precision| low_precision.lanes() == isa) {
            let network = classifier::<f32>(isa.lanes(), shape);
            let formats = [Some(format), None];
            let formats = formats.iter().copied().cycle().take(network.layers().len()).collect::<Vec<_>>();
            let network = QuantizedNetwork::quantize(&network, &formats).unwrap().with_isa(isa).unwrap();
            for batch in BATCHES {
                for n_threads in [1, 2] {
                    let work = || {
                        let (x, mut y) = (uniform::<f32>(1, batch * shape.0), vec![f32::NAN; batch * CLASSES]);
                        let mut out = MatrixMut::new("out", &mut y, batch, CLASSES).unwrap();
                        network.forward(Matrix::new("X", &x, batch, shape.0).unwrap(), &mut out, n_threads).unwrap();
                        assert_finite(&y);
                    };
                    std::thread::scope(|scope| scope.spawn(work).join().unwrap());
                }
            }
        }
    });
}

#[test]
fn a_pass_with_f16_weights_stays_inside_its_buffers() {
    predict_quantized(WeightFormat::F16);
}

#[test]
fn a_pass_with_bf16_weights_stays_inside_its_buffers() {
    predict_quantized(WeightFormat::Bf16);
}

#[test]
fn a_pass_with_int8_weights_and_inputs_stays_inside_its_buffers() {
    predict_quantized(WeightFormat::Int8);
}

#[test]
fn a_pass_with_int8_weights_stays_inside_its_buffers() {
    predict_quantized(WeightFormat::Int8Weights);
}

/// The sparse rows of a (rows, cols) matrix: every third element.
struct SparseRows<T> {
    indptr: Vec<i64>,
    indices: Vec<i32>,
    data: Vec<T>,
    cols: usize,
}

impl<T: Dispatch> SparseRows<T> {
    fn new(rows: usize, cols: usize) -> Self {
        let (mut indptr, mut indices) = (vec![0], Vec::new());
        for row in 0..rows {
            indices.extend((0..cols as i32).filter(|column| (row + *column as usize).is_multiple_of(3)));
            indptr.push(indices.len() as i64);
        }
        indices.shrink_to_fit();
        let data = uniform::<T>(2, indices.len());
        SparseRows { indptr, indices, data, cols }
    }

    fn view(&self) -> Csr<'_, T> {
        Csr::new("X", &self.indptr, &self.indices, &self.data, self.cols).unwrap()
    }
}

fn predict_sparse<T: Dispatch>() {
    in_children(|isa, shape| {
        let network = classifier::<T>(isa, shape);
        for (batch, n_threads) in [(1, 1), (19, 1), (130, 2)] {
            let x = SparseRows::<T>::new(batch, shape.0);
            let mut y = vec![T::ZERO; batch * CLASSES];
            let mut out = MatrixMut::new("out", &mut y, batch, CLASSES).unwrap();
            network.forward_sparse(x.view(), &mut out, n_threads).unwrap();
            assert_finite(&y);
        }
    });
}

#[test]
fn a_pass_of_sparse_rows_stays_inside_its_buffers() {
    predict_sparse::<f32>();
    predict_sparse::<f64>();
}

fn encode<T: Dispatch>() {
    in_children(|isa, (columns, codes)| {
        let numbers: Vec<NumberColumn> = (0..columns)
            .map(|column| NumberColumn { column, centre: 0.5, scale: 2.0, missing_indicator: column % 2 == 0 })
            .collect();
        let categories = vec![CategoryColumn { column: columns, n_codes: codes }];
        let encoder = FeatureEncoder::new(columns + 1, &numbers, categories).unwrap();
        let network = classifier::<T>(isa, (encoder.n_features(), 16));
        for (batch, n_threads) in [(1, 1), (19, 1), (130, 2)] {
            let mut x = uniform::<T>(3, batch * (columns + 1));
            x.iter_mut().step_by(7).for_each(|value| *value = T::from_f64(f64::NAN));
            let x = Matrix::new("X", &x, batch, columns + 1).unwrap();
            let (mut features, mut y) = (vec![T::ZERO; batch * encoder.n_features()], vec![T::ZERO; batch * CLASSES]);
            encoder
                .transform(x, &mut MatrixMut::new("out", &mut features, batch, encoder.n_features()).unwrap())
                .unwrap();
            let mut out = MatrixMut::new("out", &mut y, batch, CLASSES).unwrap();
            encoder.forward(&network, x, &mut out, n_threads).unwrap();
            assert_finite(&features);
            assert_finite(&y);
        }
    });
}

#[test]
fn a_pass_of_a_table_stays_inside_its_buffers() {
    encode::<f32>();
    encode::<f64>();
}

fn train<T: Dispatch>(algorithm: Algorithm, rows: usize, n_threads: usize) {
    in_children(|isa, shape| {
        let mut network = classifier::<T>(isa, shape);
        let x = uniform::<T>(4, rows * shape.0);
        let sparse = SparseRows::<T>::new(rows, shape.0);
        let labels: Vec<u32> = (0..rows).map(|row| (row % CLASSES) as u32).collect();
        let weights: Vec<f64> = (0..rows).map(|row| 1.0 + row as f64).collect();
        let x = Matrix::new("X", &x, rows, shape.0).unwrap();
        let train = Samples { x: x.into(), targets: Targets::Labels(&labels), weights: Some(&weights) };
        let sparse = Samples { x: sparse.view().into(), weights: None, ..train };
        let config = TrainingConfig {
            n_threads,
            clip_norm: Some(1.0),
            dropout: 0.2,
            label_smoothing: 0.1,
            batch_size: 49,
            epochs: 2,
            ..TrainingConfig::new(Loss::CrossEntropy)
        };
        let mut optimizer = Optimizer::new(OptimizerConfig::new(algorithm)).unwrap();
        let mut hooks = Hooks { on_epoch: &mut |_| false, interrupt: &AtomicBool::new(false) };
        for (train, validation) in [(&train, Some(&sparse)), (&sparse, None)] {
            let data = FitData { train, validation };
            fit(&mut network, &mut optimizer, data, &config, None, &mut hooks).unwrap();
        }
        assert_finite(network.layers()[0].weight());
    });
}

#[test]
fn training_stays_inside_its_buffers() {
    train::<f32>(Algorithm::Adam, 130, 2);
    train::<f64>(Algorithm::AdamW, 1, 1);
    train::<f32>(Algorithm::Sgd, 19, 1);
    train::<f64>(Algorithm::Sgd, 130, 2);
}

fn gradients<T: Dispatch>(new: fn(Isa, (usize, usize)) -> Network<T>) {
    in_children(|isa, shape| {
        let network = new(isa, shape);
        for (rows, n_threads) in [(1, 1), (19, 1), (130, 2)] {
            let (x, targets) = (uniform::<T>(5, rows * shape.0), vec![T::from_f64(0.2); rows * CLASSES]);
            let x = Matrix::new("X", &x, rows, shape.0).unwrap();
            let targets = Matrix::new("y", &targets, rows, CLASSES).unwrap();
            let samples = Samples { x: x.into(), targets: Targets::Values(targets), weights: None };
            let (loss, found) = loss_and_gradients(&network, &samples, Loss::SquaredError, 0.0, n_threads).unwrap();
            assert!(loss.is_finite());
            assert_finite(&found[0].0);
            let mut dx = vec![T::ZERO; rows * shape.0];
            let mut out = MatrixMut::new("out", &mut dx, rows, shape.0).unwrap();
            backward(&network, x, targets, &mut out, n_threads).unwrap();
            assert_finite(&dx);
        }
    });
}

#[test]
fn gradients_stay_inside_their_buffers() {
    gradients::<f32>(classifier);
    gradients::<f64>(classifier);
}

#[test]
fn an_embedding_stays_inside_its_buffers() {
    gradients::<f32>(embedded_classifier);
}

/// Planted faults: the tests above would see them.
#[test]
fn an_access_outside_of_a_buffer_ends_the_child() {
    let fault = End::Signal(libc::SIGSEGV);
    for len in [1, 3, 16, 1000, 1024, 5000] {
        let read = |offset: isize| {
            move || {
                let values = black_box(vec![1.0f32; len]);
                // SAFETY: none. This is the fault that must be found.
                black_box(unsafe { values.as_ptr().offset(offset).read_volatile() });
            }
        };
        assert_eq!(in_guarded_child(Guard::End, read(len as isize - 1)), End::Done);
        assert_eq!(in_guarded_child(Guard::End, read(len as isize)), fault);
        assert_eq!(in_guarded_child(Guard::Start, read(0)), End::Done);
        assert_eq!(in_guarded_child(Guard::Start, read(-1)), fault);
    }
    let after_free = || {
        let values = black_box(vec![1.0f32; 100]);
        let first = values.as_ptr();
        drop(values);
        // SAFETY: none. This is the fault that must be found.
        black_box(unsafe { first.read_volatile() });
    };
    assert_eq!(in_guarded_child(Guard::End, after_free), fault);
}

/// The weights of a network, which aligned-vec aligns to a cache line, end at the page too.
#[test]
fn an_aligned_buffer_ends_at_its_page() {
    let read = |beyond: usize| {
        move || {
            let network = classifier::<f32>(Isa::Scalar, (3, 5));
            let weight = network.layers()[0].weight();
            // SAFETY: none if `beyond` is not 0. This is the fault that must be found.
            black_box(unsafe { weight.as_ptr().add(weight.len() - 1 + beyond).read_volatile() });
        }
    };
    assert_eq!(in_guarded_child(Guard::End, read(0)), End::Done);
    assert_eq!(in_guarded_child(Guard::End, read(1)), End::Signal(libc::SIGSEGV));
}
