use std::time::Instant;
use tinyrs_core::*;
fn run<T: Dispatch>(layers: usize, d: usize, batch: usize, n: usize) {
    let sizes = vec![d; layers + 1];
    let config =
        Config { activation: Activation::Sigmoid, output_activation: OutputActivation::Same, ..Config::default() };
    for isa in Isa::ALL {
        if !isa.is_available() {
            continue;
        }
        let net = Network::<T>::new(&sizes, config, 1).unwrap().with_isa(isa).unwrap();
        let x: Vec<T> = (0..batch * d).map(|i| T::from_f64((i as f64 * 0.37).sin())).collect();
        let mut y = vec![T::ZERO; batch * d];
        for t in [1, 2] {
            let mut times = vec![];
            for _ in 0..n {
                let s = Instant::now();
                net.forward(
                    Matrix::new("x", &x, batch, d).unwrap(),
                    &mut MatrixMut::new("y", &mut y, batch, d).unwrap(),
                    t,
                )
                .unwrap();
                times.push(s.elapsed().as_secs_f64());
            }
            times.sort_by(f64::total_cmp);
            let m = times[n / 2];
            println!(
                "{} {layers}x{d} b{batch} {:7} t{t}: median {:.3} us  min {:.3} {:.1} GB/s {:.1} GFLOP/s",
                T::NAME,
                isa.name(),
                m * 1e6,
                times[0] * 1e6,
                net.nbytes() as f64 / m / 1e9,
                2.0 * (net.n_parameters() * batch) as f64 / m / 1e9
            );
        }
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    if a[1] == "probe" {
        for t in [1, 2] {
            for ws in [1 << 20, 64 << 20, 256 << 20, 419 << 20usize] {
                println!("{ws} {:?}", machine_limits(t, ws).unwrap());
            }
        }
        return;
    }
    let p = |i: usize| a[i].parse::<usize>().unwrap();
    if a[1] == "f32" { run::<f32>(p(2), p(3), p(4), p(5)) } else { run::<f64>(p(2), p(3), p(4), p(5)) }
}
