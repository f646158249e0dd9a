//! The instruction sets, and the choice between them.

use std::sync::OnceLock;

use crate::error::{Error, Result};
#[cfg(target_arch = "x86_64")]
use crate::simd::amx_permission;

/// An instruction set with its own kernels for f32 and f64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, compiled for the baseline of the target.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW and VL.
    Avx512,
    /// 64-bit ARM.
    Neon,
}

impl Isa {
    /// All instruction sets, from the narrowest to the widest.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// Its name in `TINYRS_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }

    /// Whether this CPU has the instruction set.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            // Every CPU with AVX2 has F16C too.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            // Every 64-bit ARM CPU has NEON.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
            #[allow(unreachable_patterns, reason = "which arms exist depends on the architecture")]
            _ => false,
        }
    }

    /// The instruction set in use: the one that the environment variable `TINYRS_ISA` names, which is read once, or
    /// else the widest that this CPU has.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `TINYRS_ISA` is not the name of an instruction set that this CPU has.
    pub fn active() -> Result<Isa> {
        Ok(wanted()?.map_or_else(widest, LowPrecisionIsa::lanes))
    }
}

/// The widest instruction set for f32 and f64 that this CPU has.
fn widest() -> Isa {
    Isa::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap_or(Isa::Scalar)
}

/// An instruction set with its own kernels for low precision: an [`Isa`], with or without instructions for integers and
/// bfloat16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LowPrecisionIsa {
    /// [`Isa::Scalar`].
    Scalar,
    /// [`Isa::Neon`].
    Neon,
    /// [`Isa::Neon`] with the dot product of integers.
    NeonDotprod,
    /// [`Isa::Avx2`].
    Avx2,
    /// [`Isa::Avx2`] with AVX-VNNI, which multiplies integers.
    AvxVnni,
    /// [`Isa::Avx512`].
    Avx512,
    /// [`Isa::Avx512`] with AVX-512 VNNI, which multiplies integers.
    Avx512Vnni,
    /// [`LowPrecisionIsa::Avx512Vnni`] with AVX-512 BF16, which multiplies bfloat16 numbers.
    Avx512Bf16,
    /// [`LowPrecisionIsa::Avx512Bf16`] with AMX for integers and bfloat16, if the operating system permits it.
    Amx,
}

impl LowPrecisionIsa {
    /// All instruction sets, from the narrowest to the widest.
    pub const ALL: [LowPrecisionIsa; 9] = [
        LowPrecisionIsa::Scalar,
        LowPrecisionIsa::Neon,
        LowPrecisionIsa::NeonDotprod,
        LowPrecisionIsa::Avx2,
        LowPrecisionIsa::AvxVnni,
        LowPrecisionIsa::Avx512,
        LowPrecisionIsa::Avx512Vnni,
        LowPrecisionIsa::Avx512Bf16,
        LowPrecisionIsa::Amx,
    ];

    /// Its name in `TINYRS_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            LowPrecisionIsa::Scalar | LowPrecisionIsa::Neon | LowPrecisionIsa::Avx2 | LowPrecisionIsa::Avx512 => {
                self.lanes().name()
            }
            LowPrecisionIsa::NeonDotprod => "neon_dotprod",
            LowPrecisionIsa::AvxVnni => "avx_vnni",
            LowPrecisionIsa::Avx512Vnni => "avx512_vnni",
            LowPrecisionIsa::Avx512Bf16 => "avx512_bf16",
            LowPrecisionIsa::Amx => "amx",
        }
    }

    /// The instruction set of the f32 arithmetic beside it.
    pub fn lanes(self) -> Isa {
        match self {
            LowPrecisionIsa::Scalar => Isa::Scalar,
            LowPrecisionIsa::Neon | LowPrecisionIsa::NeonDotprod => Isa::Neon,
            LowPrecisionIsa::Avx2 | LowPrecisionIsa::AvxVnni => Isa::Avx2,
            LowPrecisionIsa::Avx512
            | LowPrecisionIsa::Avx512Vnni
            | LowPrecisionIsa::Avx512Bf16
            | LowPrecisionIsa::Amx => Isa::Avx512,
        }
    }

    /// Whether this CPU has the instruction set.
    pub fn is_available(self) -> bool {
        let has_extension = match self {
            #[cfg(target_arch = "aarch64")]
            LowPrecisionIsa::NeonDotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::AvxVnni => is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::Avx512Vnni => is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::Avx512Bf16 => {
                LowPrecisionIsa::Avx512Vnni.is_available() && is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::Amx => LowPrecisionIsa::Avx512Bf16.is_available() && amx_permission::is_available(),
            _ => true,
        };
        self.lanes().is_available() && has_extension
    }

    /// The instruction set in use, chosen as by [`Isa::active`].
    ///
    /// # Errors
    /// [`Error::Invalid`] if `TINYRS_ISA` is not the name of an instruction set that this CPU has.
    pub fn active() -> Result<LowPrecisionIsa> {
        static WIDEST: OnceLock<LowPrecisionIsa> = OnceLock::new();
        let widest = || LowPrecisionIsa::available().next_back().unwrap_or(LowPrecisionIsa::Scalar);
        Ok(wanted()?.unwrap_or_else(|| *WIDEST.get_or_init(widest)))
    }

    /// Those that this CPU has, from the narrowest to the widest.
    pub fn available() -> impl DoubleEndedIterator<Item = LowPrecisionIsa> {
        LowPrecisionIsa::ALL.into_iter().filter(|isa| isa.is_available())
    }
}

/// The instruction set that `TINYRS_ISA` names. Their names include those of [`Isa`].
fn wanted() -> Result<Option<LowPrecisionIsa>> {
    static WANTED: OnceLock<Result<Option<LowPrecisionIsa>>> = OnceLock::new();
    WANTED.get_or_init(|| named(std::env::var("TINYRS_ISA").ok().as_deref())).clone()
}

fn named(name: Option<&str>) -> Result<Option<LowPrecisionIsa>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let found = LowPrecisionIsa::ALL.into_iter().find(|isa| isa.name() == name);
    found.filter(|isa| isa.is_available()).map(Some).ok_or_else(|| {
        let names: Vec<_> = LowPrecisionIsa::available().map(LowPrecisionIsa::name).collect();
        Error::invalid("TINYRS_ISA", format!("an instruction set of this CPU ({})", names.join(", ")), name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_selects_an_instruction_set() {
        assert_eq!((named(None).unwrap(), named(Some("")).unwrap()), (None, None));
        for isa in LowPrecisionIsa::ALL {
            let found = named(Some(isa.name()));
            assert_eq!(found.is_ok(), isa.is_available(), "{isa:?}");
            assert!(found.is_err() || found == Ok(Some(isa)), "{isa:?}");
        }
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            assert_eq!(named(Some(isa.name())).unwrap().map(LowPrecisionIsa::lanes), Some(isa));
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_available_ones() {
        let message = named(Some("mmx")).unwrap_err().to_string();
        assert!(message.contains("TINYRS_ISA") && message.contains("scalar") && message.contains("mmx"), "{message}");
    }
}
