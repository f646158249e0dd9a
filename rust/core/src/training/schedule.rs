//! Schedules: factors of the learning rate, of dropout and of weight decay that change during training.

use std::f64::consts::PI;

use crate::string_enum::string_enum;

string_enum! {
    /// A factor that depends on the progress t of training: 0 at the first step, 1 after the last.
    Schedule("schedule") {
        /// Always 1.
        Constant = "constant",
        /// Linear from 0 to 1 until t = 0.1, then down to 0 along half a cosine (Loshchilov and Hutter 2017).
        WarmupCosine = "warmup_cosine",
        /// From 1/25 up to 1 at t = 0.3, then down to 4e-6, both along half a cosine (Smith and Topin 2018, with
        /// PyTorch's defaults).
        OneCycle = "one_cycle",
        /// (1 - cos(2 pi log2(1 + 15 t))) / 2: four cycles, each twice as long as the one before (Holzmuller et al.
        /// 2024).
        CosLog4 = "coslog4",
        /// 1 until t = 0.5, then down to 0 along half a cosine (Holzmuller et al. 2024).
        FlatCosine = "flat_cosine",
    }
}

impl Schedule {
    /// The factor at progress `t`; `libm` makes it the same on every platform.
    pub fn factor(self, t: f64) -> f64 {
        // Goes from a at s = 0 to b at s = 1.
        let half_cosine = |a: f64, b: f64, s: f64| a + (b - a) * 0.5 * (1.0 - libm::cos(PI * s));
        match self {
            Schedule::Constant => 1.0,
            Schedule::WarmupCosine if t < 0.1 => t / 0.1,
            Schedule::WarmupCosine => half_cosine(1.0, 0.0, (t - 0.1) / 0.9),
            Schedule::OneCycle if t < 0.3 => half_cosine(1.0 / 25.0, 1.0, t / 0.3),
            Schedule::OneCycle => half_cosine(1.0, 1.0 / 25e4, (t - 0.3) / 0.7),
            Schedule::CosLog4 => half_cosine(0.0, 1.0, 2.0 * libm::log2(1.0 + 15.0 * t)),
            Schedule::FlatCosine if t < 0.5 => 1.0,
            Schedule::FlatCosine => half_cosine(1.0, 0.0, 2.0 * (t - 0.5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_have_the_documented_values() {
        let points = [
            (Schedule::Constant, &[(0.0, 1.0), (0.9, 1.0)][..]),
            (Schedule::WarmupCosine, &[(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.55, 0.5), (1.0, 0.0)]),
            (Schedule::OneCycle, &[(0.0, 0.04), (0.3, 1.0), (0.65, 0.5 + 2e-6), (1.0, 4e-6)]),
            // log2(1 + 15 t) is 0, 1/2, 1, 2, 4.
            (
                Schedule::CosLog4,
                &[(0.0, 0.0), ((2f64.sqrt() - 1.0) / 15.0, 1.0), (1.0 / 15.0, 0.0), (0.2, 0.0), (1.0, 0.0)],
            ),
            (Schedule::FlatCosine, &[(0.0, 1.0), (0.499, 1.0), (0.75, 0.5), (1.0, 0.0)]),
        ];
        for (schedule, points) in points {
            for (t, want) in points {
                let got = schedule.factor(*t);
                assert!((got - want).abs() < 1e-12, "{schedule} at {t}: {got} instead of {want}");
            }
        }
    }
}
