//! A data set for training or validation: inputs, targets and sample weights.

use crate::error::{Error, Result};
use crate::memory::collect;
use crate::network::Network;
use crate::network::input::Input;
use crate::simd::dispatch::Dispatch;
use crate::training::loss::{Objective, Targets};

/// A data set for training or validation.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a, T> {
    /// The inputs (rows, features), dense or sparse.
    pub x: Input<'a, T>,
    /// The target of each row.
    pub targets: Targets<'a, T>,
    /// One weight per row, at least 0 and not all 0; only their ratios matter. `None` means equal weights.
    pub weights: Option<&'a [f64]>,
}

impl<T: Dispatch> Samples<'_, T> {
    /// Checks the samples against `network` and `objective`. `names` are the names of inputs and targets in errors.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::NonFinite`].
    pub(crate) fn check(
        &self,
        network: &Network<T>,
        objective: &Objective<T>,
        names: [&str; 2],
        n_threads: usize,
    ) -> Result<()> {
        let sizes = network.layer_sizes();
        let (inputs, outputs) = (sizes[0], sizes[sizes.len() - 1]);
        if self.x.cols() != inputs {
            return Err(Error::invalid(names[0], format!("{inputs} features"), self.x.cols()));
        }
        if self.x.rows() == 0 || u32::try_from(self.x.rows()).is_err() {
            return Err(Error::invalid(names[0], "from 1 to 2^32 - 1 rows", self.x.rows()));
        }
        self.x.check_finite(network.kernels(), names[0], n_threads)?;
        objective.check(names[1], self.x.rows(), outputs)
    }

    /// The sample weights, scaled to a mean of 1.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::OutOfMemory`].
    pub(crate) fn scaled_weights(&self) -> Result<Option<Vec<f64>>> {
        let Some(weights) = self.weights else { return Ok(None) };
        if weights.len() != self.x.rows() {
            let expected = format!("{} weights, one per row of X", self.x.rows());
            return Err(Error::invalid("sample_weight", expected, weights.len()));
        }
        if let Some(row) = weights.iter().position(|w| !(0.0..f64::INFINITY).contains(w)) {
            let got = format!("{} at row {row}", weights[row]);
            return Err(Error::invalid("sample_weight", "finite weights of at least 0", got));
        }
        // Dividing by the largest weight first keeps the sum from overflowing.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(Error::invalid("sample_weight", "at least one weight above 0", "zeros"));
        }
        let mean = weights.iter().map(|w| w / largest).sum::<f64>() / weights.len() as f64;
        collect("sample_weight", weights.iter().map(|w| w / largest / mean)).map(Some)
    }
}
