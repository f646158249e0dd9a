//! The class `ColumnCheck`: finds the columns of a table that are unlike those of the training rows.

use numpy::Element;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tinyrs_core::{Cells, Dispatch, Finding, UsualColumn, ValueCounts};

use crate::calls::call;
use crate::errors::to_python;
use crate::tables::{Table, is_f32_table};

/// A column with more missing or unusual values than expected: its index, and the two counts.
type FindingTuple = (usize, u64, u64);

/// Finds the columns of a table that are unlike those of the training rows.
///
/// Parameters
/// ----------
/// n_columns : int
///     Number of columns of an encoded row.
/// columns : sequence of (column, low, high, missing_code, missing, unusual)
///     The columns to check. Values below `low` or above `high` are unusual; NaN and `missing_code` are missing
///     values. `missing` and `unusual` are the shares of such values to expect.
/// report : callable
///     Called with a list of findings and the number of rows by `FeatureEncoder.forward` and `RowPredictor`, if there
///     are any findings. A finding is the index of a column and its numbers of missing and unusual values, of which one
///     is 0 if it is not clearly more than expected.
///
/// Raises
/// ------
/// ValueError
///     If a column does not exist, a limit is NaN, or an expected share is not between 0 and 1.
#[pyclass(module = "tinyrs._tinyrs", frozen)]
pub struct ColumnCheck {
    check: tinyrs_core::ColumnCheck,
    report: Py<PyAny>,
}

#[pymethods]
impl ColumnCheck {
    #[new]
    fn new(n_columns: usize, columns: Vec<(usize, f64, f64, f64, f64, f64)>, report: Py<PyAny>) -> PyResult<Self> {
        let usual = |(column, low, high, missing_code, missing, unusual)| UsualColumn {
            column,
            low,
            high,
            missing_code,
            missing,
            unusual,
        };
        let columns = columns.into_iter().map(usual).collect();
        let check = tinyrs_core::ColumnCheck::new(n_columns, columns).map_err(to_python)?;
        Ok(ColumnCheck { check, report })
    }

    /// Count the missing and the unusual values of each checked column.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (rows, n_columns), or tuple of n_columns arrays of shape (rows,)
    ///     Encoded rows, or their columns.
    ///
    /// Returns
    /// -------
    /// list of (missing, unusual)
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     If the shape does not fit, or X holds values that are not real numbers.
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn count(&self, X: &Bound<PyAny>) -> PyResult<Vec<(u64, u64)>> {
        if is_f32_table(X)? { self.count_as::<f32>(X) } else { self.count_as::<f64>(X) }
    }

    /// Find the columns with clearly more missing or unusual values than expected.
    ///
    /// Parameters
    /// ----------
    /// counts : sequence of (missing, unusual)
    ///     What `count` returned, or the sums of several results.
    /// rows : int
    ///     The number of rows that were counted.
    ///
    /// Returns
    /// -------
    /// list of (column, missing, unusual)
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If there is not one pair of counts for each checked column.
    fn find(&self, counts: Vec<(u64, u64)>, rows: usize) -> PyResult<Vec<FindingTuple>> {
        let counts: Vec<_> = counts.into_iter().map(|(missing, unusual)| ValueCounts { missing, unusual }).collect();
        Ok(tuples(&self.check.find(&counts, rows).map_err(to_python)?))
    }
}

impl ColumnCheck {
    fn count_as<S: Element + Dispatch>(&self, x: &Bound<PyAny>) -> PyResult<Vec<(u64, u64)>> {
        let table = Table::<S>::new(x)?;
        if table.is_one_row() {
            return Err(PyValueError::new_err("X: expected shape (rows, columns)"));
        }
        let slices = table.slices();
        let cells = table.cells(&slices)?;
        let counts = x.py().detach(|| self.check.count(cells)).map_err(to_python)?;
        Ok(counts.into_iter().map(|counts| (counts.missing, counts.unusual)).collect())
    }

    /// The findings in the rows of `x`.
    pub fn findings<S: Dispatch>(&self, x: Cells<S>) -> tinyrs_core::Result<Vec<Finding>> {
        self.check.check(x)
    }

    /// Calls `report`, if there are any findings.
    pub fn report(&self, py: Python, findings: &[Finding], rows: usize) -> PyResult<()> {
        if !findings.is_empty() {
            call(self.report.bind(py), (tuples(findings), rows))?;
        }
        Ok(())
    }
}

fn tuples(findings: &[Finding]) -> Vec<FindingTuple> {
    findings.iter().map(|finding| (finding.column, finding.counts.missing, finding.counts.unusual)).collect()
}
