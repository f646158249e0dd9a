//! The methods of `Network` that compute gradients and train.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::arguments::thread_count;
use crate::fit_arguments::{ControlTuple, DataTuple, FitArguments, SettingsTuple};
use crate::gradients;
use crate::network::Network;
use crate::optimizer::Optimizer;
use crate::precision::with_trainable;
use crate::samples::Data;
use crate::training::{self, HistoryArguments, Step};

#[pymethods]
impl Network {
    /// Compute gradients by backpropagation, given the gradient with respect to the outputs.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (batch, features)
    ///     The inputs.
    /// d_output : array of shape (batch, outputs)
    ///     The gradient of a scalar with respect to ``forward(X)``.
    /// n_threads : int, optional
    ///     Largest number of threads; by default `tinyrs.get_num_threads()`.
    ///
    /// Returns
    /// -------
    /// dX : array of shape (batch, features)
    ///     The gradient of the scalar with respect to X.
    /// gradients : list of (dW, db)
    ///     Its gradients with respect to the parameters, in the shapes that `parameters` returns.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If a shape does not fit, or an array does not hold finite real numbers.
    #[pyo3(signature = (X, d_output, *, n_threads=None))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn backward<'py>(
        &self,
        X: &Bound<'py, PyAny>,
        d_output: &Bound<'py, PyAny>,
        n_threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyList>)> {
        let n_threads = thread_count(n_threads)?;
        with_trainable!(&*self.current(), network => gradients::backward(network, X, d_output, n_threads))
    }

    /// Compute the loss of a set of rows and its gradients with respect to the parameters.
    ///
    /// The loss is the mean over the rows, in which each row counts in proportion to its sample weight.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (rows, features), or SciPy CSR matrix
    ///     The inputs.
    /// y : array
    ///     The targets, as in `fit`.
    /// loss : {"cross_entropy", "binary_cross_entropy", "squared_error"}, optional
    ///     The loss function. By default it is chosen as in `fit`.
    /// sample_weight : array of shape (rows,), optional
    ///     Weights of the rows; only their ratios matter.
    /// label_smoothing : float
    ///     As in `fit`.
    /// n_threads : int, optional
    ///     Largest number of threads; by default `tinyrs.get_num_threads()`.
    ///
    /// Returns
    /// -------
    /// loss : float
    /// gradients : list of (dW, db)
    ///     In the shapes that `parameters` returns.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If an argument is invalid.
    #[pyo3(signature = (X, y, *, loss=None, sample_weight=None, label_smoothing=0.0, n_threads=None))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn loss_and_gradients<'py>(
        &self,
        X: &Bound<'py, PyAny>,
        y: &Bound<'py, PyAny>,
        loss: Option<&str>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        label_smoothing: f64,
        n_threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(f64, Bound<'py, PyList>)> {
        let (data, n_threads) = (Data { x: X, y, sample_weight }, thread_count(n_threads)?);
        with_trainable!(&*self.current(), network => gradients::loss_and_gradients(
            network, &data, loss, label_smoothing, n_threads))
    }

    /// Change the parameters by one step of an optimizer, as `fit` does after each batch.
    ///
    /// Parameters
    /// ----------
    /// gradients : iterable of (dW, db)
    ///     One pair per layer, in the shapes that `loss_and_gradients` returns: its gradients, or for example their
    ///     mean over several processes.
    /// optimizer : Optimizer
    ///     Keeps its state for the next step.
    /// learning_rate, weight_decay : float
    ///     As in `fit`.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If an argument is invalid, or a parameter would become infinite. Network and optimizer are unchanged then.
    /// RuntimeError
    ///     If the network or the optimizer is in use by a call of `fit`.
    ///
    /// Examples
    /// --------
    /// >>> from tinyrs import Network, Optimizer
    /// >>> network = Network([2, 4, 3], output_activation="softmax", seed=7)
    /// >>> loss, gradients = network.loss_and_gradients([[0.1, 0.2], [0.3, 0.4]], [0, 2])
    /// >>> network.apply_gradients(gradients, Optimizer("adam"), learning_rate=0.01)
    #[pyo3(signature = (gradients, optimizer, *, learning_rate=1e-3, weight_decay=0.0))]
    fn apply_gradients(
        &self,
        gradients: &Bound<PyAny>,
        optimizer: &Bound<Optimizer>,
        learning_rate: f64,
        weight_decay: f64,
    ) -> PyResult<()> {
        let step = Step { optimizer: &optimizer.get().0, gradients, learning_rate, weight_decay };
        training::step(&self.0, &step)
    }

    /// Train the network; `fit` in `tinyrs/network.py` has the arguments. Return the arguments of a `History`.
    fn _fit<'py>(
        &self,
        data: DataTuple<'py>,
        settings: SettingsTuple<'py>,
        control: ControlTuple<'py>,
    ) -> PyResult<HistoryArguments<'py>> {
        let output = self.config().output_activation;
        training::fit(&self.0, &FitArguments::new(data, settings, control, output)?)
    }
}
