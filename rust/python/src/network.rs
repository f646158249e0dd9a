//! The class `Network`. Its methods `fit`, `save` and `__reduce__` are in `tinyrs/network.py`.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use tinyrs_core::{Activation, Forward, Init, NetworkConfig, NumericEmbedding, Scalar};

use crate::arguments::{NetworkOptions, as_count, as_seed, as_sizes, random_seed, thread_count};
use crate::arrays::as_row;
use crate::errors::to_python;
use crate::fit_arguments::{ControlTuple, DataTuple, FitArguments, SettingsTuple};
use crate::gradients;
use crate::optimizer::Optimizer;
use crate::parameters::{copies_of, network_of, with_parameters};
use crate::passes::{self, PassOptions};
use crate::precision::{AnyNetwork, not_trainable, unknown_precision, with_network, with_trainable};
use crate::quantized;
use crate::samples::Data;
use crate::shared::{Current, Shared};
use crate::training::{self, HistoryArguments, Step};

/// A multi-layer perceptron (fully connected feed-forward network).
///
/// Each hidden layer computes ``activation_scale * activation(W x + b)``. The last layer does the same with the output
/// activation, and is multiplied by `activation_scale` only if `output_activation` is "same".
///
/// Parameters
/// ----------
/// layer_sizes : sequence of int
///     The number of inputs, the width of each hidden layer, and the number of outputs: at least two integers, each at
///     least 1.
/// activation : str or list of str
///     Activation of the hidden layers, one for all of them or a list with one per hidden layer: "sigmoid", "tanh",
///     "relu", "leaky_relu" (slope 0.01 for negative inputs), "selu", "gelu" (tanh approximation), "silu" or
///     "identity".
/// output_activation : {"identity", "same", "softmax", "sigmoid"}
///     Activation of the last layer. "same" stands for the activation of the last hidden layer.
/// precision : {"f32", "f64"}
///     Type of the parameters, the arithmetic and the outputs.
/// activation_scale : float
///     Factor of every activated value.
/// numeric_embedding : {"pbld"}, optional
///     A trained transform of each input x before the first layer: x itself and three sums of sixteen cosines of x, with
///     trained frequencies, phases and coefficients (Holzmuller et al. 2024). It adds two pairs of `parameters`.
/// epsilon_exp, epsilon_square : float
///     Safety margins against overflow: before `exp`, a value is clipped to [min + epsilon_exp, ln(max) - epsilon_exp];
///     before it is squared, its magnitude is clipped to sqrt(max) - epsilon_square. Here min and max are the smallest
///     and the largest finite number of the precision.
/// init : str
///     Distribution of the initial weights; biases start at 0. For a layer with n inputs and m outputs:
///     "glorot_uniform" and "glorot_normal" have the variance 2 / (n + m) (Glorot and Bengio 2010), "he_uniform" and
///     "he_normal" 2 / n (He et al. 2015), "lecun_uniform" and "lecun_normal" 1 / n (LeCun et al. 1998). "orthogonal"
///     draws orthonormal rows or columns (Saxe et al. 2014), "log_uniform" draws (U(0, 1) - 0.5) / ln(1 + n).
/// seed : int, optional
///     Seed of the initial weights: the same seed gives the same weights on every platform. None takes a random seed.
///
/// Raises
/// ------
/// ValueError, TypeError
///     If an argument is invalid.
/// MemoryError
///     If the parameters do not fit into memory.
///
/// Examples
/// --------
/// >>> network = Network([4, 16, 3], output_activation="softmax", seed=7)
/// >>> network.forward([[0.1, 0.2, 0.3, 0.4]]).shape
/// (1, 3)
#[pyclass(module = "tinyrs", name = "Network", frozen)]
pub struct Network(Shared<AnyNetwork>);

#[pymethods]
impl Network {
    // `NetworkConfig::default` has the defaults; a test compares them with the text signatures.
    #[new]
    #[pyo3(signature = (layer_sizes, *, activation=None, output_activation=None, precision="f32",
                        activation_scale=None, numeric_embedding=None, epsilon_exp=None, epsilon_square=None, init="glorot_uniform", seed=None),
           text_signature = "(layer_sizes, *, activation='tanh', output_activation='identity', precision='f32', \
                             activation_scale=1.0, numeric_embedding=None, epsilon_exp=4e-6, epsilon_square=4e-6, init='glorot_uniform', \
                             seed=None)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python signature")]
    fn new(
        layer_sizes: &Bound<PyAny>,
        activation: Option<&Bound<PyAny>>,
        output_activation: Option<&str>,
        precision: &str,
        activation_scale: Option<f64>,
        numeric_embedding: Option<&str>,
        epsilon_exp: Option<f64>,
        epsilon_square: Option<f64>,
        init: &str,
        seed: Option<&Bound<PyAny>>,
    ) -> PyResult<Self> {
        let options = NetworkOptions {
            activation,
            output_activation,
            activation_scale,
            numeric_embedding,
            epsilon_exp,
            epsilon_square,
        };
        let (config, sizes) = (options.config()?, as_sizes(layer_sizes)?);
        let init = Init::parse("init", init).map_err(to_python)?;
        let seed = as_seed(seed)?.unwrap_or_else(random_seed);
        let network = match precision {
            "f32" => tinyrs_core::Network::new(&sizes, config, init, seed).map(AnyNetwork::F32),
            "f64" => tinyrs_core::Network::new(&sizes, config, init, seed).map(AnyNetwork::F64),
            _ => return Err(unknown_precision(precision)),
        };
        Ok(network.map_err(to_python)?.into())
    }

    /// Build a network from its weights and biases.
    ///
    /// Parameters
    /// ----------
    /// parameters : iterable of (W, b)
    ///     One pair per layer: W of shape (outputs, inputs) and b of shape (outputs,). Layers are copied one at a time,
    ///     so a generator needs memory for only one of them. With a `numeric_embedding` of the first n inputs, the first
    ///     two pairs are its own: W of shape (16 n, 1) and (3 n, 16). The next W has the columns of all inputs, and then
    ///     three for each of the first n inputs.
    /// activation, output_activation, precision, activation_scale, numeric_embedding, epsilon_exp, epsilon_square
    ///     As in the constructor.
    ///
    /// Returns
    /// -------
    /// Network
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If the shapes of two layers do not fit, or a value is NaN or infinite.
    /// TypeError
    ///     If `parameters` does not consist of pairs of arrays of real numbers.
    #[classmethod]
    #[pyo3(signature = (parameters, *, activation=None, output_activation=None, precision="f32",
                        activation_scale=None, numeric_embedding=None, epsilon_exp=None, epsilon_square=None),
           text_signature = "($cls, parameters, *, activation='tanh', output_activation='identity', precision='f32', \
                             activation_scale=1.0, numeric_embedding=None, epsilon_exp=4e-6, epsilon_square=4e-6)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python signature")]
    fn from_parameters(
        _class: &Bound<PyType>,
        parameters: &Bound<PyAny>,
        activation: Option<&Bound<PyAny>>,
        output_activation: Option<&str>,
        precision: &str,
        activation_scale: Option<f64>,
        numeric_embedding: Option<&str>,
        epsilon_exp: Option<f64>,
        epsilon_square: Option<f64>,
    ) -> PyResult<Self> {
        let options = NetworkOptions {
            activation,
            output_activation,
            activation_scale,
            numeric_embedding,
            epsilon_exp,
            epsilon_square,
        };
        let config = options.config()?;
        let network = match precision {
            "f32" => AnyNetwork::F32(network_of(parameters, config)?),
            "f64" => AnyNetwork::F64(network_of(parameters, config)?),
            _ => return Err(unknown_precision(precision)),
        };
        Ok(network.into())
    }

    /// Compute the outputs for one row or a batch of rows.
    ///
    /// Outputs are always finite: a sum that overflows becomes the largest finite number. A row gives the same bits in
    /// any batch and for any number of threads.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (features,) or (batch, features), or SciPy CSR matrix
    ///     Finite real numbers. A C-contiguous array of the network's precision is used in place; other arrays are
    ///     converted to one first. A sparse matrix is made dense a block of rows at a time.
    /// out : array of shape (outputs,) or (batch, outputs), optional
    ///     Array to write the outputs to: C-contiguous, of the network's precision, and not overlapping X.
    /// n_threads : int, optional
    ///     Largest number of threads; by default `tinyrs.get_num_threads()`. Small batches use one thread.
    ///
    /// Returns
    /// -------
    /// array of shape (outputs,) or (batch, outputs)
    ///     `out`, if it was given.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If a shape does not fit, X holds NaN or infinity, or `out` cannot be written to. `out` is unchanged then.
    /// TypeError
    ///     If X does not hold real numbers, or `out` is not an array of the network's precision.
    #[pyo3(signature = (X, *, out=None, n_threads=None))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn forward<'py>(
        &self,
        X: &Bound<'py, PyAny>,
        out: Option<&Bound<'py, PyAny>>,
        n_threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        with_network!(&*self.current(), network => passes::forward(network, X, PassOptions { out, n_threads }))
    }

    /// Compute the outputs for one row given as Python numbers, without importing NumPy.
    ///
    /// Parameters
    /// ----------
    /// X : iterable of float
    ///     One finite number per input.
    ///
    /// Returns
    /// -------
    /// list of float
    ///     The same bits as from `forward`.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If the number of values is wrong, or a value is NaN or infinite.
    /// TypeError
    ///     If X is not iterable, or a value is not a real number.
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn forward_one<'py>(&self, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = X.py();
        with_network!(&*self.current(), network => {
            let outputs = passes::run_one(py, network, &as_row("X", X)?, |x, out, n_threads| {
                network.forward(x, out, n_threads)
            })?;
            PyList::new(py, outputs.into_iter().map(Scalar::to_f64))
        })
    }

    /// Return a copy whose weights take fewer bytes, for faster predictions.
    ///
    /// Biases, activations and outputs stay float32. The copy cannot be trained. A row still gives the same bits in any
    /// batch and for any number of threads.
    ///
    /// Parameters
    /// ----------
    /// kind : str or sequence of str
    ///     The format of the weights, one for all layers or a sequence with one per layer:
    ///
    ///     - "f16": half-precision numbers, at most 65504; half the memory. Inputs and sums of the products are float32.
    ///     - "bf16": weights and the inputs of each product are rounded to bfloat16, which has three significant digits;
    ///       half the memory. Faster for batches on processors with instructions for bfloat16.
    ///     - "int8": integers from -127 to 127 with a scale for each output; a quarter of the memory. Each row of inputs
    ///       is rounded to such integers too, with a scale of its own. The sums of their products are exact. The fastest.
    ///     - "int8_weights": the same weights; inputs and sums are float32.
    ///     - "f32": float32, only in a sequence: the layer is not quantized.
    ///
    /// Returns
    /// -------
    /// Network
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If a weight is too large for its format, a layer has more than 133,144 inputs for "int8", `kind` does not fit
    ///     the layers, or the network is quantized already.
    fn quantize(&self, py: Python, kind: &Bound<PyAny>) -> PyResult<Self> {
        Ok(quantized::quantize(py, &self.current(), kind)?.into())
    }

    /// Build a network whose outputs are the means of those of several networks.
    ///
    /// It predicts, and can be quantized, saved and pickled. It cannot be trained and has no `parameters` of its own:
    /// those of its networks are in `members`.
    ///
    /// Parameters
    /// ----------
    /// members : iterable of Network
    ///     Networks of the same sizes, activations and formats, of which copies are made.
    ///
    /// Returns
    /// -------
    /// Network
    ///     A copy of the only network, if there is one.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If there is no network, one is an ensemble, or two are not alike.
    #[classmethod]
    fn ensemble(_class: &Bound<PyType>, members: &Bound<PyAny>) -> PyResult<Self> {
        let copy = |item: PyResult<Bound<PyAny>>| item?.cast::<Network>()?.get().current().try_clone();
        Ok(AnyNetwork::ensemble(members.try_iter()?.map(copy).collect::<PyResult<_>>()?)?.into())
    }

    /// Copies of the networks whose outputs are averaged; a list of one copy if this is not an ensemble.
    #[getter]
    fn members(&self) -> PyResult<Vec<Self>> {
        Ok(self.current().members()?.into_iter().map(Self::from).collect())
    }

    /// Return the parameters as a model file holds them: a list with a dict per layer of "format", the tensors "W" and
    /// "b" and, for integers, "scale".
    fn _stored<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        quantized::stored(py, &self.current())
    }

    /// Build a quantized network from what `_stored` returned. The keyword arguments are those of `from_parameters`.
    #[classmethod]
    #[pyo3(signature = (layers, *, activation=None, output_activation=None, precision="f32",
                        activation_scale=None, numeric_embedding=None, epsilon_exp=None, epsilon_square=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python signature")]
    fn _from_stored(
        _class: &Bound<PyType>,
        layers: &Bound<PyAny>,
        activation: Option<&Bound<PyAny>>,
        output_activation: Option<&str>,
        precision: &str,
        activation_scale: Option<f64>,
        numeric_embedding: Option<&str>,
        epsilon_exp: Option<f64>,
        epsilon_square: Option<f64>,
    ) -> PyResult<Self> {
        if precision != "f32" {
            let message = format!("precision: expected \"f32\" for a quantized network, got {precision:?}");
            return Err(PyValueError::new_err(message));
        }
        let options = NetworkOptions {
            activation,
            output_activation,
            activation_scale,
            numeric_embedding,
            epsilon_exp,
            epsilon_square,
        };
        Ok(AnyNetwork::Quantized(quantized::from_stored(layers, options.config()?)?).into())
    }

    /// Explain how `forward` computes a batch: the kernel, the blocks, the threads and the GIL, and the reason for
    /// each.
    ///
    /// Parameters
    /// ----------
    /// batch : int
    ///     The number of rows.
    /// n_threads : int, optional
    ///     Largest number of threads; by default `tinyrs.get_num_threads()`.
    ///
    /// Returns
    /// -------
    /// str
    ///     A text of a few lines for people to read; its wording changes from version to version.
    #[pyo3(signature = (batch, *, n_threads=None))]
    fn explain_plan(&self, batch: &Bound<PyAny>, n_threads: Option<&Bound<PyAny>>) -> PyResult<String> {
        let batch = as_count("batch", batch, 1)? as usize;
        let n_threads = thread_count(n_threads)?;
        with_network!(&*self.current(), network => {
            let plan = network.plan(batch, n_threads);
            let gil = if plan.is_short() { "kept: the pass is short" } else { "released during the pass" };
            Ok(format!("{plan}\nGIL: {gil}"))
        })
    }

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

    /// Return copies of the weights and biases.
    ///
    /// Those of a quantized network are the float32 numbers that its weights stand for.
    ///
    /// Returns
    /// -------
    /// list of (W, b)
    ///     One pair per layer: W of shape (outputs, inputs) and b of shape (outputs,); before them the two pairs of a
    ///     `numeric_embedding`, see `from_parameters`.
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        match &*self.current() {
            AnyNetwork::F32(network) => copies_of(py, network.layers()),
            AnyNetwork::F64(network) => copies_of(py, network.layers()),
            AnyNetwork::Quantized(network) => quantized::dequantized(py, network.layers()),
            other @ AnyNetwork::Ensemble(_) => Err(not_trainable(other)),
        }
    }

    /// Replace all weights and biases.
    ///
    /// Parameters
    /// ----------
    /// parameters : iterable of (W, b)
    ///     In the shapes that `parameters` returns.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If a shape does not fit, or an array does not hold finite real numbers. The network is unchanged then.
    /// RuntimeError
    ///     If the network is being trained by another thread.
    fn set_parameters(&self, parameters: &Bound<PyAny>) -> PyResult<()> {
        let changed = match &*self.current() {
            AnyNetwork::F32(network) => AnyNetwork::F32(with_parameters(network, parameters)?),
            AnyNetwork::F64(network) => AnyNetwork::F64(with_parameters(network, parameters)?),
            other => return Err(not_trainable(other)),
        };
        if self.0.set(changed) { Ok(()) } else { Err(training::being_trained()) }
    }

    /// The number of inputs, the width of each hidden layer, and the number of outputs, as a tuple.
    #[getter]
    fn layer_sizes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        with_network!(&*self.current(), network => PyTuple::new(py, network.layer_sizes()))
    }

    /// The type of inputs, outputs and biases: "f32" or "f64". It is "f32" for quantized networks.
    #[getter]
    fn precision(&self) -> &'static str {
        self.current().precision()
    }

    /// The format of the weights: "f32", "f64", "f16", "bf16", "int8" or "int8_weights", or "mixed" if that of a layer
    /// differs.
    #[getter]
    fn weights(&self) -> &'static str {
        self.current().weights()
    }

    /// The format of the weights of each layer, as a tuple.
    #[getter]
    fn layer_weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, quantized::layer_weights(&self.current()))
    }

    /// The activation of all hidden layers, or a list with one activation per hidden layer.
    #[getter]
    fn activation<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        activation_of(py, &self.config())
    }

    /// The transform of single inputs before the first layer, "pbld" or None.
    #[getter]
    fn numeric_embedding(&self) -> Option<&'static str> {
        self.config().numeric_embedding.map(NumericEmbedding::name)
    }

    /// The activation of the last layer.
    #[getter]
    fn output_activation(&self) -> &'static str {
        self.config().output_activation.name()
    }

    /// The keyword arguments of `from_parameters` as a dict.
    ///
    /// ``Network.from_parameters(network.parameters(), **network.options)`` is a copy of the network, with float32
    /// weights if it is quantized.
    #[getter]
    fn options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        options_of(py, self.precision(), &self.config())
    }

    /// The number of weights and biases.
    #[getter]
    fn n_parameters(&self) -> usize {
        with_network!(&*self.current(), network => network.n_parameters())
    }

    /// The size of the weights and biases in bytes, with the scales of a quantized network.
    #[getter]
    fn nbytes(&self) -> usize {
        with_network!(&*self.current(), network => network.nbytes())
    }

    /// The calls that build such a network, with other weights.
    fn __repr__(&self, py: Python) -> PyResult<String> {
        let current = self.current();
        let sizes = with_network!(&*current, network => network.layer_sizes());
        let sizes = match sizes {
            [first, .., last] if sizes.len() > 4 && sizes.iter().all(|size| size == first) => {
                format!("[{last}] * {}", sizes.len())
            }
            _ => format!("{sizes:?}"),
        };
        let (options, defaults) = (self.options(py)?, options_of(py, "f32", &NetworkConfig::default())?);
        let mut text = format!("Network({sizes}");
        for (name, value) in options {
            if name.to_string() == "precision"
                || !defaults.get_item(&name)?.is_some_and(|it| it.eq(&value).unwrap_or(false))
            {
                text += &format!(", {name}={}", value.repr()?);
            }
        }
        text += ")";
        let members = current.members()?.len();
        if members > 1 {
            text = format!("Network.ensemble([{text}] * {members})");
        }
        if current.weights() != current.precision() {
            let kind = match current.weights() {
                "mixed" => quantized::layer_weights(&current).into_bound_py_any(py)?,
                kind => kind.into_bound_py_any(py)?,
            };
            text += &format!(".quantize({})", kind.repr()?);
        }
        Ok(text)
    }

    fn __copy__(&self) -> PyResult<Self> {
        Ok(self.current().try_clone()?.into())
    }

    fn __deepcopy__(&self, _memo: &Bound<PyAny>) -> PyResult<Self> {
        self.__copy__()
    }
}

impl From<AnyNetwork> for Network {
    fn from(network: AnyNetwork) -> Self {
        Network(Shared::new(network))
    }
}

impl Network {
    /// The core network as it is now; training or `set_parameters` do not change it.
    pub fn current(&self) -> Current<AnyNetwork> {
        self.0.current()
    }

    fn config(&self) -> NetworkConfig {
        with_network!(&*self.current(), network => network.config().clone())
    }
}

/// The argument `activation` of the constructors.
fn activation_of<'py>(py: Python<'py>, config: &NetworkConfig) -> PyResult<Bound<'py, PyAny>> {
    match config.activations[..] {
        [only] => only.name().into_bound_py_any(py),
        ref several => several.iter().copied().map(Activation::name).collect::<Vec<_>>().into_bound_py_any(py),
    }
}

/// The keyword arguments of `from_parameters`.
fn options_of<'py>(py: Python<'py>, precision: &str, config: &NetworkConfig) -> PyResult<Bound<'py, PyDict>> {
    let options = PyDict::new(py);
    options.set_item("activation", activation_of(py, config)?)?;
    options.set_item("output_activation", config.output_activation.name())?;
    options.set_item("precision", precision)?;
    options.set_item("activation_scale", config.activation_scale)?;
    // Left out without an embedding, so that files of other networks stay as older versions wrote them.
    if let Some(embedding) = config.numeric_embedding {
        options.set_item("numeric_embedding", embedding.name())?;
    }
    options.set_item("epsilon_exp", config.epsilon_exp)?;
    options.set_item("epsilon_square", config.epsilon_square)?;
    Ok(options)
}
