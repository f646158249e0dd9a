//! Bounds that keep exp and squares finite.

use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// The intervals to which arguments of exp and of squares are clipped.
///
/// With min and max the least and largest finite values of `T`, an argument of exp is clipped to [min + epsilon_exp,
/// ln(max) - epsilon_exp], and the magnitude of a value that is squared to sqrt(max) - epsilon_square.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stabilizer<T> {
    exp_low: T,
    exp_high: T,
    square: T,
}

impl<T: Scalar> Stabilizer<T> {
    /// The intervals for these epsilons.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless both epsilons are finite, at least 0, and leave a bound above 0:
    /// `epsilon_exp` below ln(max), `epsilon_square` below sqrt(max).
    pub fn new(epsilon_exp: f64, epsilon_square: f64) -> Result<Self> {
        let (ln_max, sqrt_max) = (T::MAX.to_f64().ln(), T::MAX.to_f64().sqrt());
        for (argument, epsilon, limit) in
            [("epsilon_exp", epsilon_exp, ln_max), ("epsilon_square", epsilon_square, sqrt_max)]
        {
            if !(0.0..limit).contains(&epsilon) {
                return Err(Error::invalid(argument, format!("0 <= {argument} < {limit:.6e}"), epsilon));
            }
        }
        Ok(Stabilizer {
            exp_low: T::from_f64(-T::MAX.to_f64() + epsilon_exp),
            // Rounded down: the nearest f32 to ln(max) lies above it, and its exp is infinite.
            exp_high: T::at_most(ln_max - epsilon_exp),
            square: T::at_most(sqrt_max - epsilon_square),
        })
    }

    /// The lower and the upper bound of an argument of exp.
    pub fn exp_bounds(&self) -> (T, T) {
        (self.exp_low, self.exp_high)
    }

    /// The largest magnitude of a value that is squared.
    pub fn square_bound(&self) -> T {
        self.square
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds_hold<T: Scalar>() {
        for epsilon in [0.0, 4e-6, 1e-3, 1.0] {
            let stabilizer = Stabilizer::<T>::new(epsilon, epsilon).unwrap();
            let (low, high) = stabilizer.exp_bounds();
            let (top, square) = (high.to_f64().exp(), stabilizer.square_bound().to_f64().powi(2));
            assert!(low.is_finite() && low < T::ZERO);
            assert!(T::from_f64(top).is_finite() && T::from_f64(square).is_finite(), "{top} {square}");
            // The upper bound is as high as asked, up to one rounding.
            assert!(high.to_f64() >= (T::MAX.to_f64().ln() - epsilon) * (1.0 - 2.0 * T::EPSILON.to_f64()));
        }
    }

    #[test]
    fn exp_and_squares_of_the_bounds_are_finite() {
        bounds_hold::<f32>();
        bounds_hold::<f64>();
    }

    #[test]
    fn an_epsilon_out_of_range_is_an_error_that_names_it() {
        for (exp, square, name) in
            [(-1.0, 0.0, "epsilon_exp"), (f64::NAN, 0.0, "epsilon_exp"), (0.0, 1e30, "epsilon_square")]
        {
            let message = Stabilizer::<f32>::new(exp, square).unwrap_err().to_string();
            assert!(message.starts_with(name), "{message}");
        }
    }
}
