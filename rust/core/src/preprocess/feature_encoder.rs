//! From a row of a table to the features that a network takes: what was learnt of each column, applied.
//!
//! A row holds a number a column: NaN where it is missing, and for a category its code. The features are, in this order:
//! each number x as z / sqrt(1 + (z / 3)^2) with z = (x - centre) * scale, 0 where it is missing (Holzmuller, Grinsztajn,
//! Steinwart, "Better by default", 2024); 1 for each number that is missing where that is flagged; and for each column of
//! categories the code's 1 among 0s, or 0s alone for a code that is none.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::linalg::kernels::Dispatch;
use crate::linalg::view::View;
use crate::matrix::{Matrix, MatrixMut};
use crate::network::Network;
use crate::network::rows::Rows;
use crate::parallel::{Shared, Team};
use crate::scalar::Scalar;

/// One column of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberColumn {
    /// Its place in the row.
    pub column: usize,
    /// What becomes 0.
    pub centre: f64,
    /// 0 if the column is a constant, which gives no feature.
    pub scale: f64,
    /// Whether a missing number has a feature of its own.
    pub flagged: bool,
}

/// One column of categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CategoryColumn {
    /// Its place in the row.
    pub column: usize,
    /// Codes are below it; one feature each.
    pub codes: usize,
}

/// What is done to each column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureEncoder {
    columns: usize,
    numbers: Vec<NumberColumn>,
    flags: Vec<usize>,
    categories: Vec<CategoryColumn>,
    features: usize,
}

/// Beyond it a number is where it is anyway: its square must not overflow.
const FAR: f64 = 1e18;

impl FeatureEncoder {
    /// For rows of `columns` numbers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a column that is not there, a centre or scale that is not finite or below 0, or more
    /// features than memory has addresses.
    pub fn new(columns: usize, numbers: &[NumberColumn], categories: Vec<CategoryColumn>) -> Result<Self> {
        if columns == 0 {
            return Err(Error::invalid("columns", "at least one", 0));
        }
        let places = numbers.iter().map(|n| n.column).chain(categories.iter().map(|c| c.column));
        if let Some(place) = places.into_iter().find(|place| *place >= columns) {
            return Err(Error::invalid("column", format!("a place below {columns}"), place));
        }
        for number in numbers {
            if !(number.centre.is_finite() && number.scale.is_finite() && number.scale >= 0.0) {
                let got = format!("{} and {} for column {}", number.centre, number.scale, number.column);
                return Err(Error::invalid("centre, scale", "finite numbers, the scale not below 0", got));
            }
        }
        let flags: Vec<usize> = numbers.iter().filter(|n| n.flagged).map(|n| n.column).collect();
        let numbers: Vec<NumberColumn> = numbers.iter().copied().filter(|n| n.scale > 0.0).collect();
        let codes = categories.iter().try_fold(0usize, |sum, c| sum.checked_add(c.codes));
        let features = codes.and_then(|codes| codes.checked_add(numbers.len() + flags.len()));
        match features.filter(|features| *features <= isize::MAX as usize / size_of::<f64>()) {
            // A network has at least one input: where no column varies it is 0.
            Some(features) => Ok(FeatureEncoder { columns, numbers, flags, categories, features: features.max(1) }),
            None => Err(Error::invalid("categories", "fewer codes", "more than memory can hold")),
        }
    }

    /// The numbers of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The features that it becomes.
    pub fn features(&self) -> usize {
        self.features
    }

    /// `x` (rows, columns) -> `out` (rows, features).
    ///
    /// # Errors
    /// [`Error::Invalid`] if a shape does not fit, [`Error::NonFinite`] if `x` holds an infinity; nothing is written then.
    pub fn transform<S: Scalar, T: Scalar>(&self, x: Matrix<S>, out: &mut MatrixMut<T>) -> Result<()> {
        self.check(x)?;
        if (out.rows(), out.cols()) != (x.rows(), self.features) {
            let (expected, got) = ((x.rows(), self.features), (out.rows(), out.cols()));
            return Err(Error::invalid("out", format!("shape {expected:?}"), format!("{got:?}")));
        }
        self.transform_rows(x.data(), out.data_mut());
        Ok(())
    }

    /// The outputs of `network` for the rows of `x` (rows, columns): blocks of them are transformed and go through all
    /// layers while they are in the cache. `out` and `n_threads` as for [`Network::forward`].
    ///
    /// # Errors
    /// As [`Network::forward`]; missing numbers are in order.
    pub fn forward<S: Scalar, T: Dispatch>(
        &self,
        network: &Network<T>,
        x: Matrix<S>,
        out: &mut MatrixMut<T>,
        n_threads: usize,
    ) -> Result<()> {
        self.check(x)?;
        network.forward_rows(&Transformed { transformer: self, x }, out, n_threads)
    }

    fn check<S: Scalar>(&self, x: Matrix<S>) -> Result<()> {
        if x.cols() != self.columns {
            return Err(Error::invalid("X", format!("{} columns", self.columns), x.cols()));
        }
        // A comparison that NaN fails too: it means that a number is missing.
        match x.data().iter().position(|v| v.to_f64().abs() == f64::INFINITY) {
            None => Ok(()),
            Some(place) => Err(Error::NonFinite {
                argument: "X".into(),
                precision: S::NAME,
                value: x.data()[place].to_f64(),
                row: place / x.cols(),
                column: place % x.cols(),
            }),
        }
    }

    /// `x` is whole rows of columns, `out` as many of features.
    fn transform_rows<S: Scalar, T: Scalar>(&self, x: &[S], out: &mut [T]) {
        for (x, out) in x.chunks_exact(self.columns).zip(out.chunks_exact_mut(self.features)) {
            self.transform_row(x, out);
        }
    }

    fn transform_row<S: Scalar, T: Scalar>(&self, x: &[S], out: &mut [T]) {
        let (numbers, rest) = out.split_at_mut(self.numbers.len());
        let (flags, codes) = rest.split_at_mut(self.flags.len());
        for (number, out) in self.numbers.iter().zip(numbers) {
            let z = ((x[number.column].to_f64() - number.centre) * number.scale).clamp(-FAR, FAR);
            let clipped = z / (1.0 + (z / 3.0) * (z / 3.0)).sqrt();
            // A missing number stands where most of them are.
            *out = T::from_f64(if clipped.is_nan() { 0.0 } else { clipped });
        }
        for (column, out) in self.flags.iter().zip(flags) {
            *out = if x[*column].to_f64().is_nan() { T::ONE } else { T::ZERO };
        }
        codes.fill(T::ZERO);
        let mut start = 0;
        for category in &self.categories {
            let code = x[category.column].to_f64();
            // No code is below 0 or NaN, which this refuses too.
            if code >= 0.0 && code < category.codes as f64 {
                codes[start + code as usize] = T::ONE;
            }
            start += category.codes;
        }
    }
}

/// The rows of a table, as a network takes them.
struct Transformed<'a, S> {
    transformer: &'a FeatureEncoder,
    x: Matrix<'a, S>,
}

impl<S: Scalar, T: Scalar> Rows<T> for Transformed<'_, S> {
    fn rows(&self) -> usize {
        self.x.rows()
    }

    fn cols(&self) -> usize {
        self.transformer.features
    }

    fn room(&self, rows: usize) -> usize {
        rows * self.transformer.features
    }

    unsafe fn read<'a>(&'a self, team: &Team, rows: Range<usize>, room: &Shared<T>) -> View<'a, T> {
        let (columns, features) = (self.transformer.columns, self.transformer.features);
        let x = &self.x.data()[rows.start * columns..rows.end * columns];
        team.for_each_range(rows.len(), 1, 1, |_, range| {
            // SAFETY: the caller's promise; ranges are disjoint.
            let out = unsafe { room.slice(range.start * features..range.end * features) };
            self.transformer.transform_rows(&x[range.start * columns..range.end * columns], out);
        });
        // SAFETY: as above; nothing writes any more.
        unsafe { View::contiguous(room.slice(0..rows.len() * features), rows.len(), features) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::NetworkConfig;
    use crate::network::init::Init;
    use crate::{Network, OutputActivation};

    /// Columns: a number that is flagged, a constant, a category of 3 codes, a number.
    fn mixed() -> FeatureEncoder {
        let number = |column, centre, scale, flagged| NumberColumn { column, centre, scale, flagged };
        let numbers = [number(0, 1.0, 0.5, true), number(1, 7.0, 0.0, false), number(3, 0.0, 2.0, false)];
        FeatureEncoder::new(4, &numbers, vec![CategoryColumn { column: 2, codes: 3 }]).expect("columns in order")
    }

    #[test]
    fn each_column_becomes_its_features() {
        let nan = f64::NAN;
        let x = [3.0, 7.0, 2.0, 0.0, nan, nan, nan, nan, 1e300, 0.0, -1.0, -1e300, 1.0, 7.0, 3.0, 1.5];
        let mut out = [9.0f64; 4 * 6];
        let rows = Matrix::new("X", &x, 4, 4).expect("shape");
        mixed().transform(rows, &mut MatrixMut::new("out", &mut out, 4, 6).expect("shape")).expect("in order");
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
    fn a_pass_has_the_bits_of_transforming_first() {
        let config = NetworkConfig { output_activation: OutputActivation::Softmax, ..NetworkConfig::default() };
        let network = Network::<f32>::new(&[6, 40, 40, 5], config, Init::HeNormal, 1).expect("a network");
        for rows in [1, 2, 3, 257, 1000] {
            let x: Vec<f32> =
                (0..rows * 4).map(|i| if i % 11 == 0 { f32::NAN } else { (i * i % 17) as f32 - 3.0 }).collect();
            let x = Matrix::new("X", &x, rows, 4).expect("shape");
            let (mut features, mut want) = (vec![0.0; rows * 6], vec![0.0; rows * 5]);
            mixed().transform(x, &mut MatrixMut::new("out", &mut features, rows, 6).expect("shape")).expect("in order");
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

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |result: Result<FeatureEncoder>| result.expect_err("wrong").to_string();
        let number = |column, centre, scale| NumberColumn { column, centre, scale, flagged: false };
        let category = |codes| CategoryColumn { column: 0, codes };
        assert_eq!(refused(FeatureEncoder::new(0, &[], vec![])), "columns: expected at least one, got 0");
        let message = refused(FeatureEncoder::new(2, &[number(2, 0.0, 1.0)], vec![]));
        assert_eq!(message, "column: expected a place below 2, got 2");
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
