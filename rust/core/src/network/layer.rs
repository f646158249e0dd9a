//! One dense layer: its parameters and its forward pass.

use crate::activation::Epilogue;
use crate::error::{Error, Result};
use crate::linalg::dense::{Dense, Kernel};
use crate::linalg::view::View;
use crate::matrix::Matrix;
use crate::memory::{Aligned, copy_of, zeros};
use crate::network::checks::check_finite;
use crate::network::forward::LayerPart;
use crate::scalar::Scalar;
use crate::simd::dispatch::{Dispatch, Kernels};

/// The parameters of a dense layer: W (outputs, inputs), row-major, and b (outputs,).
#[derive(Debug)]
pub struct Layer<T> {
    weight: Aligned<T>,
    bias: Aligned<T>,
    inputs: usize,
}

impl<T: Scalar> Layer<T> {
    /// A layer with weights of `fill(weight)` and biases of 0.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or the error of `fill`.
    pub(crate) fn filled(inputs: usize, outputs: usize, fill: impl FnOnce(&mut [T]) -> Result<()>) -> Result<Self> {
        let size = outputs.saturating_mul(inputs);
        let mut layer = Layer { weight: zeros("layer_sizes", size)?, bias: zeros("layer_sizes", outputs)?, inputs };
        fill(&mut layer.weight)?;
        Ok(layer)
    }

    /// A layer with a copy of these parameters: `weight` (outputs, inputs), `bias` (outputs,).
    ///
    /// # Errors
    /// [`Error::Invalid`] if a dimension is 0 or the shapes do not fit, [`Error::NonFinite`] if a value is NaN or
    /// infinite, [`Error::OutOfMemory`]. `name` names the layer in the message.
    pub fn new(name: &str, weight: Matrix<T>, bias: &[T]) -> Result<Self> {
        if weight.rows() == 0 || weight.cols() == 0 {
            let got = format!("shape ({}, {})", weight.rows(), weight.cols());
            return Err(Error::invalid(format!("{name}.W"), "at least one output and one input", got));
        }
        check_parameters(name, (weight.rows(), weight.cols()), weight, bias)?;
        Layer::copied(weight.data(), bias, weight.cols())
    }

    fn copied(weight: &[T], bias: &[T], inputs: usize) -> Result<Self> {
        Ok(Layer { weight: copy_of("layer_sizes", weight)?, bias: copy_of("layer_sizes", bias)?, inputs })
    }

    /// A copy of the layer. Not `Clone`, which could not report a failed allocation.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_clone(&self) -> Result<Self> {
        Layer::copied(&self.weight, &self.bias, self.inputs)
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

    /// b (outputs,).
    pub fn bias(&self) -> &[T] {
        &self.bias
    }

    /// Pointers to W and b. Reading the parameters through the layer does not invalidate them.
    pub(crate) fn as_mut_ptrs(&mut self) -> (*mut T, *mut T) {
        (self.weight.as_mut_ptr(), self.bias.as_mut_ptr())
    }

    /// W (outputs, inputs) and b (outputs,), to change.
    pub(crate) fn parameters_mut(&mut self) -> (&mut [T], &mut [T]) {
        (&mut self.weight, &mut self.bias)
    }

    /// Overwrites the parameters with values that have the same shapes and have been checked.
    pub(crate) fn copy_from(&mut self, weight: &[T], bias: &[T]) {
        self.weight.copy_from_slice(weight);
        self.bias.copy_from_slice(bias);
    }

    /// The number of weights and biases.
    pub fn n_parameters(&self) -> usize {
        self.weight.len() + self.bias.len()
    }
}

/// The sizes (inputs, hidden..., outputs) of `layers`, of which there is at least one.
pub(crate) fn layer_sizes<T: Scalar>(layers: &[Layer<T>]) -> Vec<usize> {
    std::iter::once(layers[0].inputs()).chain(layers.iter().map(Layer::outputs)).collect()
}

/// Checks that `weight` has the shape (outputs, inputs) and `bias` the shape (outputs,), and that both are finite;
/// `name` names them in the message.
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

/// A layer and what its forward pass needs besides the inputs.
pub(crate) struct LayerForward<'a, T> {
    pub layer: &'a Layer<T>,
    /// The packed weights of all outputs; empty if `kernel` does not use them.
    pub panels: &'a [T],
    pub epilogue: &'a Epilogue<T>,
    pub kernel: Kernel,
}

impl<T: Dispatch> LayerForward<'_, T> {
    /// Computes `activation(X W^T + b) * scale` for some of the outputs.
    ///
    /// # Safety
    /// `part.out` has the rows of x and one column for each of the outputs, and nothing else uses these elements.
    #[inline]
    pub(crate) unsafe fn run(self, kernels: &Kernels<T>, part: LayerPart<T>) {
        let LayerForward { layer, panels, epilogue, kernel } = self;
        let LayerPart { outputs, x, out, scratch: _ } = part;
        let weight = &layer.weight[outputs.start * layer.inputs..outputs.end * layer.inputs];
        let weight = View::contiguous(weight, outputs.len(), layer.inputs);
        let panels = if kernel == Kernel::PackedGemm { &panels[outputs.start * layer.inputs..] } else { &[] };
        // SAFETY: guaranteed by the caller.
        unsafe { kernels.run_unchecked(Dense { weight, bias: &layer.bias[outputs], panels, x, epilogue, kernel, out }) }
    }
}
