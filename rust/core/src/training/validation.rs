//! The validation set of a training.

use crate::scalar::Scalar;
use crate::training::loss::{Loss, Targets};
use crate::training::step::BatchRunner;

/// The validation set, and its results after an epoch.
pub(crate) struct ValidationSet<'a, T: Scalar> {
    pub work: BatchRunner<'a, T>,
    pub losses: Vec<f64>,
    pub correct: Vec<f64>,
    /// For the squared error: the mean loss if the mean target were predicted everywhere.
    total: f64,
}

impl<'a, T: Scalar> ValidationSet<'a, T> {
    pub(crate) fn new(work: BatchRunner<'a, T>) -> Self {
        let rows = work.x.rows();
        let mut total = 0.0;
        if let (Loss::SquaredError, Targets::Values(values)) = (work.objective.loss, work.objective.targets) {
            for column in 0..values.cols() {
                let column = || (0..rows).map(|row| values.row(row)[column].to_f64());
                let mean = column().sum::<f64>() / rows as f64;
                total += column().map(|v| (v - mean).powi(2)).sum::<f64>() / (rows * values.cols()) as f64;
            }
        }
        ValidationSet { work, losses: vec![0.0; rows], correct: vec![0.0; rows], total }
    }

    /// (loss, score)
    pub(crate) fn result(&self) -> (f64, f64) {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let loss = mean(&self.losses);
        let score = match self.work.objective.loss {
            Loss::SquaredError if self.total > 0.0 => 1.0 - loss / self.total,
            // As scikit-learn has it: constant targets are met or not.
            Loss::SquaredError => f64::from(u8::from(loss == 0.0)),
            _ => mean(&self.correct),
        };
        (loss, score)
    }
}
