//! The class `FeatureEncoder`: computes features from the rows of a table, and runs a network on them in the same pass.

use numpy::Element;
use pyo3::prelude::*;
use tinyrs_core::{CategoryColumn, Cells, Dispatch, Finding, Forward, Matrix, MatrixMut, NumberColumn};

use crate::column_check::ColumnCheck;
use crate::errors::to_python;
use crate::network::Network;
use crate::passes::{self, PassInfo, PassOptions, with_info};
use crate::precision::{unknown_precision, with_network};
use crate::tables::is_f32_table;

/// A pass that computes fewer features than this takes less than about 20 us and keeps the GIL.
const SHORT_FEATURES: usize = 5_000;

/// Computes the features of a network from the columns of a table.
///
/// A row of the table has one number per column: the value of a number, NaN if it is missing, and the code of a
/// category. The features of a row are, in this order:
///
/// 1. for each column of numbers, ``z / sqrt(1 + (z / 3)**2)`` with ``z = (x - centre) * scale``, or 0 for a missing
///    value (Holzmuller, Grinsztajn, Steinwart, "Better by default", 2024);
/// 2. for each column of numbers with a missing indicator, 1 if the value is missing and 0 if not;
/// 3. for each column of categories, a one-hot vector, which is 0 for an unknown code.
///
/// Parameters
/// ----------
/// n_columns : int
///     Number of columns of the table.
/// numbers : sequence of (column, centre, scale, missing_indicator)
///     The columns of numbers. A column with a scale of 0 is constant and has no feature.
/// categories : sequence of (column, n_codes)
///     The columns of categories, with codes from 0 to n_codes - 1.
///
/// Raises
/// ------
/// ValueError
///     If a column does not exist, or a number is not finite.
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

    /// The number of features per row.
    #[getter]
    fn n_features(&self) -> usize {
        self.0.n_features()
    }

    /// Compute the features of one row or a batch of rows.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (n_columns,) or (rows, n_columns), or tuple of n_columns arrays of shape (rows,)
    ///     Real numbers; NaN is a missing value.
    /// precision : {"f32", "f64"}
    ///     Precision of the features.
    ///
    /// Returns
    /// -------
    /// array of shape (n_features,) or (rows, n_features)
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If the shape does not fit, or X holds an infinity or values that are not real numbers.
    #[pyo3(signature = (X, *, precision))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn transform<'py>(&self, X: &Bound<'py, PyAny>, precision: &str) -> PyResult<Bound<'py, PyAny>> {
        match (precision, is_f32_table(X)?) {
            ("f32", true) => self.transform_as::<f32, f32>(X),
            ("f32", false) => self.transform_as::<f64, f32>(X),
            ("f64", true) => self.transform_as::<f32, f64>(X),
            ("f64", false) => self.transform_as::<f64, f64>(X),
            _ => Err(unknown_precision(precision)),
        }
    }

    /// Compute the outputs of a network for the features of one row or a batch of rows.
    ///
    /// The result has the same bits as ``network.forward(self.transform(X, precision=network.precision))``.
    ///
    /// Parameters
    /// ----------
    /// network : Network
    ///     A network with n_features inputs.
    /// X : array of shape (n_columns,) or (rows, n_columns), or tuple of n_columns arrays of shape (rows,)
    ///     Real numbers; NaN is a missing value. Column-major arrays, and contiguous columns of one float type, are not
    ///     copied.
    /// out, n_threads
    ///     As in `Network.forward`.
    /// check : ColumnCheck, optional
    ///     Reports columns of X that are unlike those of the training rows.
    ///
    /// Returns
    /// -------
    /// array of shape (outputs,) or (rows, outputs)
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If a shape does not fit, X holds an infinity or values that are not real numbers, or `out` cannot be written
    ///     to. Exceptions of the report are passed on.
    #[pyo3(signature = (network, X, *, out=None, n_threads=None, check=None))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn forward<'py>(
        &self,
        network: &Bound<'py, Network>,
        X: &Bound<'py, PyAny>,
        out: Option<&Bound<'py, PyAny>>,
        n_threads: Option<&Bound<'py, PyAny>>,
        check: Option<&Bound<'py, ColumnCheck>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = PassOptions { out, n_threads };
        let mut checks = Checks::new(check);
        let is_f32 = is_f32_table(X)?;
        let outputs = with_network!(&*network.get().current(), network => if is_f32 {
            self.forward_of::<f32, _>(network, X, options, &mut checks)
        } else {
            self.forward_of::<f64, _>(network, X, options, &mut checks)
        })?;
        checks.report(X.py())?;
        Ok(outputs)
    }
}

/// The check of the rows of a pass, and what it found.
struct Checks<'a> {
    check: Option<&'a ColumnCheck>,
    findings: Vec<Finding>,
    rows: usize,
}

impl<'a> Checks<'a> {
    fn new(check: Option<&'a Bound<ColumnCheck>>) -> Self {
        Checks { check: check.map(Bound::get), findings: Vec::new(), rows: 0 }
    }

    /// Checks the rows of `x`; needs no GIL.
    fn run<'x, S: Dispatch>(&mut self, x: impl Into<Cells<'x, S>>) -> tinyrs_core::Result<()> {
        if let Some(check) = self.check {
            let x = x.into();
            (self.findings, self.rows) = (check.findings(x)?, x.rows());
        }
        Ok(())
    }

    fn report(&self, py: Python) -> PyResult<()> {
        self.check.map_or(Ok(()), |check| check.report(py, &self.findings, self.rows))
    }
}

impl FeatureEncoder {
    fn transform_as<'py, S: Element + Dispatch, T: Element + Dispatch>(
        &self,
        x: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let outputs = self.0.n_features();
        let info = PassInfo { outputs, is_short: &|rows| rows.saturating_mul(outputs) < SHORT_FEATURES };
        let options = PassOptions { out: None, n_threads: None };
        passes::run_table::<S, T>(x, options, &info, |x, out, _| self.0.transform(x, out))
    }

    /// As `forward`, for one row and without NumPy.
    pub fn forward_row<N: Forward>(
        &self,
        network: &N,
        row: &[f64],
        check: Option<&Bound<ColumnCheck>>,
        py: Python,
    ) -> PyResult<Vec<N::Value>> {
        let mut checks = Checks::new(check);
        let outputs = passes::run_one(py, network, row, |x: Matrix<f64>, out, n_threads| {
            self.0.forward(network, x, out, n_threads)?;
            checks.run(x)
        })?;
        checks.report(py)?;
        Ok(outputs)
    }

    fn forward_of<'py, S: Element + Dispatch, N: Forward<Value: Element>>(
        &self,
        network: &N,
        x: &Bound<'py, PyAny>,
        options: PassOptions<'_, 'py>,
        checks: &mut Checks,
    ) -> PyResult<Bound<'py, PyAny>> {
        let pass = |x: Cells<S>, out: &mut MatrixMut<N::Value>, n_threads| {
            self.0.forward(network, x, out, n_threads)?;
            checks.run(x)
        };
        with_info(network, |info| passes::run_table(x, options, info, pass))
    }
}
