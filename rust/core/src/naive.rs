//! The same functions as plain loops in f64: the reference of tests. Never optimized.

use crate::activation::Activation;

/// activation(W x + b) * scale; W is (outputs, inputs), row-major, x (inputs,), b and the result (outputs,).
pub fn dense(weight: &[f64], bias: &[f64], x: &[f64], activation: Activation, scale: f64) -> Vec<f64> {
    let mut out = Vec::new();
    for (j, b) in bias.iter().enumerate() {
        let mut sum = *b;
        for (i, x_i) in x.iter().enumerate() {
            sum += weight[j * x.len() + i] * x_i;
        }
        out.push(activate(activation, sum) * scale);
    }
    out
}

/// x (inputs,), and after them the embedding of its first values: for the c-th of them, counted from 0, and o below 3,
/// the sum over k below 16 of `w2[c][o][k] cos(2 pi (w1[c][k] x[c] + b1[c][k]))`, plus `b2[c][o]`.
pub fn embed(w1: &[f64], b1: &[f64], w2: &[f64], b2: &[f64], x: &[f64]) -> Vec<f64> {
    let mut out = x.to_vec();
    for (j, b) in b2.iter().enumerate() {
        let c = j / 3;
        let mut sum = *b;
        for k in 0..16 {
            let turns = w1[c * 16 + k] * x[c] + b1[c * 16 + k];
            sum += w2[j * 16 + k] * (2.0 * std::f64::consts::PI * turns).cos();
        }
        out.push(sum);
    }
    out
}

/// activation(x)
pub fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu => {
            if x > 0.0 {
                x
            } else {
                0.01 * x
            }
        }
        Activation::Selu => {
            let (lambda, alpha) = (1.050_700_987_355_480_5, 1.673_263_242_354_377_2);
            if x > 0.0 { lambda * x } else { lambda * alpha * x.exp_m1() }
        }
        Activation::Gelu => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Identity => x,
    }
}

/// exp(z_i) / sum_j exp(z_j)
pub fn softmax(z: &[f64]) -> Vec<f64> {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = z.iter().map(|v| (v - largest).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}
