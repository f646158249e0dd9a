//! The class `RowPredictor`: predictions for one row of Python values, without NumPy.

use std::sync::Arc;

use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use tinyrs_core::{Forward, Scalar};

use crate::column_check::ColumnCheck;
use crate::feature_encoder::FeatureEncoder;
use crate::network::Network;
use crate::passes::run_one;
use crate::precision::{AnyNetwork, with_network};

/// Predicts one row at a time, from its Python values to a label.
///
/// A row is a list or tuple with one number per column, or, if the columns have names, a dict with the numbers by name.
/// None is a missing value, as NaN is.
///
/// Parameters
/// ----------
/// network : Network
///     Later changes of it do not count.
/// labels : list
///     The label of each output.
/// encoder : FeatureEncoder, optional
///     Computes the inputs of the network; by default they are the columns.
/// check : ColumnCheck, optional
///     Reports rows that are unlike those of training; only with an encoder.
/// names : tuple of str, optional
///     The name of each column.
/// multilabel : bool
///     Whether a row may have several labels.
///
/// Raises
/// ------
/// ValueError
///     If there is not one label for each output.
#[pyclass(module = "tinyrs._tinyrs", frozen)]
pub struct RowPredictor {
    network: Arc<AnyNetwork>,
    labels: Vec<Py<PyAny>>,
    encoder: Option<Py<FeatureEncoder>>,
    check: Option<Py<ColumnCheck>>,
    names: Option<Py<PyTuple>>,
    multilabel: bool,
}

#[pymethods]
impl RowPredictor {
    #[new]
    #[pyo3(signature = (network, labels, *, encoder=None, check=None, names=None, multilabel=false))]
    fn new(
        network: &Bound<Network>,
        labels: Vec<Py<PyAny>>,
        encoder: Option<Py<FeatureEncoder>>,
        check: Option<Py<ColumnCheck>>,
        names: Option<Py<PyTuple>>,
        multilabel: bool,
    ) -> PyResult<Self> {
        let network = network.get().0.snapshot();
        let outputs = with_network!(&*network, network => network.outputs());
        if labels.len() != outputs {
            let message =
                format!("labels: expected {outputs}, one for each output of the network, got {}", labels.len());
            return Err(PyValueError::new_err(message));
        }
        Ok(RowPredictor { network, labels, encoder, check, names, multilabel })
    }

    /// Predict the label of a row: that of the largest output, the first if several are equal.
    ///
    /// Parameters
    /// ----------
    /// X : list, tuple or dict
    ///     The row.
    ///
    /// Returns
    /// -------
    /// object
    ///     The label; if a row may have several, the list of those with outputs above 0.5.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If the number of columns is wrong, or a number is infinite or, without an encoder, missing.
    /// TypeError
    ///     If X is not such a row. Exceptions of the report are passed on.
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn predict<'py>(&self, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        with_network!(&*self.network, network => {
            self.label_of(X.py(), &self.outputs(network, X)?)
        })
    }

    /// Compute the outputs of a row.
    ///
    /// Parameters
    /// ----------
    /// X : list, tuple or dict
    ///     The row.
    ///
    /// Returns
    /// -------
    /// dict of label to float
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     As `predict`.
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn predict_proba<'py>(&self, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        with_network!(&*self.network, network => {
            let (outputs, result) = (self.outputs(network, X)?, PyDict::new(X.py()));
            for (label, output) in self.labels.iter().zip(outputs) {
                result.set_item(label, output.to_f64())?;
            }
            Ok(result)
        })
    }
}

impl RowPredictor {
    /// The outputs of `network`, the one of this predictor.
    fn outputs<N: Forward>(&self, network: &N, x: &Bound<PyAny>) -> PyResult<Vec<N::Value>> {
        let py = x.py();
        match &self.encoder {
            Some(encoder) => {
                let check = self.check.as_ref().map(|check| check.bind(py));
                encoder.get().forward_row(network, &self.numbers(x)?, check, py)
            }
            None => run_one(py, network, &self.numbers(x)?, |x, out, n_threads| network.forward(x, out, n_threads)),
        }
    }

    fn label_of<'py, T: Scalar>(&self, py: Python<'py>, outputs: &[T]) -> PyResult<Bound<'py, PyAny>> {
        if self.multilabel {
            let labels = PyList::empty(py);
            for (label, _) in self.labels.iter().zip(outputs).filter(|(_, output)| output.to_f64() > 0.5) {
                labels.append(label)?;
            }
            return Ok(labels.into_any());
        }
        let largest = (0..outputs.len()).fold(0, |best, i| if outputs[i] > outputs[best] { i } else { best });
        Ok(self.labels[largest].bind(py).clone())
    }

    /// The numbers of a row in the order of the columns.
    fn numbers<'py, T: Scalar>(&self, row: &Bound<'py, PyAny>) -> PyResult<Vec<T>> {
        let py = row.py();
        if let Ok(list) = row.cast_exact::<PyList>() {
            return numbers_of(list.iter().map(Ok));
        }
        if let Ok(tuple) = row.cast_exact::<PyTuple>() {
            return numbers_of(tuple.iter().map(Ok));
        }
        if let (Ok(dict), Some(names)) = (row.cast_exact::<PyDict>(), &self.names) {
            let missing = || PyValueError::new_err("X: a column is missing");
            let value = |name: Bound<'py, PyAny>| dict.get_item(name)?.ok_or_else(missing);
            return numbers_of(names.bind(py).iter().map(value));
        }
        Err(PyTypeError::new_err(format!("X: expected a list, tuple or dict of numbers, got {}", row.get_type())))
    }
}

/// The numbers in `values`, with NaN for None.
fn numbers_of<'py, T: Scalar>(values: impl ExactSizeIterator<Item = PyResult<Bound<'py, PyAny>>>) -> PyResult<Vec<T>> {
    let mut numbers = Vec::new();
    numbers.try_reserve_exact(values.len()).map_err(|_| PyMemoryError::new_err("X: the row is too long"))?;
    for value in values {
        let value = value?;
        let not_a_number = |_| PyTypeError::new_err("X: expected numbers, got another value");
        let number = if value.is_none() { f64::NAN } else { value.extract().map_err(not_a_number)? };
        numbers.push(T::from_f64(number));
    }
    Ok(numbers)
}
