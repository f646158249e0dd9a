//! Rows to learn from: inputs, targets and weights that fit each other.

use crate::error::{Error, Result};
use crate::linalg::kernels::Dispatch;
use crate::network::Network;
use crate::network::input::Input;
use crate::training::loss::{Objective, Targets};

/// Rows to learn from, or to validate with.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a, T> {
    /// (rows, inputs)
    pub x: Input<'a, T>,
    /// What the outputs should be.
    pub targets: Targets<'a, T>,
    /// A weight a row, at least 0 and not all 0; only their ratios count.
    pub weights: Option<&'a [f64]>,
}

impl<T: Dispatch> Samples<'_, T> {
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

    /// The weights, scaled to a mean of 1.
    pub(crate) fn scaled_weights(&self) -> Result<Option<Vec<f64>>> {
        let Some(weights) = self.weights else { return Ok(None) };
        if weights.len() != self.x.rows() {
            let expected = format!("{} weights, as many as X has rows", self.x.rows());
            return Err(Error::invalid("sample_weight", expected, weights.len()));
        }
        if let Some(row) = weights.iter().position(|w| !(0.0..f64::INFINITY).contains(w)) {
            let got = format!("{} at row {row}", weights[row]);
            return Err(Error::invalid("sample_weight", "finite weights of at least 0", got));
        }
        // Divided by the largest first: their sum cannot overflow then.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(Error::invalid("sample_weight", "at least one weight above 0", "zeros"));
        }
        let mean = weights.iter().map(|w| w / largest).sum::<f64>() / weights.len() as f64;
        Ok(Some(weights.iter().map(|w| w / largest / mean).collect()))
    }
}
