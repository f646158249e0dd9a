//! The error type of the core. Variants carry data; messages name the argument, what was expected and what was passed.

/// Why a function of the core failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The value or the shape of an argument is not allowed.
    #[error("{argument}: expected {expected}, got {got}")]
    Invalid {
        /// The name of the argument in the caller's API.
        argument: String,
        /// The accepted values.
        expected: String,
        /// The value that was passed.
        got: String,
    },
    /// An array contains NaN or infinity.
    #[error("{argument}: expected finite {precision} values, got {value} at row {row}, column {column}")]
    NonFinite {
        /// The name of the argument in the caller's API.
        argument: String,
        /// `"f32"` or `"f64"`.
        precision: &'static str,
        /// The first value that is not finite.
        value: f64,
        /// The row of that value.
        row: usize,
        /// The column of that value.
        column: usize,
    },
    /// A loss or a parameter became infinite or NaN during training. The network is as it was after the last finished
    /// epoch.
    #[error(
        "fit: expected finite losses, got {what} in epoch {epoch} at learning rate {learning_rate:e}; \
         try a smaller learning_rate, clip_norm, or features scaled to about [-1, 1]"
    )]
    Diverged {
        /// The epoch, counted from 0.
        epoch: usize,
        /// The learning rate of the step in which it was noticed.
        learning_rate: f64,
        /// The quantity that was not finite.
        what: String,
    },
    /// The caller interrupted training. The network is as it was after the last finished epoch.
    #[error("fit: interrupted")]
    Interrupted,
    /// Memory could not be allocated.
    #[error("{argument}: cannot allocate {bytes} bytes of memory")]
    OutOfMemory {
        /// The argument that determines the size.
        argument: String,
        /// The size of the failed allocation.
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
