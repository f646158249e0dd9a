use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tinyrs_core::*;
fn bench(sizes: &[usize], batch: usize, act: Activation, threads: usize) {
    let rows = 60 * batch.max(200);
    let config = Config { activations: vec![act], output_activation: OutputActivation::Softmax, ..Config::default() };
    let mut net = Network::<f32>::new(sizes, config, Init::GlorotUniform, 1).unwrap();
    let mut s = 12345u64;
    let mut rnd = || {
        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (s >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let x: Vec<f32> = (0..rows * sizes[0]).map(|_| rnd()).collect();
    let k = sizes[sizes.len() - 1];
    let y: Vec<u32> = (0..rows).map(|_| ((rnd() + 0.5) * k as f32) as u32 % k as u32).collect();
    let samples =
        Samples { x: Matrix::new("X", &x, rows, sizes[0]).unwrap(), targets: Targets::Labels(&y), weights: None };
    let mut opt = Optimizer::new(OptimizerConfig::new(Algorithm::Adam)).unwrap();
    let tc =
        TrainingConfig { batch_size: batch, epochs: 8, n_threads: threads, ..TrainingConfig::new(Loss::CrossEntropy) };
    let never = AtomicBool::new(false);
    let t = Instant::now();
    let r = fit(&mut net, &mut opt, &samples, None, &tc, &mut Hooks { on_epoch: &mut |_, _| false, interrupt: &never })
        .unwrap();
    let mut sps: Vec<f64> = r.epochs.iter().map(|e| e.samples_per_second).collect();
    sps.sort_by(f64::total_cmp);
    let n: usize = net.n_parameters();
    let flops = 6.0 * n as f64 - 2.0 * (sizes[0] * sizes[1]) as f64;
    println!(
        "{sizes:?} b{batch} {act} t{threads}: {:.0} samples/s, {:.0} us/step, {:.0} GFLOP/s  total {:.2}s",
        sps[4],
        batch as f64 / sps[4] * 1e6,
        flops * sps[4] / 1e9,
        t.elapsed().as_secs_f64()
    );
}
fn main() {
    for t in [1, 2] {
        bench(&[784, 512, 512, 10], 256, Activation::Relu, t);
        bench(&[784, 256, 128, 10], 200, Activation::Tanh, t);
        bench(&[64, 64, 64, 10], 32, Activation::Relu, t);
        bench(&[784, 64, 64, 10], 32, Activation::Relu, t);
        bench(&[16, 256, 256, 256, 26], 256, Activation::Selu, t);
    }
}
