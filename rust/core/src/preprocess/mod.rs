//! From the raw columns of a table to the features that a network takes, in the same pass over the rows.
//!
//! Uses `network`, whose passes read their rows through it; nothing in the core uses this folder.

pub(crate) mod feature_encoder;
