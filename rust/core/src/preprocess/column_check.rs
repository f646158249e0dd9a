//! Finds the columns of a table that are unlike those of the training rows: more values are missing, far outside the
//! range, or of an unknown category.

use crate::error::{Error, Result};
use crate::preprocess::cells::{Cells, Layout};
use crate::scalar::Scalar;
use crate::simd::dispatch::{Dispatch, Operation, SafeOperation, kernels};
use crate::simd::{Isa, Lanes};

/// What is usual in a column of encoded rows (see [`crate::FeatureEncoder`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsualColumn {
    /// The index of the column in the row.
    pub column: usize,
    /// The least value that is not unusual: a number, or the code of a category.
    pub low: f64,
    /// The largest value that is not unusual.
    pub high: f64,
    /// The code of missing values; NaN, which always is a missing value, if they have none.
    pub missing_code: f64,
    /// The share of missing values to expect, from 0 to 1.
    pub missing: f64,
    /// The share of unusual values to expect, from 0 to 1.
    pub unusual: f64,
}

/// How many values of a column are missing, or unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ValueCounts {
    /// The number of missing values.
    pub missing: u64,
    /// The number of values below `low` or above `high`.
    pub unusual: u64,
}

/// A column with clearly more missing or unusual values than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// The index of the column in the row.
    pub column: usize,
    /// The counts of the column; 0 for a count that is not clearly more than expected.
    pub counts: ValueCounts,
}

/// Counts the missing and the unusual values of encoded rows, and compares them with what is usual.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnCheck {
    isa: Isa,
    columns: Vec<UsualColumn>,
    /// For each column of a row; those that are not checked have infinite limits.
    low: Vec<f64>,
    high: Vec<f64>,
    missing_code: Vec<f64>,
}

/// A count is clearly more than expected if it is at least this number of standard deviations above the expected one.
/// Seven, because the expected shares are estimates: tests/test_predictor_check.py requires that at most one column in
/// 200 is reported for new rows of the same distributions, some of which have heavy tails.
const MIN_DEVIATIONS: f64 = 7.0;
/// A share is clearly more than expected if it is larger than this factor times the expected one, plus `MIN_EXCESS`.
const MIN_FACTOR: f64 = 1.5;
const MIN_EXCESS: f64 = 0.01;
/// Values are only counted in blocks of this many rows that have a missing or an unusual one: counters take twice the
/// time, and most rows of most tables need none.
const BLOCK_ROWS: usize = 64;

impl ColumnCheck {
    /// A check for rows of `n_columns` numbers.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a column does not exist, a limit is NaN, an expected share is not between 0 and 1, or
    /// `TINYRS_ISA` is not an instruction set of this CPU.
    pub fn new(n_columns: usize, columns: Vec<UsualColumn>) -> Result<Self> {
        let (mut low, mut high) = (vec![f64::NEG_INFINITY; n_columns], vec![f64::INFINITY; n_columns]);
        let mut missing_code = vec![f64::NAN; n_columns];
        for usual in &columns {
            let index = usual.column;
            if index >= n_columns {
                return Err(Error::invalid("column", format!("an index below {n_columns}"), index));
            }
            if usual.low.is_nan() || usual.high.is_nan() {
                return Err(Error::invalid("low, high", "numbers", format!("NaN for column {index}")));
            }
            for share in [usual.missing, usual.unusual] {
                if !(0.0..=1.0).contains(&share) {
                    return Err(Error::invalid("share", "a number from 0 to 1", format!("{share} for column {index}")));
                }
            }
            (low[index], high[index], missing_code[index]) = (usual.low, usual.high, usual.missing_code);
        }
        Ok(ColumnCheck { isa: Isa::active()?, columns, low, high, missing_code })
    }

    /// The counts of each checked column, in the order given to [`ColumnCheck::new`], in `x` (rows, columns).
    ///
    /// # Errors
    /// [`Error::Invalid`] if `x` has another number of columns.
    pub fn count<'a, S: Dispatch>(&self, x: impl Into<Cells<'a, S>>) -> Result<Vec<ValueCounts>> {
        let counts = self.count_any(x.into())?;
        Ok(counts.unwrap_or_else(|| vec![ValueCounts::default(); self.columns.len()]))
    }

    /// The columns of `x` (rows, columns) that have clearly more missing or unusual values than expected.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `x` has another number of columns.
    pub fn check<'a, S: Dispatch>(&self, x: impl Into<Cells<'a, S>>) -> Result<Vec<Finding>> {
        let x = x.into();
        match self.count_any(x)? {
            Some(counts) => self.find(&counts, x.rows()),
            None => Ok(Vec::new()),
        }
    }

    /// [`ColumnCheck::count`], or `None` if that is 0 for all columns of rows that lie one after the other: nothing is
    /// allocated then, which matters for single rows.
    fn count_any<S: Dispatch>(&self, x: Cells<S>) -> Result<Option<Vec<ValueCounts>>> {
        let n_columns = self.low.len();
        if x.columns() != n_columns {
            return Err(Error::invalid("X", format!("{n_columns} columns"), x.columns()));
        }
        let kernels = kernels::<S>(self.isa)?;
        match x.layout {
            Layout::Columns(columns) => {
                let count = |usual: &UsualColumn| kernels.run(CountColumn { cells: columns[usual.column], usual });
                Ok(Some(self.columns.iter().map(count).collect()))
            }
            Layout::Rows(rows) => {
                let counts = kernels.run(CountRows { check: self, rows });
                Ok(counts.map(|counts| self.columns.iter().map(|usual| counts[usual.column]).collect()))
            }
        }
    }

    /// The columns that have clearly more missing or unusual values than expected, from the counts of `rows` rows.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is not one count for each checked column.
    pub fn find(&self, counts: &[ValueCounts], rows: usize) -> Result<Vec<Finding>> {
        if counts.len() != self.columns.len() {
            return Err(Error::invalid("counts", format!("{} columns", self.columns.len()), counts.len()));
        }
        let clearly_more = |count, expected| if is_clearly_more(count, rows, expected) { count } else { 0 };
        let findings = self.columns.iter().zip(counts).filter(|(_, counts)| **counts != ValueCounts::default());
        let findings = findings.map(|(usual, counts)| Finding {
            column: usual.column,
            counts: ValueCounts {
                missing: clearly_more(counts.missing, usual.missing),
                unusual: clearly_more(counts.unusual, usual.unusual),
            },
        });
        Ok(findings.filter(|finding| finding.counts != ValueCounts::default()).collect())
    }
}

/// The counts of one column.
struct CountColumn<'a, S> {
    cells: &'a [S],
    usual: &'a UsualColumn,
}

impl<S: Scalar> Operation<S> for CountColumn<'_, S> {
    type Output = ValueCounts;

    #[inline(always)]
    unsafe fn run<L: Lanes<S>>(self, _: L) -> ValueCounts {
        let UsualColumn { low, high, missing_code, .. } = *self.usual;
        let mut counts = ValueCounts::default();
        for cells in self.cells.chunks(BLOCK_ROWS) {
            if cells.iter().fold(true, |all, cell| all & is_usual(cell.to_f64(), low, high, missing_code)) {
                continue;
            }
            for cell in cells {
                counts.add(cell.to_f64(), low, high, missing_code);
            }
        }
        counts
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<S: Scalar> SafeOperation<S> for CountColumn<'_, S> {}

/// The counts of all columns, in rows that lie one after the other; `None` if they are all 0.
struct CountRows<'a, S> {
    check: &'a ColumnCheck,
    rows: &'a [S],
}

impl<S: Scalar> Operation<S> for CountRows<'_, S> {
    type Output = Option<Vec<ValueCounts>>;

    #[inline(always)]
    unsafe fn run<L: Lanes<S>>(self, _: L) -> Option<Vec<ValueCounts>> {
        let ColumnCheck { low, high, missing_code, .. } = self.check;
        let n_columns = low.len();
        let (low, high, missing_code) = (&low[..], &high[..n_columns], &missing_code[..n_columns]);
        let mut counts = None;
        for rows in self.rows.chunks(BLOCK_ROWS * n_columns) {
            let mut all_usual = true;
            for row in rows.chunks_exact(n_columns) {
                for column in 0..n_columns {
                    all_usual &= is_usual(row[column].to_f64(), low[column], high[column], missing_code[column]);
                }
            }
            if all_usual {
                continue;
            }
            let counts = &mut counts.get_or_insert_with(|| vec![ValueCounts::default(); n_columns])[..n_columns];
            for row in rows.chunks_exact(n_columns) {
                for column in 0..n_columns {
                    counts[column].add(row[column].to_f64(), low[column], high[column], missing_code[column]);
                }
            }
        }
        counts
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<S: Scalar> SafeOperation<S> for CountRows<'_, S> {}

impl ValueCounts {
    #[inline(always)]
    fn add(&mut self, value: f64, low: f64, high: f64, missing_code: f64) {
        self.missing += u64::from(value.is_nan() | (value == missing_code));
        self.unusual += u64::from((value < low) | (value > high));
    }
}

/// Whether a value is neither missing nor unusual.
#[inline(always)]
fn is_usual(value: f64, low: f64, high: f64, missing_code: f64) -> bool {
    (value >= low) & (value <= high) & (value != missing_code)
}

/// Whether `count` of `rows` values is clearly more than an expected share.
fn is_clearly_more(count: u64, rows: usize, expected: f64) -> bool {
    let (count, rows) = (count as f64, rows as f64);
    let excess = count - rows * expected;
    let variance = rows * expected * (1.0 - expected);
    count > rows * (MIN_FACTOR * expected + MIN_EXCESS) && excess * excess > MIN_DEVIATIONS * MIN_DEVIATIONS * variance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    /// A number from -1 to 3, a category with the codes 0 to 2 of which 1 is the missing one, and an unchecked column.
    fn check() -> ColumnCheck {
        let number =
            UsualColumn { column: 0, low: -1.0, high: 3.0, missing_code: f64::NAN, missing: 0.1, unusual: 0.001 };
        let category = UsualColumn { column: 2, low: 0.0, high: 2.0, missing_code: 1.0, missing: 0.5, unusual: 0.01 };
        ColumnCheck::new(3, vec![number, category]).expect("valid columns")
    }

    #[test]
    fn missing_and_unusual_values_are_counted() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let rows =
            [[-1.0, inf, 0.0], [3.0, nan, 1.0], [-1.5, 0.0, 2.0], [inf, 0.0, -1.0], [nan, 0.0, 3.0], [0.0, 0.0, nan]];
        let want = [ValueCounts { missing: 1, unusual: 2 }, ValueCounts { missing: 2, unusual: 2 }];
        let counts = check().count(Matrix::new("X", rows.as_flattened(), 6, 3).expect("shape"));
        assert_eq!(counts.expect("valid rows"), want);
        let columns = [0, 1, 2].map(|column| rows.map(|row| row[column]));
        let counts =
            check().count(Cells::by_column("X", &columns.each_ref().map(<[f64; 6]>::as_slice), 6).expect("shape"));
        assert_eq!(counts.expect("valid rows"), want);
        let rows = rows.map(|row| row.map(|value| value as f32));
        let counts = check().count(Matrix::new("X", rows.as_flattened(), 6, 3).expect("shape"));
        assert_eq!(counts.expect("valid rows"), want);
    }

    #[test]
    fn rows_are_checked_to_the_last() {
        for rows in [1, 2, 64, 65, 1000] {
            let mut x = [0.0, f64::NAN, 2.0].repeat(rows);
            let find = |x: &[f64]| check().check(Matrix::new("X", x, rows, 3).expect("shape")).expect("valid rows");
            assert_eq!(find(&x), []);
            x[..rows.div_ceil(10) * 3].chunks_mut(3).for_each(|row| row[0] = 9.0);
            x.reverse();
            x.chunks_mut(3).for_each(<[f64]>::reverse);
            let counts = ValueCounts { missing: 0, unusual: rows.div_ceil(10) as u64 };
            assert_eq!(find(&x), [Finding { column: 0, counts }], "{rows} rows");
        }
        assert!(check().check(Matrix::new("X", &[0.0, 1.0], 1, 2).expect("shape")).is_err());
    }

    #[test]
    fn only_clear_excesses_are_found() {
        let find = |number: (u64, u64), category: (u64, u64), rows| {
            let counts = [number, category].map(|(missing, unusual)| ValueCounts { missing, unusual });
            let findings = check().find(&counts, rows).expect("two columns");
            findings.iter().map(|f| (f.column, f.counts.missing, f.counts.unusual)).collect::<Vec<_>>()
        };
        assert_eq!(find((0, 0), (0, 0), 100), []);
        // One row: surprising only where almost nothing is expected.
        assert_eq!(find((1, 0), (1, 0), 1), []);
        assert_eq!(find((0, 1), (0, 1), 1), [(0, 0, 1), (2, 0, 1)]);
        // 10 % expected of 1,000 rows: a standard deviation of 9.5, but at least half as many again, and 1 %.
        assert_eq!(find((160, 0), (0, 0), 1000), []);
        assert_eq!(find((170, 0), (0, 0), 1000), [(0, 170, 0)]);
        // Nothing below one per cent of the rows.
        assert_eq!(find((0, 900), (0, 0), 100_000), []);
        assert_eq!(find((0, 0), (90_000, 5_000), 100_000), [(2, 90_000, 5_000)]);
    }

    #[test]
    fn invalid_arguments_are_refused() {
        let usual = UsualColumn { column: 0, low: 0.0, high: 1.0, missing_code: f64::NAN, missing: 0.0, unusual: 0.0 };
        let refused = |usual| ColumnCheck::new(1, vec![usual]).expect_err("invalid").to_string();
        let message = refused(UsualColumn { column: 1, ..usual });
        assert_eq!(message, "column: expected an index below 1, got 1");
        let message = refused(UsualColumn { high: f64::NAN, ..usual });
        assert_eq!(message, "low, high: expected numbers, got NaN for column 0");
        let message = refused(UsualColumn { missing: 1.5, ..usual });
        assert_eq!(message, "share: expected a number from 0 to 1, got 1.5 for column 0");
        let message = check().find(&[], 1).expect_err("invalid").to_string();
        assert_eq!(message, "counts: expected 2 columns, got 0");
        let message =
            check().count(Matrix::new("X", &[0.0, 1.0], 1, 2).expect("shape")).expect_err("invalid").to_string();
        assert_eq!(message, "X: expected 3 columns, got 2");
    }
}
