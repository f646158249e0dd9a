//! The class `Network`: how it is made, and its parameters.
//!
//! Its other methods are in the files `network_*.rs`; `fit`, `save` and `__reduce__` are in `tinyrs/network.py`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};
use tinyrs_core::{Init, NetworkConfig};

use crate::arguments::{NetworkOptions, as_seed, as_sizes, random_seed};
use crate::errors::to_python;
use crate::parameters::{copies_of, network_of, with_parameters};
use crate::precision::{AnyNetwork, not_trainable, unknown_precision, with_network};
use crate::quantized;
use crate::shared::{Current, Shared};
use crate::training;

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
pub struct Network(pub Shared<AnyNetwork>);

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
    ///     Networks of the same sizes, activations and formats, of which copies are made. Some may have a numeric
    ///     embedding and others none.
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

    /// What the network computes besides its parameters.
    pub fn config(&self) -> NetworkConfig {
        with_network!(&*self.current(), network => network.config().clone())
    }
}
