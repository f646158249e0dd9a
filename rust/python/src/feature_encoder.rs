//! The class `FeatureEncoder`: from the rows of a table to features, or straight through a network.

use numpy::{Element, PyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::PyList;
use tinyrs_core::{CategoryColumn, Dispatch, Matrix, MatrixMut, NumberColumn, Scalar};

use crate::errors::to_python;
use crate::network::{AnyNetwork, Network, with_network};
use crate::options::unknown_precision;
use crate::passes::{self, About, Keywords, with_about};

/// Fewer are made within about 20 us.
const SHORT_FEATURES: usize = 5_000;

/// What is done to each column of a table before a network sees it.
///
/// A row of the table holds a number a column: NaN where it is missing, and for a category its code. Each number x
/// becomes z / sqrt(1 + (z / 3)^2) with z = (x - centre) * scale, and 0 where it is missing (Holzmuller, Grinsztajn,
/// Steinwart, "Better by default", 2024); then comes 1 for each that is missing, where that is flagged; then each code's 1
/// among 0s, or 0s alone for a code that is none.
///
/// Parameters
/// ----------
/// n_columns : int
///     Numbers of a row.
/// numbers : sequence of (column, centre, scale, flagged)
///     The columns of numbers; a scale of 0 is that of a constant, which gives no feature.
/// categories : sequence of (column, n_codes)
///     The columns of codes, which are below n_codes.
///
/// Raises
/// ------
/// ValueError
///     If a column is not there, or a number not finite.
#[pyclass(module = "tinyrs._tinyrs", frozen)]
pub struct FeatureEncoder(tinyrs_core::FeatureEncoder);

#[pymethods]
impl FeatureEncoder {
    #[new]
    fn new(n_columns: usize, numbers: Vec<(usize, f64, f64, bool)>, categories: Vec<(usize, usize)>) -> PyResult<Self> {
        let number =
            |(column, centre, scale, missing_indicator)| NumberColumn { column, centre, scale, missing_indicator };
        let numbers: Vec<_> = numbers.into_iter().map(number).collect();
        let categories = categories.into_iter().map(|(column, n_codes)| CategoryColumn { column, n_codes }).collect();
        tinyrs_core::FeatureEncoder::new(n_columns, &numbers, categories).map(Self).map_err(to_python)
    }

    /// The features that a row becomes.
    #[getter]
    fn n_features(&self) -> usize {
        self.0.n_features()
    }

    /// The features of some rows.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (n_columns,) or (rows, n_columns)
    ///     Real numbers, NaN where one is missing.
    /// precision : {"f32", "f64"}
    ///     Of the result.
    ///
    /// Returns
    /// -------
    /// array of shape (n_features,) or (rows, n_features)
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If the shape does not fit, or X holds an infinity or no real numbers.
    #[pyo3(signature = (X, *, precision))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn transform<'py>(&self, X: &Bound<'py, PyAny>, precision: &str) -> PyResult<Bound<'py, PyAny>> {
        match (precision, is_f32(X)) {
            ("f32", true) => self.transform_as::<f32, f32>(X),
            ("f32", false) => self.transform_as::<f64, f32>(X),
            ("f64", true) => self.transform_as::<f32, f64>(X),
            ("f64", false) => self.transform_as::<f64, f64>(X),
            _ => Err(unknown_precision(precision)),
        }
    }

    /// The outputs of a network for the features of some rows: the bits of `network.forward(self.transform(X))`.
    ///
    /// Parameters
    /// ----------
    /// network : Network
    ///     One of n_features inputs.
    /// X : array of shape (n_columns,) or (rows, n_columns)
    ///     Real numbers, NaN where one is missing.
    /// out, n_threads
    ///     As for `Network.forward`.
    ///
    /// Returns
    /// -------
    /// array of shape (outputs,) or (rows, outputs)
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If a shape does not fit, X holds an infinity or no real numbers, or `out` cannot be used.
    #[pyo3(signature = (network, X, *, out=None, n_threads=None))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn forward<'py>(
        &self,
        network: &Bound<'py, Network>,
        X: &Bound<'py, PyAny>,
        out: Option<&Bound<'py, PyAny>>,
        n_threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let keywords = Keywords { out, n_threads };
        match (&*network.get().current(), is_f32(X)) {
            (AnyNetwork::F32(network), true) => self.forward_of::<f32, f32>(network, X, keywords),
            (AnyNetwork::F32(network), false) => self.forward_of::<f64, f32>(network, X, keywords),
            (AnyNetwork::F64(network), true) => self.forward_of::<f32, f64>(network, X, keywords),
            (AnyNetwork::F64(network), false) => self.forward_of::<f64, f64>(network, X, keywords),
        }
    }

    /// The outputs of a network for one row of Python's numbers, as Python's numbers: the bits of `forward`, without NumPy.
    ///
    /// Parameters
    /// ----------
    /// network : Network
    ///     One of n_features inputs.
    /// X : iterable of float
    ///     n_columns of them, NaN where one is missing.
    ///
    /// Returns
    /// -------
    /// list of float
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If they are too few or too many, or one is infinite or no real number.
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn forward_one<'py>(&self, network: &Bound<'py, Network>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        with_network!(&*network.get().current(), network => with_about(network, |about| {
            passes::run_one(X, about, |x: Matrix<f64>, out, n_threads| self.0.forward(network, x, out, n_threads))
        }))
    }
}

impl FeatureEncoder {
    fn transform_as<'py, S: Element + Scalar, T: Element + Scalar>(
        &self,
        x: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let outputs = self.0.n_features();
        let about = About { outputs, is_short: &|rows, _| rows.saturating_mul(outputs) < SHORT_FEATURES };
        passes::run::<S, T>(x, Keywords { out: None, n_threads: None }, &about, |x, out, _| self.0.transform(x, out))
    }

    fn forward_of<'py, S: Element + Scalar, T: Element + Dispatch>(
        &self,
        network: &tinyrs_core::Network<T>,
        x: &Bound<'py, PyAny>,
        keywords: Keywords<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let pass = |x: Matrix<S>, out: &mut MatrixMut<T>, n_threads| self.0.forward(network, x, out, n_threads);
        with_about(network, |about| passes::run(x, keywords, about, pass))
    }
}

/// Whether its numbers are f32: anything else is read as f64, which loses nothing.
fn is_f32(x: &Bound<PyAny>) -> bool {
    x.cast::<PyArrayDyn<f32>>().is_ok()
}
