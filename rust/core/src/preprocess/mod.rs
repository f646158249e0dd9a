//! Preprocessing: encodes the columns of a table as the features that a network takes.
//!
//! Uses `network`, whose pass reads its rows through a trait that the encoder implements: rows are encoded in the same
//! pass. Nothing else in the core uses this folder. Start with `feature_encoder`; `cells` is what it reads;
//! `infinity` finds values that it refuses; `column_check` finds columns that are unlike those of the training rows.

pub(crate) mod cells;
pub(crate) mod column_check;
pub(crate) mod feature_encoder;
pub(crate) mod infinity;
