//! The class `Optimizer`: an algorithm with its hyperparameters and, after its first use, its state.

use numpy::Element;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tinyrs_core::{Algorithm, Dispatch, Moment, OptimizerConfig};

use crate::arrays::{array_of, as_array, as_slice};
use crate::errors::to_python;
use crate::precision::AnyOptimizer;
use crate::shared::Shared;

/// An optimization algorithm with its hyperparameters and its state.
///
/// Pass it to `Network.fit` to choose the hyperparameters, or to continue in a later call with the state of an earlier
/// one: `fit` starts from the state of the optimizer and stores the new state in it. An optimizer belongs to networks
/// of one precision and one sequence of layer sizes, those of its first use. It can be copied and pickled.
///
/// Parameters
/// ----------
/// algorithm : {"adam", "adamw", "sgd"}
///     Adam (Kingma and Ba 2015), Adam with decoupled weight decay (Loshchilov and Hutter 2019), or stochastic gradient
///     descent with momentum (Sutskever et al. 2013).
/// momentum : float
///     Decay rate of the velocity in "sgd", in [0, 1).
/// nesterov : bool
///     Whether "sgd" uses Nesterov momentum.
/// beta1, beta2 : float
///     Decay rates of the moving averages of the gradient and of its square in "adam" and "adamw", in [0, 1).
/// epsilon : float
///     Term added to the root of the mean square in "adam" and "adamw", at least 1e-30.
///
/// Raises
/// ------
/// ValueError
///     If the algorithm is unknown or a number is out of range.
///
/// Examples
/// --------
/// >>> optimizer = Optimizer("sgd", momentum=0.95, nesterov=True)
/// >>> optimizer.steps
/// 0
#[pyclass(module = "tinyrs", name = "Optimizer", frozen)]
pub struct Optimizer(pub Shared<AnyOptimizer>);

#[pymethods]
impl Optimizer {
    #[new]
    #[pyo3(signature = (algorithm="adam", *, momentum=0.9, nesterov=false, beta1=0.9, beta2=0.999, epsilon=1e-8))]
    fn new(algorithm: &str, momentum: f64, nesterov: bool, beta1: f64, beta2: f64, epsilon: f64) -> PyResult<Self> {
        let algorithm = Algorithm::parse("algorithm", algorithm).map_err(to_python)?;
        let config = OptimizerConfig { algorithm, momentum, nesterov, beta1, beta2, epsilon };
        // Only checks the numbers.
        tinyrs_core::Optimizer::<f32>::new(config).map_err(to_python)?;
        Ok(AnyOptimizer::New(config).into())
    }

    /// The number of steps taken so far.
    #[getter]
    fn steps(&self) -> u64 {
        match &*self.0.current() {
            AnyOptimizer::F32(optimizer) => optimizer.steps(),
            AnyOptimizer::F64(optimizer) => optimizer.steps(),
            AnyOptimizer::New(_) => 0,
        }
    }

    /// The call of the constructor, followed by the number of steps if there are any.
    fn __repr__(&self) -> String {
        match self.steps() {
            0 => repr(&self.config()),
            steps => format!("{} after {steps} steps", repr(&self.config())),
        }
    }

    fn __copy__(&self) -> PyResult<Self> {
        Ok(self.0.current().try_clone()?.into())
    }

    fn __deepcopy__(&self, _memo: &Bound<PyAny>) -> PyResult<Self> {
        self.__copy__()
    }

    /// Pickle the optimizer as a call of the constructor and a state. The state is None before the first use, then a
    /// dict: precision, steps, and lists of (W, b) with the first and second moments.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (), Option<Bound<'py, PyDict>>)> {
        let config = self.config();
        let keywords = PyDict::new(py);
        keywords.set_item("algorithm", config.algorithm.name())?;
        keywords.set_item("momentum", config.momentum)?;
        keywords.set_item("nesterov", config.nesterov)?;
        keywords.set_item("beta1", config.beta1)?;
        keywords.set_item("beta2", config.beta2)?;
        keywords.set_item("epsilon", config.epsilon)?;
        let constructor = py.get_type::<Optimizer>();
        let call = py.import("functools")?.getattr("partial")?.call((constructor,), Some(&keywords))?;
        let state = match &*self.0.current() {
            AnyOptimizer::F32(optimizer) => Some(state_of(py, optimizer)?),
            AnyOptimizer::F64(optimizer) => Some(state_of(py, optimizer)?),
            AnyOptimizer::New(_) => None,
        };
        Ok((call, (), state))
    }

    /// Restore the state that `__reduce__` returned.
    fn __setstate__(&self, state: &Bound<PyDict>) -> PyResult<()> {
        let precision: String = item(state, "precision")?.extract()?;
        let restored = match &*precision {
            "f32" => AnyOptimizer::F32(with_state(self.config(), state)?),
            "f64" => AnyOptimizer::F64(with_state(self.config(), state)?),
            _ => {
                return Err(PyValueError::new_err(format!(
                    "state: expected precision \"f32\" or \"f64\", got {precision:?}"
                )));
            }
        };
        if self.0.set(restored) { Ok(()) } else { Err(in_use()) }
    }
}

impl From<AnyOptimizer> for Optimizer {
    fn from(optimizer: AnyOptimizer) -> Self {
        Optimizer(Shared::new(optimizer))
    }
}

impl Optimizer {
    pub fn config(&self) -> OptimizerConfig {
        match &*self.0.current() {
            AnyOptimizer::New(config) => *config,
            AnyOptimizer::F32(optimizer) => *optimizer.config(),
            AnyOptimizer::F64(optimizer) => *optimizer.config(),
        }
    }
}

/// The call of the constructor with this configuration.
pub fn repr(config: &OptimizerConfig) -> String {
    let OptimizerConfig { algorithm, momentum, nesterov, beta1, beta2, epsilon } = *config;
    let nesterov = if nesterov { "True" } else { "False" };
    match algorithm {
        Algorithm::Sgd => format!("Optimizer('sgd', momentum={momentum}, nesterov={nesterov})"),
        _ => format!("Optimizer('{algorithm}', beta1={beta1}, beta2={beta2}, epsilon={epsilon:?})"),
    }
}

/// The state of `optimizer` as a dict.
fn state_of<'py, T: Dispatch + Element>(
    py: Python<'py>,
    optimizer: &tinyrs_core::Optimizer<T>,
) -> PyResult<Bound<'py, PyDict>> {
    let list = |moments: &[Moment<T>]| -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for moment in moments {
            let (weight, bias) = moment.values();
            list.append((array_of(py, &[weight.len()], weight)?, array_of(py, &[bias.len()], bias)?))?;
        }
        Ok(list)
    };
    let (first, second) = optimizer.moments();
    let state = PyDict::new(py);
    state.set_item("precision", T::NAME)?;
    state.set_item("steps", optimizer.steps())?;
    state.set_item("first", list(first)?)?;
    state.set_item("second", list(second)?)?;
    Ok(state)
}

/// An optimizer with the state in a dict: the inverse of [`state_of`].
fn with_state<T: Dispatch + Element>(
    config: OptimizerConfig,
    state: &Bound<PyDict>,
) -> PyResult<tinyrs_core::Optimizer<T>> {
    let moments = |name: &str| -> PyResult<Vec<Moment<T>>> {
        let pair = |item: PyResult<Bound<PyAny>>| -> PyResult<Moment<T>> {
            let (weight, bias): (Bound<PyAny>, Bound<PyAny>) = item?.extract()?;
            let (weight, bias) = (as_array(name, &weight)?, as_array(name, &bias)?);
            Moment::new(as_slice(&weight), as_slice(&bias)).map_err(to_python)
        };
        item(state, name)?.try_iter()?.map(pair).collect()
    };
    let steps = item(state, "steps")?.extract()?;
    tinyrs_core::Optimizer::with_state(config, steps, moments("first")?, moments("second")?).map_err(to_python)
}

/// The error for an optimizer that a call of `fit` uses at present.
pub fn in_use() -> PyErr {
    PyRuntimeError::new_err("optimizer: it is in use by another call of fit; wait for that call to end")
}

fn item<'py>(state: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    state
        .get_item(name)?
        .ok_or_else(|| PyTypeError::new_err(format!("state: expected an item {name:?}, which is missing")))
}
