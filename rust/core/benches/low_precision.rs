//! The speed of low-precision passes over that of f32, on each instruction set: `cargo bench -p tinyrs-core --bench
//! low_precision -- "1024, 256 rows" amx` runs the cases whose name contains the first argument on the instruction sets
//! whose name contains the second.
//!
//! Short runs of f32 and of each format take turns, so that a busy machine slows all of them; the median of the ratios is
//! printed. All passes use one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;
use tinyrs_core::{
    Activation, Forward, Init, LowPrecisionIsa, Matrix, MatrixMut, Network, NetworkConfig, QuantizedNetwork,
    WeightFormat,
};

/// A run repeats passes for about this long.
const RUN: Duration = Duration::from_millis(3);
const RUNS: usize = 25;

/// Layers, their width, and the rows of a pass.
const CASES: [(usize, usize, usize); 6] =
    [(1, 1024, 1), (1, 1024, 256), (1, 128, 1), (1, 128, 256), (100, 1024, 1), (10, 1024, 256)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let wanted = |i: usize, name: &str| arguments.get(i).is_none_or(|part| name.contains(part.as_str()));
    for (layers, width, rows) in CASES {
        let name = format!("{layers} x {width}, {rows} row{}", if rows == 1 { "" } else { "s" });
        if wanted(0, &name) {
            println!("\n{name}");
            run_case(layers, width, rows, |isa| wanted(1, isa.name()));
        }
    }
}

fn run_case(layers: usize, width: usize, rows: usize, wanted: impl Fn(LowPrecisionIsa) -> bool) {
    let config = NetworkConfig { activations: vec![Activation::Relu], ..NetworkConfig::default() };
    let f32_network = Network::<f32>::new(&vec![width; layers + 1], config, Init::HeUniform, 7).unwrap();
    let x = uniform(rows * width);
    let x = Matrix::new("x", &x, rows, width).unwrap();
    let mut y = vec![0.0; rows * width];
    let mut reference = |repeats| {
        seconds(repeats, || {
            let mut out = MatrixMut::new("y", black_box(&mut y), rows, width).unwrap();
            f32_network.forward(black_box(x), &mut out, 1).unwrap();
        })
    };
    let repeats = (RUN.as_secs_f64() / reference(1).min(reference(1))).ceil() as usize;
    for isa in LowPrecisionIsa::available().filter(|isa| wanted(*isa)) {
        for format in WeightFormat::ALL {
            let network = QuantizedNetwork::quantize(&f32_network, &vec![Some(*format); layers]).unwrap();
            let network = network.with_isa(isa).unwrap();
            let mut y = vec![0.0; rows * width];
            let mut ratios = Vec::new();
            let mut best = f64::INFINITY;
            for _ in 0..RUNS {
                let passes = seconds(repeats, || {
                    let mut out = MatrixMut::new("y", black_box(&mut y), rows, width).unwrap();
                    network.forward(black_box(x), &mut out, 1).unwrap();
                });
                ratios.push(reference(repeats) / passes);
                best = best.min(passes);
            }
            ratios.sort_by(f64::total_cmp);
            let weights = (layers * width * width) as f64;
            println!(
                "{:12} {:12} {:5.2} times f32, {:10.2} us, {:6.1} GB/s, {:7.1} Gop/s",
                isa.name(),
                format.name(),
                ratios[RUNS / 2],
                best * 1e6,
                weights * format.weight_bytes() as f64 / best / 1e9,
                2.0 * weights * rows as f64 / best / 1e9,
            );
        }
    }
}

/// The mean time of a call of `pass`.
fn seconds(repeats: usize, mut pass: impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..repeats).for_each(|_| pass());
    started.elapsed().as_secs_f64() / repeats as f64
}

/// Uniform on [-1, 1).
fn uniform(len: usize) -> Vec<f32> {
    let mut generator = Pcg64::new(1, 0);
    (0..len).map(|_| (generator.next_u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}
