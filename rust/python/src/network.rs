//! The class `Network`: one core network of either precision behind one Python type.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use tinyrs_core::{Dispatch, Init, Monitor, NetworkConfig, Schedule, TrainingConfig, num_threads};

use crate::arrays::as_count;
use crate::errors::to_python;
use crate::gradients::{self, Data, loss_of};
use crate::options::{Options, random_seed, rate_factors, seed_of, sizes, unknown_precision};
use crate::parameters::{copies_of, network_of, with_parameters};
use crate::passes::{self, Keywords, with_about};
use crate::training;

/// A `#[pyclass]` cannot be generic.
#[derive(Clone)]
pub enum AnyNetwork {
    F32(tinyrs_core::Network<f32>),
    F64(tinyrs_core::Network<f64>),
}

/// Evaluates `$body` with `$network` bound to the network of either precision.
macro_rules! with_network {
    ($any:expr, $network:ident => $body:expr) => {
        match $any {
            $crate::network::AnyNetwork::F32($network) => $body,
            $crate::network::AnyNetwork::F64($network) => $body,
        }
    };
}
pub(crate) use with_network;

/// A multi-layer perceptron: activation(W x + b) * activation_scale for each hidden layer, and an output.
///
/// Parameters
/// ----------
/// layer_sizes : sequence of int
///     (inputs, hidden..., outputs), each at least 1.
/// activation : {"sigmoid", "tanh", "relu", "leaky_relu", "selu", "gelu", "silu", "identity"} or a list of them
///     Of the hidden layers: one for all, or one each. leaky_relu has the slope 0.01 below 0, gelu is its tanh form.
/// output_activation : {"identity", "same", "softmax", "sigmoid"}
///     Of the last layer; "same" does what the last hidden layer does, scale included.
/// precision : {"f32", "f64"}
///     Of the parameters, the arithmetic and the results.
/// activation_scale : float
///     Every activated value is multiplied by it.
/// epsilon_exp, epsilon_square : float
///     A value is clipped to [min + epsilon_exp, ln(max) - epsilon_exp] before it is exponentiated, and to
///     sqrt(max) - epsilon_square before it is squared, min and max being those of the precision.
/// init : {"glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", \
///         "orthogonal", "log_uniform"}
///     How weights are drawn: uniform in plus or minus sqrt(6 / (inputs + outputs)), or normal with the same variance
///     (Glorot and Bengio 2010); with variance 2 / inputs (He et al. 2015) or 1 / inputs (LeCun et al. 1998);
///     orthonormal rows or columns (Saxe et al. 2014); (U(0, 1) - 0.5) / ln(1 + inputs). Biases start at 0.
/// seed : int, optional
///     Of the weights, which are the same on every platform. None draws one from the operating system.
///
/// Raises
/// ------
/// ValueError, TypeError
///     The message names the argument, what was expected and what came.
/// MemoryError
///     If the parameters do not fit into memory.
#[pyclass(module = "tinyrs", name = "Network", frozen)]
pub struct Network {
    /// What it is now. A pass reads it without a lock, and nobody has to wait for a pass to end: who changes the network
    /// puts another one in its place.
    network: ArcSwap<AnyNetwork>,
    /// Whether `fit` is at work on a copy that will take this one's place.
    is_training: AtomicBool,
}

#[pymethods]
impl Network {
    #[new]
    #[pyo3(signature = (layer_sizes, *, activation=None, output_activation="identity", precision="f32",
                        activation_scale=1.0, epsilon_exp=4e-6, epsilon_square=4e-6, init="glorot_uniform", seed=None),
           text_signature = "(layer_sizes, *, activation='tanh', output_activation='identity', precision='f32', \
                             activation_scale=1.0, epsilon_exp=4e-6, epsilon_square=4e-6, init='glorot_uniform', \
                             seed=None)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python signature")]
    fn new(
        layer_sizes: &Bound<PyAny>,
        activation: Option<&Bound<PyAny>>,
        output_activation: &str,
        precision: &str,
        activation_scale: f64,
        epsilon_exp: f64,
        epsilon_square: f64,
        init: &str,
        seed: Option<&Bound<PyAny>>,
    ) -> PyResult<Self> {
        let config =
            Options { activation, output_activation, activation_scale, epsilon_exp, epsilon_square }.config()?;
        let (sizes, init) = (sizes(layer_sizes)?, Init::parse("init", init).map_err(to_python)?);
        let seed = seed_of(seed)?.unwrap_or_else(random_seed);
        let network = match precision {
            "f32" => tinyrs_core::Network::new(&sizes, config, init, seed).map(AnyNetwork::F32),
            "f64" => tinyrs_core::Network::new(&sizes, config, init, seed).map(AnyNetwork::F64),
            _ => return Err(unknown_precision(precision)),
        };
        Ok(network.map_err(to_python)?.into())
    }

    /// A network of these parameters; the keywords are those of the constructor.
    ///
    /// Parameters
    /// ----------
    /// parameters : iterable of (W, b)
    ///     W of shape (outputs, inputs), b of shape (outputs,), one pair a layer; copied one after the other, so that
    ///     a generator never has to hold more than one layer.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If two layers do not fit each other, or a value is NaN or infinite.
    #[classmethod]
    #[pyo3(signature = (parameters, *, activation=None, output_activation="identity", precision="f32",
                        activation_scale=1.0, epsilon_exp=4e-6, epsilon_square=4e-6),
           text_signature = "($cls, parameters, *, activation='tanh', output_activation='identity', precision='f32', \
                             activation_scale=1.0, epsilon_exp=4e-6, epsilon_square=4e-6)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python signature")]
    fn from_parameters(
        _class: &Bound<PyType>,
        parameters: &Bound<PyAny>,
        activation: Option<&Bound<PyAny>>,
        output_activation: &str,
        precision: &str,
        activation_scale: f64,
        epsilon_exp: f64,
        epsilon_square: f64,
    ) -> PyResult<Self> {
        let config =
            Options { activation, output_activation, activation_scale, epsilon_exp, epsilon_square }.config()?;
        let network = match precision {
            "f32" => AnyNetwork::F32(network_of(parameters, config)?),
            "f64" => AnyNetwork::F64(network_of(parameters, config)?),
            _ => return Err(unknown_precision(precision)),
        };
        Ok(network.into())
    }

    /// The outputs for one row or for a batch.
    ///
    /// Finite in, finite out: sums that overflow stop at the largest finite number. The result has the same bits for
    /// any number of threads. A contiguous array of the network's precision is read where it is, anything else is
    /// converted once.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (features,) or (batch, features), or CSR matrix of SciPy
    ///     Real numbers, all finite. Of sparse rows a block is in memory in full at a time.
    /// out : array of shape (outputs,) or (batch, outputs), optional
    ///     Where to write the result: contiguous, of the network's precision, not overlapping X.
    /// n_threads : int, optional
    ///     At most so many threads; see `get_num_threads`. Small work uses one.
    ///
    /// Returns
    /// -------
    /// array of shape (outputs,) or (batch, outputs)
    ///     `out` if it was given.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If a shape does not fit, X holds NaN or infinity, or `out` cannot be used; nothing is written then.
    /// TypeError
    ///     If X holds no real numbers, or `out` is no array of the network's precision.
    #[pyo3(signature = (X, *, out=None, n_threads=None))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn forward<'py>(
        &self,
        X: &Bound<'py, PyAny>,
        out: Option<&Bound<'py, PyAny>>,
        n_threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        with_network!(&*self.current(), network => passes::forward(network, X, Keywords { out, n_threads }))
    }

    /// The outputs for one row of Python's numbers, as Python's numbers: the bits of `forward`, without NumPy.
    ///
    /// Parameters
    /// ----------
    /// X : iterable of float
    ///     As many as the network has inputs, all finite.
    ///
    /// Returns
    /// -------
    /// list of float
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If they are too few or too many, or one is NaN, infinite or no real number.
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn forward_one<'py>(&self, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        with_network!(&*self.current(), network => with_about(network, |about| {
            passes::run_one(X, about, |x, out, n_threads| network.forward(x, out, n_threads))
        }))
    }

    /// What `forward` does with a batch, in words: the kernel, the blocks, the threads, the GIL, and why.
    ///
    /// Parameters
    /// ----------
    /// batch : int
    ///     How many rows.
    /// n_threads : int, optional
    ///     At most so many threads; see `get_num_threads`.
    ///
    /// Returns
    /// -------
    /// str
    ///     A line each. The words are for people and change from version to version.
    #[pyo3(signature = (batch, *, n_threads=None))]
    fn explain_plan(&self, batch: &Bound<PyAny>, n_threads: Option<&Bound<PyAny>>) -> PyResult<String> {
        let batch = as_count("batch", batch, 1)? as usize;
        let n_threads = n_threads.map(|n| as_count("n_threads", n, 1)).transpose()?.map(|n| n as usize);
        Ok(with_network!(&*self.current(), network => explain_plan(network, batch, n_threads)))
    }

    /// The gradient of anything by the inputs and the parameters, from that by the outputs.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (batch, features)
    /// d_output : array of shape (batch, outputs)
    ///     Its gradient by what `forward(X)` returns.
    /// n_threads : int, optional
    ///     At most so many threads; see `get_num_threads`.
    ///
    /// Returns
    /// -------
    /// dX : array of shape (batch, features)
    /// gradients : list of (dW, db)
    ///     In the shapes of `parameters`.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If a shape does not fit, or an array holds NaN, infinity or no real numbers.
    #[pyo3(signature = (X, d_output, *, n_threads=None))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn backward<'py>(
        &self,
        X: &Bound<'py, PyAny>,
        d_output: &Bound<'py, PyAny>,
        n_threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyList>)> {
        with_network!(&*self.current(), network => gradients::backward(network, X, d_output, n_threads))
    }

    /// The loss of some rows, and its gradient by the parameters.
    ///
    /// The loss is the mean over the rows of weight / mean(weights) times the row's loss, as in `fit`.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (batch, features)
    /// y : array
    ///     As in `fit`.
    /// loss : {"cross_entropy", "binary_cross_entropy", "squared_error"}, optional
    ///     As in `fit`.
    /// sample_weight : array of shape (batch,), optional
    /// label_smoothing : float
    ///     As in `fit`.
    /// n_threads : int, optional
    ///     At most so many threads; see `get_num_threads`.
    ///
    /// Returns
    /// -------
    /// loss : float
    /// gradients : list of (dW, db)
    ///     In the shapes of `parameters`.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     As in `fit`.
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
        let data = Data { x: X, y, sample_weight };
        with_network!(&*self.current(), network => gradients::loss_and_gradients(
            network, &data, loss, label_smoothing, n_threads))
    }

    /// Trains the network from its present parameters.
    ///
    /// The whole loop runs in Rust without the GIL. Python is entered once an epoch if there is a callback or a
    /// progress bar, and twenty times a second to see whether Ctrl-C was pressed. The same seed gives the same bits for any
    /// number of threads. The network stays readable meanwhile; a callback finds it as the epoch left it.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (rows, features), or CSR matrix of SciPy
    ///     Of sparse rows a batch is in memory in full at a time.
    /// y : array
    ///     For cross_entropy integer labels (rows,) or distributions (rows, outputs); for binary_cross_entropy numbers
    ///     in [0, 1] of shape (rows, outputs); for squared_error any numbers (rows, outputs). With one output (rows,)
    ///     will do.
    /// loss : {"cross_entropy", "binary_cross_entropy", "squared_error"}, optional
    ///     By default the one that goes with the output: softmax, sigmoid, or anything else. The first two also take an
    ///     "identity" output, as logits. binary_cross_entropy and squared_error are means over the outputs.
    /// optimizer : {"adam", "adamw", "sgd"} or Optimizer
    ///     A name begins anew; an `Optimizer` goes on from its state, and keeps it.
    /// learning_rate : float
    ///     The largest one.
    /// schedule : {"constant", "warmup_cosine", "one_cycle", "coslog4", "flat_cosine"}
    ///     Its factor, over all steps: 1; up over the first tenth, then down along a cosine (Loshchilov and Hutter
    ///     2017); up from 1/25 over the first three tenths, then down (Smith and Topin 2018);
    ///     0.5 (1 - cos(2 pi log2(1 + 15 t))); 1, and a cosine down over the second half (Holzmuller et al. 2024).
    /// learning_rate_factors : sequence of (float, float), optional
    ///     Further factors for each layer's weights and biases.
    /// batch_size : int
    ///     Rows in a step. The last batch of an epoch may be smaller.
    /// epochs : int
    /// weight_decay : float
    ///     Times the weights (not the biases), added to the gradient by "sgd" and "adam", taken off the weights at the
    ///     learning rate by "adamw" (Loshchilov and Hutter 2019).
    /// weight_decay_schedule : str
    ///     Its factor, as `schedule`.
    /// dropout : float
    ///     The share of hidden values set to 0 in a step; the others grow by 1 / (1 - dropout) (Srivastava et al. 2014).
    /// dropout_schedule : str
    ///     Its factor, as `schedule`.
    /// label_smoothing : float
    ///     The share of each target that is spread over all classes (Szegedy et al. 2016).
    /// clip_norm : float, optional
    ///     Gradients with a larger 2-norm, over all parameters, are scaled down to it.
    /// sample_weight : array of shape (rows,), optional
    ///     Only the ratios count.
    /// validation : (X, y), optional
    ///     Held out: its loss and score are computed after each epoch.
    /// patience : int, optional
    ///     Stop after so many epochs without a better one.
    /// monitor : {"loss", "score"}
    ///     What tells a better epoch: the validation loss (without validation the training loss), or the validation
    ///     score, of equal ones the last.
    /// restore_best : bool
    ///     With validation: end with the parameters of the best epoch.
    /// shuffle : bool
    ///     Each epoch has an order of its own.
    /// seed : int, optional
    ///     Of shuffling and dropout. None takes that of the checkpoint in `resume`, or draws one from the operating
    ///     system.
    /// checkpoint : str or path, optional
    ///     Where to save all that training has to know to go on, after every `checkpoint_every` epochs and the last:
    ///     a safetensors file, written whole or not at all. `tinyrs.load` gives the network in it.
    /// checkpoint_every : int
    /// resume : str or path, optional
    ///     A checkpoint of the same training, with the same arguments and data: go on from there, and end with the bits
    ///     of one that was never interrupted.
    /// callback : callable, optional
    ///     Called after each epoch with a dict: epoch, loss, validation_loss, validation_score, learning_rate, seconds,
    ///     samples_per_second. Returning True ends training.
    /// progress : bool
    ///     A progress bar on standard error; needs tqdm.
    /// n_threads : int, optional
    ///     At most so many threads; see `get_num_threads`. Small steps use one.
    ///
    /// Returns
    /// -------
    /// History
    ///     The epochs' records, the best one, and why training ended.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     Before anything is changed.
    /// OSError
    ///     If a checkpoint cannot be written or read.
    /// FloatingPointError
    ///     If the loss or a parameter is no longer finite; the network is as after the last finished epoch.
    /// KeyboardInterrupt
    ///     On Ctrl-C; the network is as after the last finished epoch.
    /// RuntimeError
    ///     If the network or the optimizer is being trained already.
    #[pyo3(signature = (X, y, *, loss=None, optimizer=None, learning_rate=1e-3, schedule="constant",
                        learning_rate_factors=None, batch_size=None, epochs=None, weight_decay=0.0,
                        weight_decay_schedule="constant", dropout=0.0, dropout_schedule="constant",
                        label_smoothing=0.0, clip_norm=None, sample_weight=None, validation=None, patience=None,
                        monitor="loss", restore_best=true, shuffle=true, seed=None, checkpoint=None,
                        checkpoint_every=None, resume=None, callback=None, progress=false, n_threads=None),
           text_signature = "($self, X, y, *, loss=None, optimizer='adam', learning_rate=0.001, schedule='constant', \
                             learning_rate_factors=None, batch_size=256, epochs=10, weight_decay=0.0, \
                             weight_decay_schedule='constant', dropout=0.0, dropout_schedule='constant', \
                             label_smoothing=0.0, clip_norm=None, sample_weight=None, validation=None, \
                             patience=None, monitor='loss', restore_best=True, shuffle=True, seed=None, \
                             checkpoint=None, checkpoint_every=1, resume=None, callback=None, progress=False, \
                             n_threads=None)")]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python signature")]
    fn fit<'py>(
        slf: &Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        y: &Bound<'py, PyAny>,
        loss: Option<&str>,
        optimizer: Option<&Bound<'py, PyAny>>,
        learning_rate: f64,
        schedule: &str,
        learning_rate_factors: Option<&Bound<'py, PyAny>>,
        batch_size: Option<&Bound<'py, PyAny>>,
        epochs: Option<&Bound<'py, PyAny>>,
        weight_decay: f64,
        weight_decay_schedule: &str,
        dropout: f64,
        dropout_schedule: &str,
        label_smoothing: f64,
        clip_norm: Option<f64>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        validation: Option<&Bound<'py, PyAny>>,
        patience: Option<&Bound<'py, PyAny>>,
        monitor: &str,
        restore_best: bool,
        shuffle: bool,
        seed: Option<&Bound<'py, PyAny>>,
        checkpoint: Option<&Bound<'py, PyAny>>,
        checkpoint_every: Option<&Bound<'py, PyAny>>,
        resume: Option<&Bound<'py, PyAny>>,
        callback: Option<&Bound<'py, PyAny>>,
        progress: bool,
        n_threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let count = |argument: &str, value: Option<&Bound<PyAny>>, default: usize| {
            value.map_or(Ok(default), |value| Ok::<_, PyErr>(as_count(argument, value, 1)? as usize))
        };
        let output = slf.get().config().output_activation;
        let named = |argument, name| Schedule::parse(argument, name).map_err(to_python);
        let config = TrainingConfig {
            loss: loss_of(loss, output)?,
            learning_rate,
            schedule: named("schedule", schedule)?,
            learning_rate_factors: learning_rate_factors.map(rate_factors).transpose()?,
            batch_size: count("batch_size", batch_size, 256)?,
            epochs: count("epochs", epochs, 10)?,
            weight_decay,
            weight_decay_schedule: named("weight_decay_schedule", weight_decay_schedule)?,
            dropout,
            dropout_schedule: named("dropout_schedule", dropout_schedule)?,
            label_smoothing,
            clip_norm,
            patience: patience.map(|n| as_count("patience", n, 1)).transpose()?.map(|n| n as usize),
            monitor: Monitor::parse("monitor", monitor).map_err(to_python)?,
            restore_best,
            shuffle,
            // Until it is known whether a checkpoint has one.
            seed: 0,
            n_threads: num_threads(n_threads.map(|n| as_count("n_threads", n, 1)).transpose()?.map(|n| n as usize)),
        };
        let data = Data { x: X, y, sample_weight };
        let every = count("checkpoint_every", checkpoint_every, 1)?;
        let checkpoint = checkpoint.map(|path| (path, every));
        let seed = seed_of(seed)?;
        let request =
            training::Request { data, validation, optimizer, config, seed, checkpoint, resume, callback, progress };
        training::fit(slf, &request)
    }

    /// Copies of the parameters: a list of (W, b), W of shape (outputs, inputs) and b of shape (outputs,).
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        with_network!(&*self.current(), network => copies_of(py, network.layers()))
    }

    /// Overwrites all parameters with those of a list of (W, b), in the shapes that `parameters` gives.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If a shape does not fit or a value is NaN or infinite; nothing is changed then.
    /// RuntimeError
    ///     If the network is being trained.
    fn set_parameters(slf: &Bound<Self>, parameters: &Bound<PyAny>) -> PyResult<()> {
        let network = slf.get();
        if network.is_training.load(Ordering::Acquire) {
            return Err(in_training("parameters"));
        }
        let changed = match &*network.current() {
            AnyNetwork::F32(core) => AnyNetwork::F32(with_parameters(core, parameters)?),
            AnyNetwork::F64(core) => AnyNetwork::F64(with_parameters(core, parameters)?),
        };
        network.replace(changed);
        Ok(())
    }

    /// (inputs, hidden..., outputs)
    #[getter]
    fn layer_sizes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        with_network!(&*self.current(), network => PyTuple::new(py, network.layer_sizes()))
    }

    /// "f32" or "f64"
    #[getter]
    fn precision(&self) -> &'static str {
        match *self.current() {
            AnyNetwork::F32(_) => "f32",
            AnyNetwork::F64(_) => "f64",
        }
    }

    /// The activation of the hidden layers; a list where they have one each.
    #[getter]
    fn activation<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.config().activations[..] {
            [only] => only.name().into_bound_py_any(py),
            ref several => several.iter().map(|a| a.name()).collect::<Vec<_>>().into_bound_py_any(py),
        }
    }

    /// The activation of the last layer.
    #[getter]
    fn output_activation(&self) -> &'static str {
        self.config().output_activation.name()
    }

    /// All keyword arguments of `from_parameters`: `from_parameters(network.parameters(), **network.options)` is the
    /// same network.
    #[getter]
    fn options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        Network::options_of(py, self.precision(), &self.config())
    }

    /// The number of weights and biases.
    #[getter]
    fn n_parameters(&self) -> usize {
        with_network!(&*self.current(), network => network.n_parameters())
    }

    /// The bytes of weights and biases.
    #[getter]
    fn nbytes(&self) -> usize {
        with_network!(&*self.current(), network => network.nbytes())
    }

    /// The constructor's call, without the weights.
    fn __repr__(&self, py: Python) -> PyResult<String> {
        let sizes = with_network!(&*self.current(), network => network.layer_sizes());
        let sizes = match sizes[..] {
            [first, .., last] if sizes.len() > 4 && sizes.iter().all(|size| *size == first) => {
                format!("[{last}] * {}", sizes.len())
            }
            _ => format!("{sizes:?}"),
        };
        let (mine, default) = (self.options(py)?, Network::options_of(py, "f32", &NetworkConfig::default())?);
        let mut text = format!("Network({sizes}");
        for (name, value) in mine {
            if name.to_string() == "precision" || !value.eq(default.get_item(&name)?)? {
                text += &format!(", {name}={}", value.repr()?);
            }
        }
        Ok(text + ")")
    }

    fn __copy__(&self) -> Self {
        AnyNetwork::clone(&self.current()).into()
    }

    fn __deepcopy__(&self, _memo: &Bound<PyAny>) -> Self {
        AnyNetwork::clone(&self.current()).into()
    }

    /// Writes the network to a safetensors file, whole or not at all; `tinyrs.load` reads it.
    ///
    /// Parameters
    /// ----------
    /// path : str or path
    ///
    /// Raises
    /// ------
    /// OSError
    ///     If it cannot be written; what was there before is unharmed.
    fn save(slf: &Bound<Self>, path: &Bound<PyAny>) -> PyResult<()> {
        let model_file = slf.py().import("tinyrs.files.model_file")?;
        let bytes = model_file.call_method1("network_to_bytes", (slf,))?;
        model_file.call_method1("write", (path, bytes)).map(drop)
    }

    /// The bytes of a file, and what reads them.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyAny>,))> {
        let bytes = slf.py().import("tinyrs.files.model_file")?.call_method1("network_to_bytes", (slf,))?;
        Ok((slf.py().import("tinyrs.predictor")?.getattr("loads")?, (bytes,)))
    }
}

/// A network as it was when somebody asked.
pub struct Current(Guard<Arc<AnyNetwork>>);

impl Deref for Current {
    type Target = AnyNetwork;

    fn deref(&self) -> &AnyNetwork {
        &self.0
    }
}

/// Ends the network's training however `fit` ends.
pub struct InTraining<'a>(&'a AtomicBool);

impl Drop for InTraining<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// `argument` is what the message begins with.
fn in_training(argument: &str) -> PyErr {
    PyRuntimeError::new_err(format!("{argument}: expected a network at rest, got one that is being trained"))
}

impl From<AnyNetwork> for Network {
    fn from(network: AnyNetwork) -> Self {
        Network { network: ArcSwap::from_pointee(network), is_training: AtomicBool::new(false) }
    }
}

impl Network {
    /// The network as it is now; what comes later does not change it.
    pub(crate) fn current(&self) -> Current {
        Current(self.network.load())
    }

    /// Puts another network in this one's place.
    pub(crate) fn replace(&self, network: AnyNetwork) {
        self.network.store(Arc::new(network));
    }

    /// Marks the network as being trained, as long as the result lives.
    ///
    /// # Errors
    /// RuntimeError if it is already.
    pub(crate) fn start_training(&self) -> PyResult<InTraining<'_>> {
        if self.is_training.swap(true, Ordering::AcqRel) {
            return Err(in_training("fit"));
        }
        Ok(InTraining(&self.is_training))
    }

    fn config(&self) -> NetworkConfig {
        with_network!(&*self.current(), network => network.config().clone())
    }

    fn options_of<'py>(py: Python<'py>, precision: &str, config: &NetworkConfig) -> PyResult<Bound<'py, PyDict>> {
        let options = PyDict::new(py);
        let names: Vec<_> = config.activations.iter().map(|activation| activation.name()).collect();
        match names[..] {
            [only] => options.set_item("activation", only)?,
            _ => options.set_item("activation", names)?,
        }
        options.set_item("output_activation", config.output_activation.name())?;
        options.set_item("precision", precision)?;
        options.set_item("activation_scale", config.activation_scale)?;
        options.set_item("epsilon_exp", config.epsilon_exp)?;
        options.set_item("epsilon_square", config.epsilon_square)?;
        Ok(options)
    }
}

/// The core's plan, and what becomes of the GIL.
fn explain_plan<T: Dispatch>(network: &tinyrs_core::Network<T>, batch: usize, n_threads: Option<usize>) -> String {
    let plan = network.plan(batch, num_threads(n_threads));
    let gil = if plan.is_short() { "kept: the pass is short" } else { "released meanwhile" };
    format!("{plan}\nGIL: {gil}")
}
