//! What training reports: one record per epoch, and the result of a call of `fit`.

/// The results of one epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochRecord {
    /// The index of the epoch, from 0.
    pub epoch: usize,
    /// The weighted mean loss over the training rows, each evaluated when its batch was trained, without label
    /// smoothing.
    pub loss: f64,
    /// The mean loss of the validation set after the epoch, without dropout and label smoothing.
    pub validation_loss: Option<f64>,
    /// The accuracy on the validation set; for the squared error R^2, with sums of squares over all outputs.
    pub validation_score: Option<f64>,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// The duration of the epoch in seconds, validation included.
    pub seconds: f64,
    /// Training rows per second.
    pub samples_per_second: f64,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// All epochs are done.
    Finished,
    /// There was no improvement for `patience` epochs.
    Patience,
    /// The callback asked to stop.
    Callback,
}

impl StopReason {
    /// "finished", "patience" or "callback".
    pub fn name(self) -> &'static str {
        match self {
            StopReason::Finished => "finished",
            StopReason::Patience => "patience",
            StopReason::Callback => "callback",
        }
    }
}

/// The result of a call of `fit`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingReport {
    /// One record per finished epoch.
    pub epochs: Vec<EpochRecord>,
    /// The index of the best epoch by the monitored value.
    pub best_epoch: usize,
    /// Why training ended.
    pub stop: StopReason,
}
