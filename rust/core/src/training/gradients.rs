//! Gradients without training: of a loss with respect to the parameters, or of any function of the outputs with respect
//! to inputs and parameters.

use std::sync::atomic::AtomicBool;

use crate::activation::OutputActivation;
use crate::error::{Error, Result};
use crate::linalg::epilogue::Softmax;
use crate::matrix::{Matrix, MatrixMut};
use crate::memory::{collect, zeros};
use crate::network::Network;
use crate::network::checks::check_finite_parallel;
use crate::network::layer::Layer;
use crate::network::plan;
use crate::parallel::{Shared, Team, with_team};
use crate::scalar::Scalar;
use crate::simd::dispatch::Dispatch;
use crate::training::loss::{LabelSmoothing, Loss, Objective, softmax_backward};
use crate::training::samples::Samples;
use crate::training::step::{BLOCK_ROWS, Batch, BatchRunner};
use crate::training::tape::{Head, Parameters, STRIPE, Stripe, Tape, TapeOptions};

/// For each layer, dLoss/dW (outputs, inputs) and dLoss/db (outputs,).
pub type Gradients<T> = Vec<(Vec<T>, Vec<T>)>;

/// The loss of `samples`, which is the weighted mean over the rows, and its gradients with respect to all parameters.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NonFinite`] or [`Error::OutOfMemory`].
pub fn loss_and_gradients<T: Dispatch>(
    network: &Network<T>,
    samples: &Samples<T>,
    loss: Loss,
    label_smoothing: f64,
    n_threads: usize,
) -> Result<(f64, Gradients<T>)> {
    let objective =
        Objective::new(network, samples.targets, loss, LabelSmoothing { share: label_smoothing, prior: None });
    samples.check(network, &objective, ["X", "y"], n_threads)?;
    let weights = samples.scaled_weights()?;
    let rows = samples.x.rows();
    let n_threads = plan::training_threads(network.n_parameters(), rows, n_threads);
    let options = TapeOptions {
        n_threads,
        rows: rows.min(BLOCK_ROWS),
        head: Head::for_loss(loss),
        dropout: false,
        input_gradient: false,
        scratch_gradients: false,
    };
    let tape = Tape::new(network, &parameters_of(network), &options)?;
    let mut losses = zeros("X", options.rows)?;
    let runner = BatchRunner {
        kernels: network.kernels(),
        tape: &tape,
        x: samples.x,
        objective,
        weights: weights.as_deref(),
        smoothed_losses: true,
        losses: Shared(losses.as_mut_ptr()),
    };
    let order = collect("X", 0..rows as u32)?;
    let batch = Batch { rows: &order, dropout_mask: None, update: None, clip_norm: None };
    let total = with_team(n_threads, |team| {
        team.open();
        // SAFETY: only this call uses the tape, and the parameters are only read.
        unsafe {
            runner.pack_all(team);
            runner.batch(team, &batch, &AtomicBool::new(false))
        }
    });
    let total = total.expect("nothing sets the interrupt flag");
    Ok((total / rows as f64, gradients_of(network, &tape)?))
}

/// Backpropagates `d_output`, which is dLoss/dY (rows, outputs) for the outputs Y of `Network::forward` at the inputs
/// `x` (rows, inputs). Writes dLoss/dX to `dx` (rows, inputs) and returns the gradients with respect to all parameters.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NonFinite`] or [`Error::OutOfMemory`]; `dx` is unchanged then.
pub fn backward<T: Dispatch>(
    network: &Network<T>,
    x: Matrix<T>,
    d_output: Matrix<T>,
    dx: &mut MatrixMut<T>,
    n_threads: usize,
) -> Result<Gradients<T>> {
    check_backward(network, x, d_output, dx, n_threads)?;
    let (rows, inputs) = (x.rows(), x.cols());
    let n_threads = plan::training_threads(network.n_parameters(), rows, n_threads);
    let options = TapeOptions {
        n_threads,
        rows: rows.clamp(1, BLOCK_ROWS),
        head: Head::Output,
        dropout: false,
        input_gradient: true,
        scratch_gradients: false,
    };
    let tape = Tape::new(network, &parameters_of(network), &options)?;
    let (kernels, n_layers) = (network.kernels(), tape.n_layers());
    let through_softmax = network.config().output_activation == OutputActivation::Softmax;
    let dx = Shared(dx.data_mut().as_mut_ptr());
    with_team(n_threads, |team| {
        team.open();
        for l in 0..n_layers {
            // SAFETY: ranges are different outputs.
            team.for_each_range(tape.outputs(l), 1, 1, |_, outputs| unsafe { tape.pack(l, outputs) });
        }
        // An empty batch is one empty block, which sets the gradients to 0.
        for start in (0..rows.max(1)).step_by(BLOCK_ROWS) {
            let block = BLOCK_ROWS.min(rows - start);
            team.for_each_range(block, 1, 1, |_, range| {
                // SAFETY: ranges are different rows.
                unsafe {
                    for row in range.clone() {
                        tape.set_input(row, &x.into(), start + row);
                    }
                    tape.forward(&range, None);
                    for row in range.clone() {
                        let (out, d) = tape.output_row(row);
                        d.copy_from_slice(d_output.row(start + row));
                        if through_softmax {
                            kernels.run(Softmax { outputs: out.len(), z: out });
                            softmax_backward(out, d);
                        }
                    }
                    tape.backward(&range, Some(dx.at(start * inputs)));
                }
            });
            // SAFETY: the backward pass of the rows is complete.
            unsafe { parameter_gradients(team, &tape, block, start > 0) };
        }
    });
    gradients_of(network, &tape)
}

/// The gradients of all parameters over the first `rows` rows of the block; adds to the present values if `accumulate`.
///
/// # Safety
/// The backward pass of the rows is complete, and only this team uses the tape.
unsafe fn parameter_gradients<T: Dispatch>(team: &Team, tape: &Tape<T>, rows: usize, accumulate: bool) {
    team.for_each(tape.embedded(), |_, column| {
        // SAFETY: the caller's promise; each item is another input.
        unsafe { tape.embedding_gradient(column, rows, accumulate) };
    });
    for l in 0..tape.n_layers() {
        let outputs = tape.outputs(l);
        team.for_each(outputs.div_ceil(STRIPE), |thread, index| {
            let stripe = index * STRIPE..((index + 1) * STRIPE).min(outputs);
            let dw = tape.weight_gradient(l, stripe.start);
            let stripe = Stripe { layer: l, outputs: stripe };
            // SAFETY: the caller's promise; stripes are different outputs.
            unsafe { tape.parameter_gradient(thread, &stripe, dw, rows, accumulate) };
        });
    }
}

/// Checks the shapes of the arguments of [`backward`], and that they are finite.
fn check_backward<T: Dispatch>(
    network: &Network<T>,
    x: Matrix<T>,
    d_output: Matrix<T>,
    dx: &MatrixMut<T>,
    n_threads: usize,
) -> Result<()> {
    let sizes = network.layer_sizes();
    let (inputs, outputs) = (sizes[0], sizes[sizes.len() - 1]);
    if x.cols() != inputs {
        return Err(Error::invalid("X", format!("{inputs} features"), x.cols()));
    }
    for (argument, shape, expected) in [
        ("d_output", (d_output.rows(), d_output.cols()), (x.rows(), outputs)),
        ("dx", (dx.rows(), dx.cols()), (x.rows(), inputs)),
    ] {
        if shape != expected {
            return Err(Error::invalid(argument, format!("shape {expected:?}"), format!("{shape:?}")));
        }
    }
    check_finite_parallel(network.kernels(), "X", x, n_threads)?;
    check_finite_parallel(network.kernels(), "d_output", d_output, n_threads)
}

/// Pointers to the parameters of a network; they are only read.
fn parameters_of<T: Scalar>(network: &Network<T>) -> Vec<Parameters<T>> {
    let shared = |values: &[T]| Shared(values.as_ptr().cast_mut());
    let layers = network.layers().iter();
    layers.map(|layer| Parameters { weight: shared(layer.weight()), bias: shared(layer.bias()) }).collect()
}

/// Copies of the gradients on the tape.
///
/// # Errors
/// [`Error::OutOfMemory`].
fn gradients_of<T: Dispatch>(network: &Network<T>, tape: &Tape<T>) -> Result<Gradients<T>> {
    let layers = network.layers().iter().enumerate();
    let copy = |(l, layer): (usize, &Layer<T>)| -> Result<(Vec<T>, Vec<T>)> {
        let gradient = tape.gradient_of_layer(l);
        // SAFETY: the gradients have the sizes of the parameters, and nothing writes them now.
        let values = |values: Shared<T>, len: usize| unsafe { values.slice(0..len) }.iter().copied();
        let weight = collect("layer_sizes", values(gradient.weight, layer.weight().len()))?;
        Ok((weight, collect("layer_sizes", values(gradient.bias, layer.bias().len()))?))
    };
    layers.map(copy).collect()
}
