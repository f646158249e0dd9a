//! A macro for enums that users name by strings.

/// Defines an enum with a string for each variant, and the conversions between them. `argument` names the parameter in
/// the error for an unknown string.
macro_rules! string_enum {
    ($(#[$doc:meta])* $name:ident($argument:literal) { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            /// Every variant.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The string that [`std::str::FromStr`] parses to this variant.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text),*
                }
            }

            /// Parses the string of a variant; errors call it `argument`.
            ///
            /// # Errors
            /// [`crate::Error::Invalid`], which lists all strings.
            pub fn parse(argument: &str, text: &str) -> $crate::Result<Self> {
                Self::ALL.iter().copied().find(|variant| variant.name() == text).ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|variant| format!("{:?}", variant.name())).collect();
                    $crate::Error::invalid(argument, format!("one of {}", names.join(", ")), format!("{text:?}"))
                })
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Error;
            fn from_str(text: &str) -> $crate::Result<Self> {
                $name::parse($argument, text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use string_enum;
