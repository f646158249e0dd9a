//! The properties of `Network`, and its `repr`.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tinyrs_core::{Activation, NetworkConfig, NumericEmbedding};

use crate::network::Network;
use crate::precision::with_network;
use crate::quantized;

#[pymethods]
impl Network {
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

    /// The transform of single inputs before the first layer, "pbld" or None; "pbld" for an ensemble if some of its
    /// networks have it.
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
    /// weights if it is quantized. In an ensemble, each of `members` has its own options, which may differ in
    /// `numeric_embedding`.
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
        let members = current.members()?.into_iter().map(|member| constructor_call(py, &Network::from(member)));
        let members = members.collect::<PyResult<Vec<_>>>()?;
        let mut text = match &members[..] {
            [only] => only.clone(),
            [first, others @ ..] if others.iter().all(|other| other == first) => {
                format!("Network.ensemble([{first}] * {})", members.len())
            }
            _ => format!("Network.ensemble([{}])", members.join(", ")),
        };
        if current.weights() != current.precision() {
            let kind = match current.weights() {
                "mixed" => quantized::layer_weights(&current).into_bound_py_any(py)?,
                kind => kind.into_bound_py_any(py)?,
            };
            text += &format!(".quantize({})", kind.repr()?);
        }
        Ok(text)
    }
}

/// The call that builds a single network like this one in full precision.
fn constructor_call(py: Python, network: &Network) -> PyResult<String> {
    let current = network.current();
    let sizes = with_network!(&*current, network => network.layer_sizes());
    let sizes = match sizes {
        [first, .., last] if sizes.len() > 4 && sizes.iter().all(|size| size == first) => {
            format!("[{last}] * {}", sizes.len())
        }
        _ => format!("{sizes:?}"),
    };
    let (options, defaults) = (network.options(py)?, options_of(py, "f32", &NetworkConfig::default())?);
    let mut text = format!("Network({sizes}");
    for (name, value) in options {
        if name.to_string() == "precision"
            || !defaults.get_item(&name)?.is_some_and(|it| it.eq(&value).unwrap_or(false))
        {
            text += &format!(", {name}={}", value.repr()?);
        }
    }
    Ok(text + ")")
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
