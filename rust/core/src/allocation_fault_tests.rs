//! Allocations that fail: whichever one it is, a function returns an error and changes nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Debug;
use std::sync::atomic::AtomicBool;

use crate::*;

/// The system's allocator, whose large allocations fail in [`with_failing_allocations`].
struct Failing;

/// Allocations of fewer bytes never fail: their sizes depend neither on the data nor on the network, or only on the
/// number of layers. All arrays of the tests are larger.
const LARGE: usize = 2048;

thread_local! {
    /// The number of large allocations that succeed before all others fail; `None` if none fails.
    static REMAINING: Cell<Option<usize>> = const { Cell::new(None) };
    static HAS_FAILED: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call is forwarded to the system's allocator, or fails.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE && fails() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Whether the next large allocation fails.
fn fails() -> bool {
    match REMAINING.get() {
        None => false,
        Some(0) => {
            HAS_FAILED.set(true);
            true
        }
        Some(n) => {
            REMAINING.set(Some(n - 1));
            false
        }
    }
}

/// Whether the calling thread is inside [`with_failing_allocations`]; it does not reuse memory then.
pub(crate) fn are_wanted() -> bool {
    REMAINING.get().is_some()
}

/// Calls `f` on a new thread, which has no scratch buffer yet, while large allocations of that thread fail after the
/// first `n`. Also returns whether one has failed.
fn with_failing_allocations<R: Send>(n: usize, f: impl FnOnce() -> R + Send) -> (R, bool) {
    let run = || {
        REMAINING.set(Some(n));
        let result = f();
        REMAINING.set(None);
        (result, HAS_FAILED.get())
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("no panic"))
}

/// Runs `operation` on a new `state` once for each of its large allocations, which fails then, and once without a
/// failure. Returns the number of allocations.
fn fail_each<S: Send, V: PartialEq + Debug>(
    state: impl Fn() -> S,
    view: impl Fn(&S) -> V,
    operation: impl Fn(&mut S) -> Result<()> + Sync,
) -> usize {
    let mut n = 0;
    loop {
        let mut state = state();
        let before = view(&state);
        let (result, has_failed) = with_failing_allocations(n, || operation(&mut state));
        if !has_failed {
            result.expect("memory");
            return n;
        }
        assert!(matches!(result, Err(Error::OutOfMemory { .. })), "allocation {n}: {result:?}");
        assert!(view(&state) == before, "the state has changed after allocation {n}");
        n += 1;
    }
}

const WIDTH: usize = 260;
const ROWS: usize = 520;

fn network(init: Init) -> Result<Network<f64>> {
    let config = NetworkConfig { output_activation: OutputActivation::Softmax, ..NetworkConfig::default() };
    Network::new(&[WIDTH; 3], config, init, 1)
}

fn values(len: usize) -> Vec<f64> {
    (0..len).map(|i| (i * i % 31) as f64 / 31.0 - 0.5).collect()
}

fn parameters(network: &Network<f64>) -> Vec<Vec<f64>> {
    network.layers().iter().flat_map(|layer| [layer.weight().to_vec(), layer.bias().to_vec()]).collect()
}

/// A function that cannot change anything; returns the number of its allocations.
fn fail_each_of(operation: impl Fn() -> Result<()> + Sync) -> usize {
    fail_each(|| (), |()| (), |()| operation())
}

#[test]
fn networks_and_their_copies() {
    assert_eq!(fail_each_of(|| network(Init::HeNormal).map(drop)), 4);
    // The vectors that are made orthogonal are another array for each layer.
    assert_eq!(fail_each_of(|| network(Init::Orthogonal).map(drop)), 6);
    let network = network(Init::HeNormal).expect("memory");
    assert_eq!(fail_each_of(|| network.try_clone().map(drop)), 4);
    let layers = network.layers();
    let pair = |layer| (Matrix::new("W", Layer::weight(layer), WIDTH, WIDTH).expect("shape"), Layer::bias(layer));
    let pairs: Vec<_> = layers.iter().map(pair).collect();
    assert_eq!(fail_each_of(|| network.with_parameters(&pairs).map(drop)), 4);
}

#[test]
fn passes() {
    let (indptr, indices) = ((0..=ROWS as i64).collect::<Vec<_>>(), vec![3; ROWS]);
    let (x, few) = (values(ROWS * WIDTH), values(ROWS));
    let dense = Matrix::new("X", &x, ROWS, WIDTH).expect("shape");
    let sparse = Csr::new("X", &indptr, &indices, &few, WIDTH).expect("a matrix");
    for n_threads in [1, 2] {
        for is_sparse in [false, true] {
            let pass = |(network, out): &mut (Network<f64>, Vec<f64>)| {
                let out = &mut MatrixMut::new("out", out, ROWS, WIDTH)?;
                if is_sparse {
                    network.forward_sparse(sparse, out, n_threads)
                } else {
                    network.forward(dense, out, n_threads)
                }
            };
            let state = || (network(Init::HeNormal).expect("memory"), vec![7.0; ROWS * WIDTH]);
            // Packed weights and scratch.
            assert_eq!(fail_each(state, |(_, out)| out.clone(), pass), 3, "{n_threads} {is_sparse}");
        }
    }
}

#[test]
fn quantized_networks() {
    let network = network(Init::HeNormal).expect("memory");
    let x = values(ROWS * WIDTH);
    let x: Vec<f32> = x.into_iter().map(|v| v as f32).collect();
    let x = Matrix::new("X", &x, ROWS, WIDTH).expect("shape");
    for format in WeightFormat::ALL.iter().copied().map(Some) {
        let formats = [format, None];
        let quantize = || QuantizedNetwork::quantize(&network, &formats);
        assert!(fail_each_of(|| quantize().map(drop)) >= 4);
        let quantized = quantize().expect("memory");
        let layer = &quantized.layers()[0];
        assert_eq!(fail_each_of(|| layer.dequantized().map(drop)), 1);
        let QuantizedLayer::LowPrecision(low_precision) = layer else { panic!("a layer in f32") };
        assert!(fail_each_of(|| low_precision.stored().map(drop)) >= 1);
        let stored = low_precision.stored().expect("memory");
        let from_stored = || QuantizedLayer::from_stored("layers[0]", (WIDTH, WIDTH), &stored, layer.bias());
        assert!(fail_each_of(|| from_stored().map(drop)) >= 1);
        for n_threads in [1, 2] {
            let pass = |(network, out): &mut (QuantizedNetwork, Vec<f32>)| {
                network.forward(x, &mut MatrixMut::new("out", out, ROWS, WIDTH)?, n_threads)
            };
            let state = || (quantized.clone(), vec![7.0; ROWS * WIDTH]);
            // The packed weights of the f32 layer, and scratch.
            assert_eq!(fail_each(state, |(_, out)| out.clone(), pass), 2, "{format:?} {n_threads}");
        }
    }
}

/// What a training changes.
fn trained((network, optimizer): &(Network<f64>, Optimizer<f64>)) -> (Vec<Vec<f64>>, u64, bool) {
    (parameters(network), optimizer.steps(), optimizer.is_new())
}

#[test]
fn training_and_checkpoints() {
    let (x, weights) = (values(ROWS * WIDTH), vec![1.0; ROWS]);
    let labels: Vec<u32> = (0..ROWS as u32).map(|row| row % WIDTH as u32).collect();
    let x = Matrix::new("X", &x, ROWS, WIDTH).expect("shape").into();
    let samples = Samples { x, targets: Targets::Labels(&labels), weights: Some(&weights) };
    let validation = Samples { weights: None, ..samples };
    let data = FitData { train: &samples, validation: Some(&validation) };
    let config =
        TrainingConfig { epochs: 2, batch_size: ROWS, n_threads: 2, ..TrainingConfig::new(Loss::CrossEntropy) };
    let never = AtomicBool::new(false);
    let new = || {
        let optimizer = Optimizer::new(OptimizerConfig::new(Algorithm::Adam)).expect("defaults");
        (network(Init::HeNormal).expect("memory"), optimizer)
    };
    let train = |(network, optimizer): &mut _,
                 resume: Option<&Checkpoint<f64>>,
                 on_epoch: &mut dyn FnMut(&TrainingState<f64>) -> bool| {
        fit(network, optimizer, data, &config, resume, &mut Hooks { on_epoch, interrupt: &never }).map(drop)
    };
    // Moments (8), weights, losses, squares, order, shuffling, results of the validation set (2), tape, snapshots (2).
    assert_eq!(fail_each(new, trained, |state| train(state, None, &mut |_| false)), 18);

    let mut checkpoint = None;
    train(&mut new(), None, &mut |state: &TrainingState<f64>| {
        // Parameters (4), those of the best epoch (4), moments (8).
        assert_eq!(fail_each_of(|| state.checkpoint().map(drop)), 16);
        checkpoint = state.checkpoint().ok();
        true
    })
    .expect("a training");
    // Copies of parameters and moments instead of new moments.
    assert_eq!(fail_each(new, trained, |state| train(state, checkpoint.as_ref(), &mut |_| false)), 22);
}

#[test]
fn gradients() {
    let network = network(Init::HeNormal).expect("memory");
    let (x, d, weights) = (values(ROWS * WIDTH), values(ROWS * WIDTH), vec![1.0; ROWS]);
    let x = Matrix::new("X", &x, ROWS, WIDTH).expect("shape");
    let d = Matrix::new("d_output", &d, ROWS, WIDTH).expect("shape");
    let samples = Samples { x: x.into(), targets: Targets::Values(d), weights: Some(&weights) };
    // Weights, tape, losses, order and the results.
    assert_eq!(fail_each_of(|| loss_and_gradients(&network, &samples, Loss::SquaredError, 0.0, 2).map(drop)), 8);
    let pass = |dx: &mut Vec<f64>| backward(&network, x, d, &mut MatrixMut::new("dX", dx, ROWS, WIDTH)?, 2).map(drop);
    fail_each(|| vec![7.0; ROWS * WIDTH], |_| (), pass);
}
