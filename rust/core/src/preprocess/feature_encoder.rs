//! Encodes rows of a table as the features that a network takes, with what was learnt from each column.
//!
//! A row holds one number for each column: a value, NaN if it is missing, or the code of a category. The features are,
//! in this order:
//!
//! - for each numeric column with value x: z / sqrt(1 + (z / 3)^2) with z = (x - centre) * scale, or 0 if x is missing
//!   (Holzmuller, Grinsztajn, Steinwart, "Better by default", 2024);
//! - for each numeric column with a missing indicator: 1 if the value is missing, otherwise 0;
//! - for each categorical column: the one-hot vector of the code, or zeros for an unknown code.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::linalg::view::View;
use crate::matrix::MatrixMut;
use crate::network::forward::{Forward, forward_rows};
use crate::network::rows::Rows;
use crate::parallel::{Shared, Team};
use crate::preprocess::cells::{Cells, Layout};
use crate::preprocess::infinity::first_infinite_with;
use crate::scalar::Scalar;
use crate::simd::dispatch::{Dispatch, Kernels, Operation, SafeOperation, kernels};
use crate::simd::{Isa, Lanes};

/// How a numeric column is encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberColumn {
    /// The index of the column in the row.
    pub column: usize,
    /// The value that becomes 0.
    pub centre: f64,
    /// The factor for the distance from `centre`; 0 for a constant column, which gives no feature.
    pub scale: f64,
    /// Whether another feature tells if the value is missing.
    pub missing_indicator: bool,
}

/// How a categorical column is encoded: one-hot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CategoryColumn {
    /// The index of the column in the row.
    pub column: usize,
    /// The number of codes, and of features. Known codes are below it.
    pub n_codes: usize,
}

/// Encodes rows of numbers and category codes as features; see the top of this file.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureEncoder {
    n_columns: usize,
    /// The numeric columns that are not constant.
    numbers: Vec<NumberColumn>,
    /// The indices of the columns that have a missing indicator.
    missing_indicators: Vec<usize>,
    categories: Vec<CategoryColumn>,
    n_features: usize,
}

/// The largest |z|: beyond it the feature would no longer change, and its square must not overflow.
const MAX_ABS_Z: f64 = 1e18;
/// How many rows are encoded together: enough for a vector of the widest instruction set, and less than what the ways of
/// a first-level cache hold if the rows lie whole pages apart.
const ROWS_AT_ONCE: usize = 8;

impl FeatureEncoder {
    /// An encoder for rows of `n_columns` numbers. Constant columns are left out; if no feature remains, there is one
    /// that is always 0, because a network needs an input.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `n_columns` is 0, a column does not exist, a centre or scale is not finite, a scale is
    /// negative, or the features of one row would not fit in memory.
    pub fn new(n_columns: usize, numbers: &[NumberColumn], categories: Vec<CategoryColumn>) -> Result<Self> {
        if n_columns == 0 {
            return Err(Error::invalid("columns", "at least one", 0));
        }
        let indices = numbers.iter().map(|n| n.column).chain(categories.iter().map(|c| c.column));
        if let Some(index) = indices.into_iter().find(|index| *index >= n_columns) {
            return Err(Error::invalid("column", format!("an index below {n_columns}"), index));
        }
        for number in numbers {
            if !(number.centre.is_finite() && number.scale.is_finite() && number.scale >= 0.0) {
                let got = format!("{} and {} for column {}", number.centre, number.scale, number.column);
                return Err(Error::invalid("centre, scale", "finite numbers, and a scale of at least 0", got));
            }
        }
        let missing_indicators: Vec<usize> = numbers.iter().filter(|n| n.missing_indicator).map(|n| n.column).collect();
        let numbers: Vec<NumberColumn> = numbers.iter().copied().filter(|n| n.scale > 0.0).collect();
        let n_codes = categories.iter().try_fold(0usize, |sum, c| sum.checked_add(c.n_codes));
        let n_features = n_codes.and_then(|n| n.checked_add(numbers.len() + missing_indicators.len()));
        match n_features.filter(|n| *n <= isize::MAX as usize / size_of::<f64>()) {
            Some(n) => Ok(FeatureEncoder { n_columns, numbers, missing_indicators, categories, n_features: n.max(1) }),
            None => Err(Error::invalid("categories", "fewer codes", "more than memory can hold")),
        }
    }

    /// The number of columns in a row.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// The number of features that a row is encoded as.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Encodes `x` (rows, columns) to `out` (rows, features).
    ///
    /// # Errors
    /// [`Error::Invalid`] if a shape does not fit, [`Error::NonFinite`] if `x` holds an infinity; `out` is then
    /// unchanged.
    pub fn transform<'a, S: Scalar, T: Dispatch>(
        &self,
        x: impl Into<Cells<'a, S>>,
        out: &mut MatrixMut<T>,
    ) -> Result<()> {
        let (x, kernels) = (x.into(), kernels::<T>(Isa::active()?)?);
        self.check(x, kernels)?;
        if (out.rows(), out.cols()) != (x.rows(), self.n_features) {
            let (expected, got) = ((x.rows(), self.n_features), (out.rows(), out.cols()));
            return Err(Error::invalid("out", format!("shape {expected:?}"), format!("{got:?}")));
        }
        kernels.run(Encode { encoder: self, x, first_row: 0, out: out.data_mut() });
        Ok(())
    }

    /// The outputs of `network` for the encoded rows of `x` (rows, columns), with the bits of
    /// [`FeatureEncoder::transform`] and [`Forward::forward`]. One block of rows is encoded at a time, just before it
    /// goes through the layers, so that its features stay in the cache.
    ///
    /// # Errors
    /// As [`Forward::forward`], except that NaN is a missing value.
    pub fn forward<'a, S: Scalar, N: Forward>(
        &self,
        network: &N,
        x: impl Into<Cells<'a, S>>,
        out: &mut MatrixMut<N::Value>,
        n_threads: usize,
    ) -> Result<()> {
        let (x, kernels) = (x.into(), network.architecture().kernels());
        self.check(x, kernels)?;
        forward_rows(network, &EncodedRows { encoder: self, x, kernels }, out, n_threads)
    }

    /// Checks that `x` has the right columns and no infinity.
    fn check<S: Scalar, T: Dispatch>(&self, x: Cells<S>, kernels: &Kernels<T>) -> Result<()> {
        if x.columns() != self.n_columns {
            return Err(Error::invalid("X", format!("{} columns", self.n_columns), x.columns()));
        }
        let infinite = |values| first_infinite_with(kernels, values);
        let found = match x.layout {
            Layout::Rows(cells) => infinite(cells).map(|index| (index / self.n_columns, index % self.n_columns)),
            Layout::Columns(columns) => {
                let mut found = columns.iter().map(|cells| infinite(cells)).enumerate();
                found.find_map(|(column, row)| Some((row?, column)))
            }
        };
        if let Some((row, column)) = found {
            let [value] = x.column(column).values::<1>(row);
            return Err(Error::NonFinite { argument: "X".into(), precision: S::NAME, value, row, column });
        }
        Ok(())
    }
}

/// Encodes the rows of `x` from `first_row` on to `out`, whole rows of features.
struct Encode<'a, S, T> {
    encoder: &'a FeatureEncoder,
    x: Cells<'a, S>,
    first_row: usize,
    out: &'a mut [T],
}

impl<S: Scalar, T: Scalar> Operation<T> for Encode<'_, S, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes<T>>(self, _: L) {
        let Encode { encoder, x, mut first_row, out } = self;
        let mut blocks = out.chunks_exact_mut(ROWS_AT_ONCE * encoder.n_features);
        for out in &mut blocks {
            encode_rows::<S, T, ROWS_AT_ONCE>(encoder, x, first_row, out);
            first_row += ROWS_AT_ONCE;
        }
        for out in blocks.into_remainder().chunks_exact_mut(encoder.n_features) {
            encode_rows::<S, T, 1>(encoder, x, first_row, out);
            first_row += 1;
        }
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<S: Scalar, T: Scalar> SafeOperation<T> for Encode<'_, S, T> {}

/// Encodes N rows column by column: the values of a column are computed together, as vectors.
#[inline(always)]
fn encode_rows<S: Scalar, T: Scalar, const N: usize>(
    encoder: &FeatureEncoder,
    x: Cells<S>,
    first_row: usize,
    out: &mut [T],
) {
    let n_features = encoder.n_features;
    let mut feature = 0;
    for number in &encoder.numbers {
        let mut values = x.column(number.column).values::<N>(first_row);
        for value in &mut values {
            let z = ((*value - number.centre) * number.scale).clamp(-MAX_ABS_Z, MAX_ABS_Z);
            let clipped = z / (1.0 + (z / 3.0) * (z / 3.0)).sqrt();
            // A missing value becomes the feature of a typical one.
            *value = if clipped.is_nan() { 0.0 } else { clipped };
        }
        for (row, value) in values.into_iter().enumerate() {
            out[row * n_features + feature] = T::from_f64(value);
        }
        feature += 1;
    }
    for &column in &encoder.missing_indicators {
        for (row, value) in x.column(column).values::<N>(first_row).into_iter().enumerate() {
            out[row * n_features + feature] = if value.is_nan() { T::ONE } else { T::ZERO };
        }
        feature += 1;
    }
    out.chunks_exact_mut(n_features).for_each(|row| row[feature..].fill(T::ZERO));
    for category in &encoder.categories {
        for (row, code) in x.column(category.column).values::<N>(first_row).into_iter().enumerate() {
            // False for NaN, which is an unknown code.
            if code >= 0.0 && code < category.n_codes as f64 {
                out[row * n_features + feature + code as usize] = T::ONE;
            }
        }
        feature += category.n_codes;
    }
}

/// The rows of a table as a network reads them: encoded.
struct EncodedRows<'a, S, T> {
    encoder: &'a FeatureEncoder,
    x: Cells<'a, S>,
    kernels: &'a Kernels<T>,
}

impl<S: Scalar, T: Dispatch> Rows<T> for EncodedRows<'_, S, T> {
    fn rows(&self) -> usize {
        self.x.rows()
    }

    fn cols(&self) -> usize {
        self.encoder.n_features
    }

    fn scratch_len(&self, rows: usize) -> usize {
        rows * self.encoder.n_features
    }

    unsafe fn read<'a>(&'a self, team: &Team, rows: Range<usize>, scratch: &Shared<T>) -> View<'a, T> {
        let features = self.encoder.n_features;
        team.for_each_range(rows.len(), 1, 1, |_, range| {
            // SAFETY: guaranteed by the caller; the ranges are disjoint.
            let out = unsafe { scratch.slice_mut(range.start * features..range.end * features) };
            let first_row = rows.start + range.start;
            self.kernels.run(Encode { encoder: self.encoder, x: self.x, first_row, out });
        });
        // SAFETY: guaranteed by the caller; nothing writes any more.
        unsafe { View::contiguous(scratch.slice(0..rows.len() * features), rows.len(), features) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::network::NetworkConfig;
    use crate::network::init::Init;
    use crate::{Network, OutputActivation};

    /// Columns: a number with a missing indicator, a constant, a category with 3 codes, a number.
    fn mixed() -> FeatureEncoder {
        let number =
            |column, centre, scale, missing_indicator| NumberColumn { column, centre, scale, missing_indicator };
        let numbers = [number(0, 1.0, 0.5, true), number(1, 7.0, 0.0, false), number(3, 0.0, 2.0, false)];
        FeatureEncoder::new(4, &numbers, vec![CategoryColumn { column: 2, n_codes: 3 }]).expect("valid columns")
    }

    #[test]
    fn each_column_becomes_its_features() {
        let nan = f64::NAN;
        let x = [3.0, 7.0, 2.0, 0.0, nan, nan, nan, nan, 1e300, 0.0, -1.0, -1e300, 1.0, 7.0, 3.0, 1.5];
        let mut out = [9.0f64; 4 * 6];
        let rows = Matrix::new("X", &x, 4, 4).expect("shape");
        mixed().transform(rows, &mut MatrixMut::new("out", &mut out, 4, 6).expect("shape")).expect("valid rows");
        let clip = |z: f64| z / (1.0 + z * z / 9.0).sqrt();
        let want = [
            [clip(1.0), 0.0, 0.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
            [3.0, -3.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, clip(3.0), 0.0, 0.0, 0.0, 0.0],
        ];
        assert!(out.iter().zip(want.as_flattened()).all(|(out, want)| (out - want).abs() < 1e-15), "{out:?}");
    }

    #[test]
    fn forward_has_the_bits_of_transform_and_forward() {
        let config = NetworkConfig { output_activation: OutputActivation::Softmax, ..NetworkConfig::default() };
        let network = Network::<f32>::new(&[6, 40, 40, 5], config, Init::HeNormal, 1).expect("a network");
        for rows in [1, 2, 3, 257, 1000] {
            let x: Vec<f32> =
                (0..rows * 4).map(|i| if i % 11 == 0 { f32::NAN } else { (i * i % 17) as f32 - 3.0 }).collect();
            let x = Matrix::new("X", &x, rows, 4).expect("shape");
            let (mut features, mut want) = (vec![0.0; rows * 6], vec![0.0; rows * 5]);
            mixed()
                .transform(x, &mut MatrixMut::new("out", &mut features, rows, 6).expect("shape"))
                .expect("valid rows");
            let features = Matrix::new("X", &features, rows, 6).expect("shape");
            network
                .forward(features, &mut MatrixMut::new("out", &mut want, rows, 5).expect("shape"), 1)
                .expect("a pass");
            for n_threads in [1, 2, 3] {
                let mut out = vec![0.0; rows * 5];
                let mut view = MatrixMut::new("out", &mut out, rows, 5).expect("shape");
                mixed().forward(&network, x, &mut view, n_threads).expect("a pass");
                assert_eq!(out, want, "{rows} rows, {n_threads} threads");
            }
        }
    }

    /// The features of `rows` rows of `mixed`.
    fn features<'a>(x: impl Into<Cells<'a, f64>>, rows: usize) -> Result<Vec<f32>> {
        let mut out = vec![9.0; rows * 6];
        mixed().transform(x, &mut MatrixMut::new("out", &mut out, rows, 6).expect("shape"))?;
        Ok(out)
    }

    #[test]
    fn rows_in_either_order_have_the_same_features() {
        for rows in [0, 1, 7, 8, 9, 100] {
            let cell = |row: usize, column: usize| match (row * 7 + column * 3) % 11 {
                0 => f64::NAN,
                other => other as f64 - 3.5,
            };
            let by_row: Vec<f64> = (0..rows * 4).map(|i| cell(i / 4, i % 4)).collect();
            let mut columns: Vec<Vec<f64>> =
                (0..4).map(|column| (0..rows).map(|row| cell(row, column)).collect()).collect();
            let want = features(Matrix::new("X", &by_row, rows, 4).expect("shape"), rows).expect("valid rows");
            let by_column = |columns: &[Vec<f64>]| {
                let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
                features(Cells::by_column("X", &columns, rows).expect("shape"), rows)
            };
            assert_eq!(by_column(&columns).expect("valid rows"), want, "{rows} rows");
            if rows > 5 {
                columns[2][5] = f64::INFINITY;
                columns[3][0] = f64::INFINITY;
                let message = "X: expected finite f64 values, got inf at row 5, column 2";
                assert_eq!(by_column(&columns).expect_err("infinite").to_string(), message);
            }
        }
    }

    #[test]
    fn invalid_arguments_are_refused() {
        let refused = |result: Result<FeatureEncoder>| result.expect_err("invalid").to_string();
        let number = |column, centre, scale| NumberColumn { column, centre, scale, missing_indicator: false };
        let category = |n_codes| CategoryColumn { column: 0, n_codes };
        assert_eq!(refused(FeatureEncoder::new(0, &[], vec![])), "columns: expected at least one, got 0");
        let message = refused(FeatureEncoder::new(2, &[number(2, 0.0, 1.0)], vec![]));
        assert_eq!(message, "column: expected an index below 2, got 2");
        for bad in [number(0, f64::NAN, 1.0), number(0, 0.0, -1.0), number(0, 0.0, f64::INFINITY)] {
            assert!(refused(FeatureEncoder::new(1, &[bad], vec![])).starts_with("centre, scale: expected finite"));
        }
        let message = refused(FeatureEncoder::new(1, &[], vec![category(usize::MAX), category(2)]));
        assert_eq!(message, "categories: expected fewer codes, got more than memory can hold");
        let (x, mut out) = ([0.0, 1.0, 2.0, f64::NEG_INFINITY], [0.0; 6]);
        let result = mixed().transform(
            Matrix::new("X", &x, 1, 4).expect("shape"),
            &mut MatrixMut::new("out", &mut out, 1, 6).expect("shape"),
        );
        assert_eq!(
            result.expect_err("infinite").to_string(),
            "X: expected finite f64 values, got -inf at row 0, column 3"
        );
    }
}
