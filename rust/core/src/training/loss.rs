//! Losses: the loss of one row and its gradient. Cross-entropy is fused with softmax or sigmoid: both start from
//! logits.

use crate::activation::OutputActivation;
use crate::error::{Error, Result};
use crate::linalg::elementwise::Exp;
use crate::linalg::epilogue::Softmax;
use crate::matrix::Matrix;
use crate::network::Network;
use crate::network::checks::check_finite;
use crate::scalar::Scalar;
use crate::simd::dispatch::{Dispatch, Kernels};
use crate::string_enum::string_enum;

string_enum! {
    /// The loss that training minimizes: the weighted mean over the rows of one of these.
    Loss("loss") {
        /// sum_k t_k (ln sum_j exp(z_j) - z_k), for logits z and a probability distribution t over the classes.
        CrossEntropy = "cross_entropy",
        /// The mean over the outputs of max(z, 0) - z t + ln(1 + exp(-|z|)), for logits z and targets t in [0, 1].
        BinaryCrossEntropy = "binary_cross_entropy",
        /// The mean over the outputs of (y - t)^2, for outputs y and targets t; the stabilizer bounds the difference.
        SquaredError = "squared_error",
    }
}

impl Loss {
    /// The default loss for an output activation.
    pub fn of_output(output: OutputActivation) -> Loss {
        match output {
            OutputActivation::Softmax => Loss::CrossEntropy,
            OutputActivation::Sigmoid => Loss::BinaryCrossEntropy,
            OutputActivation::Identity | OutputActivation::Same => Loss::SquaredError,
        }
    }

    /// Whether the loss is computed from logits, the pre-activations of the last layer, instead of the outputs.
    pub(crate) fn takes_logits(self) -> bool {
        self != Loss::SquaredError
    }

    /// Cross-entropy needs an output activation with which it can be fused, or plain logits.
    fn check_output(self, output: OutputActivation) -> Result<()> {
        let fused = match self {
            Loss::CrossEntropy => OutputActivation::Softmax,
            Loss::BinaryCrossEntropy => OutputActivation::Sigmoid,
            Loss::SquaredError => return Ok(()),
        };
        if output == fused || output == OutputActivation::Identity {
            return Ok(());
        }
        let expected = format!(
            "a loss for the output_activation {:?}, for example {:?}",
            output.name(),
            Loss::of_output(output).name()
        );
        Err(Error::invalid("loss", expected, format!("{:?}", self.name())))
    }
}

/// By how much probabilities that should sum to 1 may miss it.
const MAX_SUM_ERROR: f64 = 1e-3;

/// The targets of training.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'a, T> {
    /// The class of each row; only for cross-entropy.
    Labels(&'a [u32]),
    /// (rows, outputs): class probabilities, labels in [0, 1], or values to predict.
    Values(Matrix<'a, T>),
}

impl<T: Scalar> Targets<'_, T> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Targets::Labels(labels) => labels.len(),
            Targets::Values(values) => values.rows(),
        }
    }
}

/// The loss of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RowLoss {
    /// With label smoothing; the gradient belongs to this one.
    pub smoothed: f64,
    /// Without label smoothing, like the loss of the validation set.
    pub exact: f64,
}

/// Label smoothing (Szegedy et al. 2016): a target t becomes (1 - share) t + share * prior.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LabelSmoothing<'a> {
    /// In [0, 1).
    pub share: f64,
    /// A probability for each output, (outputs,); `None` means the same for all classes, or 1/2 for each label.
    pub prior: Option<&'a [f64]>,
}

/// A loss with its targets: everything that the loss of a row depends on except the outputs.
#[derive(Clone, Copy)]
pub(crate) struct Objective<'a, T> {
    pub loss: Loss,
    pub output: OutputActivation,
    pub smoothing: LabelSmoothing<'a>,
    pub targets: Targets<'a, T>,
    pub square_bound: T,
}

impl<'a, T: Dispatch> Objective<'a, T> {
    /// The objective of training `network` towards `targets`.
    pub(crate) fn new(
        network: &Network<T>,
        targets: Targets<'a, T>,
        loss: Loss,
        smoothing: LabelSmoothing<'a>,
    ) -> Self {
        Objective {
            loss,
            output: network.config().output_activation,
            smoothing,
            targets,
            square_bound: network.epilogue(0).stabilizer.square_bound(),
        }
    }
}

impl<T: Dispatch> Objective<'_, T> {
    /// Checks that the loss fits the output activation, and the targets `rows` and `outputs`. Errors call the targets
    /// `argument`.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::NonFinite`].
    pub(crate) fn check(&self, argument: &str, rows: usize, outputs: usize) -> Result<()> {
        self.loss.check_output(self.output)?;
        self.check_smoothing(outputs)?;
        if self.targets.rows() != rows {
            let expected = format!("{rows} rows, one per row of X");
            return Err(Error::invalid(argument, expected, self.targets.rows()));
        }
        match self.targets {
            Targets::Labels(labels) if self.loss == Loss::CrossEntropy => {
                match labels.iter().position(|label| *label as usize >= outputs) {
                    None => Ok(()),
                    Some(row) => {
                        let expected = format!("labels from 0 to {}", outputs - 1);
                        Err(Error::invalid(argument, expected, format!("{} at row {row}", labels[row])))
                    }
                }
            }
            Targets::Labels(_) => {
                Err(Error::invalid(argument, format!("({rows}, {outputs}) values for {}", self.loss), "integer labels"))
            }
            Targets::Values(values) if values.cols() != outputs => {
                let expected = format!("shape ({rows}, {outputs})");
                Err(Error::invalid(argument, expected, format!("({}, {})", values.rows(), values.cols())))
            }
            Targets::Values(values) => {
                check_finite(argument, values)?;
                self.check_probabilities(argument, values)
            }
        }
    }

    fn check_smoothing(&self, outputs: usize) -> Result<()> {
        let LabelSmoothing { share, prior } = self.smoothing;
        if !(0.0..1.0).contains(&share) {
            return Err(Error::invalid("label_smoothing", "0 <= label_smoothing < 1", share));
        }
        if self.loss == Loss::SquaredError && share != 0.0 {
            return Err(Error::invalid("label_smoothing", "0 with squared_error", share));
        }
        let Some(prior) = prior else { return Ok(()) };
        if prior.len() != outputs {
            let expected = format!("{outputs} probabilities, one per output");
            return Err(Error::invalid("smoothing_prior", expected, prior.len()));
        }
        if let Some(bad) = prior.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            return Err(Error::invalid("smoothing_prior", "probabilities from 0 to 1", bad));
        }
        let sum: f64 = prior.iter().sum();
        if self.loss == Loss::CrossEntropy && (sum - 1.0).abs() > MAX_SUM_ERROR {
            return Err(Error::invalid("smoothing_prior", "probabilities that sum to 1", sum));
        }
        Ok(())
    }

    /// The cross-entropies need targets in [0, 1]; those of classes must sum to 1.
    fn check_probabilities(&self, argument: &str, values: Matrix<T>) -> Result<()> {
        if self.loss == Loss::SquaredError {
            return Ok(());
        }
        let outside = |v: &T| !(T::ZERO..=T::ONE).contains(v);
        if let Some(at) = values.data().iter().position(outside) {
            let (row, column) = (at / values.cols(), at % values.cols());
            let got = format!("{} at row {row}, column {column}", values.data()[at]);
            return Err(Error::invalid(argument, "values from 0 to 1", got));
        }
        if self.loss == Loss::CrossEntropy {
            for (row, t) in values.data().chunks(values.cols()).enumerate() {
                let sum: f64 = t.iter().map(|t| t.to_f64()).sum();
                if (sum - 1.0).abs() > MAX_SUM_ERROR {
                    return Err(Error::invalid(argument, "rows that sum to 1", format!("{sum} at row {row}")));
                }
            }
        }
        Ok(())
    }

    /// The loss of row `index`; writes `factor` times its gradient to `d` (outputs,).
    ///
    /// For the cross-entropies `out` (outputs,) holds the logits z, and `d` is dLoss/dz. For the squared error `out`
    /// holds the outputs y, and `d` is dLoss/dy. A softmax output is the exception: `out` holds its logits, which are
    /// replaced by the probabilities, and `d` is dLoss/dz.
    pub(crate) fn row(&self, kernels: &Kernels<T>, index: usize, out: &mut [T], factor: f64, d: &mut [T]) -> RowLoss {
        match self.loss {
            Loss::CrossEntropy => self.cross_entropy(kernels, index, out, factor, d),
            Loss::BinaryCrossEntropy => self.binary_cross_entropy(kernels, index, out, factor, d),
            Loss::SquaredError => {
                let through_softmax = self.output == OutputActivation::Softmax;
                if through_softmax {
                    kernels.run(Softmax { outputs: out.len(), z: out });
                }
                let loss = self.squared_error(index, out, factor, d);
                if through_softmax {
                    softmax_backward(out, d);
                }
                RowLoss { smoothed: loss, exact: loss }
            }
        }
    }

    /// The target of output `k` in row `index`.
    fn target(&self, index: usize, k: usize) -> f64 {
        match self.targets {
            Targets::Labels(labels) => f64::from(u8::from(labels[index] as usize == k)),
            Targets::Values(values) => values.row(index)[k].to_f64(),
        }
    }

    /// A target of output `k` after label smoothing.
    fn smoothed(&self, target: f64, k: usize, outputs: usize) -> f64 {
        let LabelSmoothing { share, prior } = self.smoothing;
        let prior = match prior {
            Some(prior) => prior[k],
            None if self.loss == Loss::CrossEntropy => 1.0 / outputs as f64,
            None => 0.5,
        };
        (1.0 - share) * target + share * prior
    }

    fn cross_entropy(&self, kernels: &Kernels<T>, index: usize, z: &[T], factor: f64, d: &mut [T]) -> RowLoss {
        let outputs = z.len();
        // Subtracting the largest logit: exp cannot overflow, and the sum is at least 1.
        let largest = z.iter().copied().fold(-T::MAX, |m, v| if v > m { v } else { m });
        d.iter_mut().zip(z).for_each(|(d, z)| *d = *z - largest);
        kernels.run(Exp { z: d });
        let sum: f64 = d.iter().map(|e| e.to_f64()).sum();
        let (log_sum, inverse) = (sum.ln(), 1.0 / sum);
        if let (Targets::Labels(labels), 0.0) = (self.targets, self.smoothing.share) {
            // A shorter formula for hard labels.
            let label = labels[index] as usize;
            let of_label = factor * (d[label].to_f64() * inverse - 1.0);
            d.iter_mut().for_each(|d| *d = T::from_f64(factor * (d.to_f64() * inverse)));
            d[label] = T::from_f64(of_label);
            let loss = log_sum - (z[label].to_f64() - largest.to_f64());
            return RowLoss { smoothed: loss, exact: loss };
        }
        let mut loss = RowLoss { smoothed: 0.0, exact: 0.0 };
        for (k, (d, z)) in d.iter_mut().zip(z).enumerate() {
            let exact = self.target(index, k);
            let t = self.smoothed(exact, k, outputs);
            // A target of 0 costs nothing, even where the probability is 0.
            if t != 0.0 {
                let surprise = log_sum - (z.to_f64() - largest.to_f64());
                loss.smoothed += t * surprise;
                loss.exact += if exact == 0.0 { 0.0 } else { exact * surprise };
            }
            *d = T::from_f64(factor * (d.to_f64() * inverse - t));
        }
        loss
    }

    fn binary_cross_entropy(&self, kernels: &Kernels<T>, index: usize, z: &[T], factor: f64, d: &mut [T]) -> RowLoss {
        let outputs = z.len();
        d.iter_mut().zip(z).for_each(|(d, z)| *d = if *z > T::ZERO { -*z } else { *z });
        kernels.run(Exp { z: d });
        let mut loss = RowLoss { smoothed: 0.0, exact: 0.0 };
        for (k, (d, z)) in d.iter_mut().zip(z).enumerate() {
            let (exact, z, e) = (self.target(index, k), z.to_f64(), d.to_f64());
            let t = self.smoothed(exact, k, outputs);
            loss.smoothed += z.max(0.0) - z * t + e.ln_1p();
            loss.exact += z.max(0.0) - z * exact + e.ln_1p();
            let p = if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
            *d = T::from_f64(factor / outputs as f64 * (p - t));
        }
        RowLoss { smoothed: loss.smoothed / outputs as f64, exact: loss.exact / outputs as f64 }
    }

    fn squared_error(&self, index: usize, y: &[T], factor: f64, d: &mut [T]) -> f64 {
        let (outputs, bound) = (y.len() as f64, self.square_bound.to_f64());
        let mut loss = 0.0;
        for (k, (d, y_k)) in d.iter_mut().zip(y).enumerate() {
            let difference = (y_k.to_f64() - self.target(index, k)).clamp(-bound, bound);
            // Dividing each term keeps the sum from overflowing.
            loss += difference * (difference / outputs);
            *d = T::from_f64(factor * 2.0 * difference / outputs);
        }
        loss
    }

    /// Whether row `index` with the logits `z` is predicted correctly: the class has the largest logit, or for binary
    /// cross-entropy every label is on the right side of 1/2. The squared error has no such notion.
    pub(crate) fn is_correct(&self, index: usize, z: &[T]) -> bool {
        match (self.loss, self.targets) {
            (Loss::CrossEntropy, Targets::Labels(labels)) => argmax(z) == labels[index] as usize,
            (Loss::CrossEntropy, Targets::Values(values)) => argmax(z) == argmax(values.row(index)),
            (_, Targets::Values(values)) => {
                let half = T::from_f64(0.5);
                z.iter().zip(values.row(index)).all(|(z, t)| (*z > T::ZERO) == (*t > half))
            }
            (_, Targets::Labels(_)) => false,
        }
    }
}

/// The index of the largest value; the first if several are equal.
fn argmax<T: Scalar>(values: &[T]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

/// Replaces dLoss/dp by dLoss/dz in `d`, for p = softmax(z): d_k = p_k (d_k - sum_j p_j d_j).
pub(crate) fn softmax_backward<T: Scalar>(p: &[T], d: &mut [T]) {
    let mean: f64 = p.iter().zip(d.iter()).map(|(p, d)| p.to_f64() * d.to_f64()).sum();
    for (d, p) in d.iter_mut().zip(p) {
        *d = T::from_f64(p.to_f64() * (d.to_f64() - mean));
    }
}
