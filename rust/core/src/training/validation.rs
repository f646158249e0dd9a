//! The validation set, and its loss and score after each epoch.

use crate::error::Result;
use crate::memory::{Aligned, zeros};
use crate::scalar::Scalar;
use crate::simd::dispatch::Dispatch;
use crate::training::loss::{Loss, Targets};
use crate::training::step::BatchRunner;

/// The validation set, and the results of its rows after an epoch.
pub(crate) struct ValidationSet<'a, T: Scalar> {
    pub runner: BatchRunner<'a, T>,
    /// The loss of each row.
    pub losses: Aligned<f64>,
    /// 1 for each row that is predicted correctly, otherwise 0.
    pub correct: Aligned<f64>,
    /// For the squared error: the mean loss of predicting the mean target of each output.
    baseline_loss: f64,
}

impl<'a, T: Dispatch> ValidationSet<'a, T> {
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn new(runner: BatchRunner<'a, T>) -> Result<Self> {
        let rows = runner.x.rows();
        let mut baseline_loss = 0.0;
        if let (Loss::SquaredError, Targets::Values(values)) = (runner.objective.loss, runner.objective.targets) {
            for column in 0..values.cols() {
                let column = || (0..rows).map(|row| values.row(row)[column].to_f64());
                let mean = column().sum::<f64>() / rows as f64;
                baseline_loss += column().map(|v| (v - mean).powi(2)).sum::<f64>() / (rows * values.cols()) as f64;
            }
        }
        let results = || zeros("validation X", rows);
        Ok(ValidationSet { runner, losses: results()?, correct: results()?, baseline_loss })
    }

    /// The mean loss, and the score: the accuracy, or R^2 for the squared error.
    pub(crate) fn loss_and_score(&self) -> (f64, f64) {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let loss = mean(&self.losses);
        let score = match self.runner.objective.loss {
            Loss::SquaredError if self.baseline_loss > 0.0 => 1.0 - loss / self.baseline_loss,
            // Constant targets score 1 or 0, as in scikit-learn's `r2_score`.
            Loss::SquaredError => f64::from(u8::from(loss == 0.0)),
            _ => mean(&self.correct),
        };
        (loss, score)
    }
}
