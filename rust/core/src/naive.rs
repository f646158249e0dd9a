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
