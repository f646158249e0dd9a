//! The class `Network`: one core network of either precision behind one Python type.

use std::hash::{BuildHasher, RandomState};

use numpy::{Element, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use tinyrs_core::{Config, Dispatch, Layer, Matrix, MatrixMut, num_threads};

use crate::arrays::{as_array, as_count, as_output, as_slice, tuple};
use crate::errors::to_python;
use crate::parameters::{copies_of, network_of, set_parameters};

/// Work below this many multiply-adds keeps the GIL: about 20 us at the rate of one core, less than what taking it
/// back can cost when other threads want it.
const KEEP_GIL_BELOW: usize = 500_000;

/// A `#[pyclass]` cannot be generic.
#[derive(Clone)]
enum AnyNetwork {
    F32(tinyrs_core::Network<f32>),
    F64(tinyrs_core::Network<f64>),
}

/// Evaluates `$body` with `$network` bound to the network of either precision.
macro_rules! with_network {
    ($any:expr, $network:ident => $body:expr) => {
        match $any {
            AnyNetwork::F32($network) => $body,
            AnyNetwork::F64($network) => $body,
        }
    };
}

/// A multi-layer perceptron: activation(W x + b) * activation_scale for each hidden layer, and an output.
///
/// Parameters
/// ----------
/// layer_sizes : sequence of int
///     (inputs, hidden..., outputs), each at least 1.
/// activation : {"sigmoid", "tanh", "relu", "identity"}
///     Of the hidden layers.
/// output_activation : {"identity", "same", "softmax"}
///     Of the last layer; "same" does what the hidden layers do, scale included.
/// precision : {"f32", "f64"}
///     Of the parameters, the arithmetic and the results.
/// activation_scale : float
///     Every activated value is multiplied by it.
/// epsilon_exp, epsilon_square : float
///     A value is clipped to [min + epsilon_exp, ln(max) - epsilon_exp] before it is exponentiated, and to
///     sqrt(max) - epsilon_square before it is squared, min and max being those of the precision.
/// seed : int, optional
///     Of the weights: uniform in plus or minus sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010), the same on
///     every platform. Biases start at 0. None draws a seed from the operating system.
///
/// Raises
/// ------
/// ValueError, TypeError
///     The message names the argument, what was expected and what came.
/// MemoryError
///     If the parameters do not fit into memory.
#[pyclass(module = "tinyrs", name = "Network")]
pub struct Network(AnyNetwork);

/// The keyword arguments that both constructors share.
struct Options<'a> {
    activation: &'a str,
    output_activation: &'a str,
    activation_scale: f64,
    epsilon_exp: f64,
    epsilon_square: f64,
}

impl Options<'_> {
    fn config(&self) -> PyResult<Config> {
        Ok(Config {
            activation: self.activation.parse().map_err(to_python)?,
            output_activation: self.output_activation.parse().map_err(to_python)?,
            activation_scale: self.activation_scale,
            epsilon_exp: self.epsilon_exp,
            epsilon_square: self.epsilon_square,
        })
    }
}

fn unknown_precision(got: &str) -> PyErr {
    PyValueError::new_err(format!("precision: expected \"f32\" or \"f64\", got {got:?}"))
}

#[pymethods]
impl Network {
    #[new]
    #[pyo3(signature = (layer_sizes, *, activation="tanh", output_activation="identity", precision="f32",
                        activation_scale=1.0, epsilon_exp=4e-6, epsilon_square=4e-6, seed=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python signature")]
    fn new(
        layer_sizes: &Bound<PyAny>,
        activation: &str,
        output_activation: &str,
        precision: &str,
        activation_scale: f64,
        epsilon_exp: f64,
        epsilon_square: f64,
        seed: Option<&Bound<PyAny>>,
    ) -> PyResult<Self> {
        let config =
            Options { activation, output_activation, activation_scale, epsilon_exp, epsilon_square }.config()?;
        let sizes = sizes(layer_sizes)?;
        let seed = match seed {
            Some(seed) => as_count("seed", seed, 0)?,
            // The standard library seeds its hash maps from the operating system's randomness.
            None => RandomState::new().hash_one(0),
        };
        Ok(Network(match precision {
            "f32" => AnyNetwork::F32(tinyrs_core::Network::new(&sizes, config, seed).map_err(to_python)?),
            "f64" => AnyNetwork::F64(tinyrs_core::Network::new(&sizes, config, seed).map_err(to_python)?),
            _ => return Err(unknown_precision(precision)),
        }))
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
    #[pyo3(signature = (parameters, *, activation="tanh", output_activation="identity", precision="f32",
                        activation_scale=1.0, epsilon_exp=4e-6, epsilon_square=4e-6))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of the Python signature")]
    fn from_parameters(
        _class: &Bound<PyType>,
        parameters: &Bound<PyAny>,
        activation: &str,
        output_activation: &str,
        precision: &str,
        activation_scale: f64,
        epsilon_exp: f64,
        epsilon_square: f64,
    ) -> PyResult<Self> {
        let config =
            Options { activation, output_activation, activation_scale, epsilon_exp, epsilon_square }.config()?;
        Ok(Network(match precision {
            "f32" => AnyNetwork::F32(network_of(parameters, config)?),
            "f64" => AnyNetwork::F64(network_of(parameters, config)?),
            _ => return Err(unknown_precision(precision)),
        }))
    }

    /// The outputs for one row or for a batch.
    ///
    /// Finite in, finite out: sums that overflow stop at the largest finite number. The result has the same bits for
    /// any number of threads. A contiguous array of the network's precision is read where it is, anything else is
    /// converted once.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (features,) or (batch, features)
    ///     Real numbers, all finite.
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
        let requested = n_threads.map(|n| as_count("n_threads", n, 1)).transpose()?.map(|n| n as usize);
        with_network!(&self.0, network => forward(network, X, out, requested))
    }

    /// Copies of the parameters: a list of (W, b), W of shape (outputs, inputs) and b of shape (outputs,).
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        with_network!(&self.0, network => copies_of(py, network))
    }

    /// Overwrites all parameters with those of a list of (W, b), in the shapes that `parameters` gives.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If a shape does not fit or a value is NaN or infinite; nothing is changed then.
    /// RuntimeError
    ///     If another thread is using the network at this moment.
    fn set_parameters(slf: &Bound<Self>, parameters: &Bound<PyAny>) -> PyResult<()> {
        let mut network = slf.try_borrow_mut().map_err(|_| {
            PyRuntimeError::new_err("parameters: expected a network at rest, got one that another thread is using")
        })?;
        with_network!(&mut network.0, network => set_parameters(network, parameters))
    }

    /// (inputs, hidden..., outputs)
    #[getter]
    fn layer_sizes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        with_network!(&self.0, network => PyTuple::new(py, network.layer_sizes()))
    }

    /// "f32" or "f64"
    #[getter]
    fn precision(&self) -> &'static str {
        match self.0 {
            AnyNetwork::F32(_) => "f32",
            AnyNetwork::F64(_) => "f64",
        }
    }

    /// The activation of the hidden layers.
    #[getter]
    fn activation(&self) -> &'static str {
        self.config().activation.name()
    }

    /// The activation of the last layer.
    #[getter]
    fn output_activation(&self) -> &'static str {
        self.config().output_activation.name()
    }

    /// The number of weights and biases.
    #[getter]
    fn n_parameters(&self) -> usize {
        with_network!(&self.0, network => network.n_parameters())
    }

    /// The bytes of weights and biases.
    #[getter]
    fn nbytes(&self) -> usize {
        with_network!(&self.0, network => network.nbytes())
    }

    /// The constructor's call, without the weights.
    fn __repr__(&self, py: Python) -> PyResult<String> {
        let sizes = with_network!(&self.0, network => network.layer_sizes());
        let sizes = match sizes[..] {
            [first, .., last] if sizes.len() > 4 && sizes.iter().all(|size| *size == first) => {
                format!("[{last}] * {}", sizes.len())
            }
            _ => format!("{sizes:?}"),
        };
        let (mine, default) = (self.options(py)?, Network::options_of(py, "f32", &Config::default())?);
        let mut text = format!("Network({sizes}");
        for (name, value) in mine {
            if name.to_string() == "precision" || !value.eq(default.get_item(&name)?)? {
                text += &format!(", {name}={}", value.repr()?);
            }
        }
        Ok(text + ")")
    }

    fn __copy__(&self) -> Self {
        Network(self.0.clone())
    }

    fn __deepcopy__(&self, _memo: &Bound<PyAny>) -> Self {
        Network(self.0.clone())
    }

    /// A call of `from_parameters` with the options bound and the parameters as its argument.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyList>,))> {
        let constructor = py.get_type::<Network>().getattr("from_parameters")?;
        let call = py.import("functools")?.getattr("partial")?.call((constructor,), Some(&self.options(py)?))?;
        Ok((call, (self.parameters(py)?,)))
    }
}

impl Network {
    fn config(&self) -> &Config {
        with_network!(&self.0, network => network.config())
    }

    fn options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        Network::options_of(py, self.precision(), self.config())
    }

    fn options_of<'py>(py: Python<'py>, precision: &str, config: &Config) -> PyResult<Bound<'py, PyDict>> {
        let options = PyDict::new(py);
        options.set_item("activation", config.activation.name())?;
        options.set_item("output_activation", config.output_activation.name())?;
        options.set_item("precision", precision)?;
        options.set_item("activation_scale", config.activation_scale)?;
        options.set_item("epsilon_exp", config.epsilon_exp)?;
        options.set_item("epsilon_square", config.epsilon_square)?;
        Ok(options)
    }
}

fn sizes(layer_sizes: &Bound<PyAny>) -> PyResult<Vec<usize>> {
    let not_a_sequence = |_| {
        let got = layer_sizes.get_type();
        PyTypeError::new_err(format!("layer_sizes: expected a sequence of integers, got {got}"))
    };
    let items = layer_sizes.try_iter().map_err(not_a_sequence)?.enumerate();
    items.map(|(index, item)| Ok(as_count(&format!("layer_sizes[{index}]"), &item?, 1)? as usize)).collect()
}

fn forward<'py, T: Dispatch + Element>(
    network: &tinyrs_core::Network<T>,
    x: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
    n_threads: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = x.py();
    let array = as_array::<T>("X", x)?;
    let x = as_slice(&array);
    let outputs = network.layers().last().map_or(0, Layer::outputs);
    let (shape, rows, columns) = match *array.shape() {
        [features] => (&[outputs][..], 1, features),
        [batch, features] => (&[batch, outputs][..], batch, features),
        ref other => {
            let message = format!("X: expected shape (features,) or (batch, features), got {}", tuple(other));
            return Err(PyValueError::new_err(message));
        }
    };
    let result = match out {
        Some(out) => as_output(out, shape, x)?,
        // SAFETY: not read before it is written: `forward` writes every element or returns an error.
        None => unsafe { PyArrayDyn::<T>::new(py, shape, false) },
    };
    // SAFETY: contiguous and aligned: made so above or checked. Nobody else has a new one; that no other thread
    // uses the caller's `out` meanwhile is what NumPy asks of its callers too.
    let y = unsafe { std::slice::from_raw_parts_mut(result.data(), result.len()) };
    let (x, mut y) = (
        Matrix::new("X", x, rows, columns).map_err(to_python)?,
        MatrixMut::new("out", y, rows, outputs).map_err(to_python)?,
    );
    let work = network.n_parameters().saturating_mul(rows);
    let outcome = if work < KEEP_GIL_BELOW {
        network.forward(x, &mut y, 1)
    } else {
        py.detach(|| network.forward(x, &mut y, num_threads(n_threads)))
    };
    outcome.map_err(to_python)?;
    Ok(result.into_any())
}
