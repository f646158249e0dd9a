//! One dense layer: parameters, and what they do to a row or to a batch.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::activation::Epilogue;
use crate::error::{Error, Result};
use crate::linalg::dense::{Dense, Kernel};
use crate::linalg::kernels::Kernels;
use crate::linalg::view::{View, ViewMut};
use crate::matrix::Matrix;
use crate::memory::{Aligned, zeros};
use crate::parallel::with_team;
use crate::scalar::Scalar;

/// The parameters of a dense layer: W (outputs, inputs), row-major, and b (outputs,).
#[derive(Debug, Clone)]
pub struct Layer<T> {
    weight: Aligned<T>,
    bias: Aligned<T>,
    inputs: usize,
}

impl<T: Scalar> Layer<T> {
    /// A layer whose parameters come from `fill(weight, bias)`, called on zeros.
    pub(crate) fn filled(inputs: usize, outputs: usize, fill: impl FnOnce(&mut [T], &mut [T])) -> Result<Self> {
        let size = outputs.saturating_mul(inputs);
        let mut layer = Layer { weight: zeros("layer_sizes", size)?, bias: zeros("layer_sizes", outputs)?, inputs };
        fill(&mut layer.weight, &mut layer.bias);
        Ok(layer)
    }

    /// A layer with a copy of these parameters: `weight` (outputs, inputs), `bias` (outputs,).
    ///
    /// # Errors
    /// [`Error::Invalid`] if a dimension is 0 or the shapes do not fit, [`Error::NonFinite`] if a value is NaN or
    /// infinite, [`Error::OutOfMemory`]. `name` is what the message calls the layer.
    pub fn new(name: &str, weight: Matrix<T>, bias: &[T]) -> Result<Self> {
        if weight.rows() == 0 || weight.cols() == 0 {
            let got = format!("shape ({}, {})", weight.rows(), weight.cols());
            return Err(Error::invalid(format!("{name}.W"), "at least one output and one input", got));
        }
        check_parameters(name, (weight.rows(), weight.cols()), weight, bias)?;
        Layer::filled(weight.cols(), weight.rows(), |w, b| {
            w.copy_from_slice(weight.data());
            b.copy_from_slice(bias);
        })
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// W (outputs, inputs), row-major.
    pub fn weight(&self) -> &[T] {
        &self.weight
    }

    /// b (outputs,)
    pub fn bias(&self) -> &[T] {
        &self.bias
    }

    /// W and b, to be changed in place.
    pub(crate) fn parameters_mut(&mut self) -> (&mut [T], &mut [T]) {
        (&mut self.weight, &mut self.bias)
    }

    /// Overwrites the parameters; shapes and values have been checked.
    pub(crate) fn copy_from(&mut self, weight: &[T], bias: &[T]) {
        self.weight.copy_from_slice(weight);
        self.bias.copy_from_slice(bias);
    }

    /// The number of parameters, weights and biases.
    pub fn n_parameters(&self) -> usize {
        self.weight.len() + self.bias.len()
    }
}

/// (inputs, hidden..., outputs) of at least one layer.
pub(crate) fn layer_sizes<T: Scalar>(layers: &[Layer<T>]) -> Vec<usize> {
    std::iter::once(layers[0].inputs()).chain(layers.iter().map(Layer::outputs)).collect()
}

/// Checks that `weight` has the shape (outputs, inputs) and `bias` (outputs,), and that both are finite.
pub(crate) fn check_parameters<T: Scalar>(
    name: &str,
    (outputs, inputs): (usize, usize),
    weight: Matrix<T>,
    bias: &[T],
) -> Result<()> {
    if (weight.rows(), weight.cols()) != (outputs, inputs) {
        let got = format!("({}, {})", weight.rows(), weight.cols());
        return Err(Error::invalid(format!("{name}.W"), format!("shape ({outputs}, {inputs})"), got));
    }
    if bias.len() != outputs {
        return Err(Error::invalid(format!("{name}.b"), format!("shape ({outputs},)"), format!("({},)", bias.len())));
    }
    check_finite(&format!("{name}.W"), weight)?;
    check_finite(&format!("{name}.b"), Matrix::new("b", bias, outputs, 1)?)
}

/// The first NaN or infinity of `values`, as an error.
pub(crate) fn check_finite<T: Scalar>(argument: &str, values: Matrix<T>) -> Result<()> {
    match values.data().iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::NonFinite {
            argument: argument.into(),
            precision: T::NAME,
            value: values.data()[at].to_f64(),
            row: at / values.cols(),
            column: at % values.cols(),
        }),
    }
}

/// From how many bytes on several threads look for NaN and infinity. Before, the 25 MB that 784-256-128-10 learns from
/// took one thread 5 % of an epoch on two.
const MANY_BYTES: usize = 2 << 20;

/// Pieces of each thread's share: another thread takes over those that a late one has not begun.
const CHECKED_PIECES: usize = 8;

/// [`check_finite`] on at most `n_threads` threads.
pub(crate) fn check_all_finite<T: Scalar>(
    kernels: &Kernels<T>,
    argument: &str,
    values: Matrix<T>,
    n_threads: usize,
) -> Result<()> {
    let data = values.data();
    let n_threads = if size_of_val(data) < MANY_BYTES { 1 } else { n_threads };
    let all_finite = AtomicBool::new(true);
    with_team(n_threads, |team| {
        team.open();
        team.for_each_range(data.len(), 1, CHECKED_PIECES, |_, range| {
            if !kernels.all_finite(&data[range]) {
                all_finite.store(false, Ordering::Relaxed);
            }
        });
    });
    if all_finite.into_inner() { Ok(()) } else { check_finite(argument, values) }
}

/// `out = activation(X W^T + b) * scale` for the outputs `share` of the layer; `out` is the columns `share` of (batch,
/// outputs), row-major. `kernel` is what multiplies them, `panels` the weights of all outputs packed for it.
///
/// # Safety
/// `out` has as many rows as x and as many columns as `share`, and nobody else uses them.
#[inline]
pub(crate) unsafe fn dense_forward<T: Scalar>(
    kernels: &Kernels<T>,
    (layer, panels, kernel): (&Layer<T>, &[T], Kernel),
    share: std::ops::Range<usize>,
    x: View<T>,
    epilogue: &Epilogue<T>,
    out: ViewMut<T>,
) {
    let weight = &layer.weight[share.start * layer.inputs..share.end * layer.inputs];
    let weight = View::contiguous(weight, share.len(), layer.inputs);
    let panels = if kernel == Kernel::PackedGemm { &panels[share.start * layer.inputs..] } else { &[] };
    // SAFETY: the caller's promise.
    unsafe { kernels.dense(&Dense { weight, bias: &layer.bias[share], panels, x, epilogue, kernel }, out) }
}
