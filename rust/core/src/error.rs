//! The one error type of the core. Variants carry data; the message names the argument, what was expected and what came.

/// What can be wrong with the arguments of a core function.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// An argument has a value or a shape that is not allowed.
    #[error("{argument}: expected {expected}, got {got}")]
    Invalid {
        /// The argument's name as the caller wrote it.
        argument: String,
        /// What would have been accepted.
        expected: String,
        /// What came.
        got: String,
    },
    /// An array holds NaN or infinity.
    #[error("{argument}: expected finite {precision} values, got {value} at row {row}, column {column}")]
    NonFinite {
        /// The argument's name as the caller wrote it.
        argument: String,
        /// `"f32"` or `"f64"`.
        precision: &'static str,
        /// The offending value.
        value: f64,
        /// Row of the first offending value.
        row: usize,
        /// Column of the first offending value.
        column: usize,
    },
    /// Training led to a loss or to parameters that are infinite or NaN; the network is as after the epoch before.
    #[error(
        "fit: expected finite losses, got {what} in epoch {epoch} at learning rate {learning_rate:e}; \
         try a smaller learning_rate, clip_norm, or features scaled to about [-1, 1]"
    )]
    Diverged {
        /// Counted from 0.
        epoch: usize,
        /// In the step where it was noticed.
        learning_rate: f64,
        /// What was not finite.
        what: String,
    },
    /// Training was interrupted from outside; the network is as after its last finished epoch.
    #[error("fit: interrupted")]
    Interrupted,
    /// Memory for the parameters or scratch could not be had.
    #[error("{argument}: expected {bytes} bytes of memory, which this machine could not give")]
    OutOfMemory {
        /// The argument that asked for it.
        argument: String,
        /// The bytes asked for.
        bytes: u128,
    },
}

impl Error {
    pub(crate) fn invalid(argument: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> Self {
        Error::Invalid { argument: argument.into(), expected: expected.into(), got: got.to_string() }
    }
}

/// The result of a core function.
pub type Result<T> = std::result::Result<T, Error>;
