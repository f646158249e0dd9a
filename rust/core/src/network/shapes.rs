//! Whether the shapes of layers fit together, and the sizes of the network that they make.

use crate::error::{Error, Result};
use crate::linalg::numeric_embedding::{EMBEDDED, FREQUENCIES};

/// The sizes (inputs, hidden..., outputs) of a network whose layers have these numbers of (inputs, outputs), and the
/// number of inputs that the first `n_embedding` layers embed.
///
/// # Errors
/// [`Error::Invalid`] if there is no dense layer, the number of inputs of a layer is not that of outputs of the layer
/// before, or the shapes of the embedding do not fit.
pub(crate) fn check_chain(layers: &[(usize, usize)], n_embedding: usize) -> Result<(Vec<usize>, usize)> {
    let (embedding, dense) = layers.split_at(n_embedding.min(layers.len()));
    let embedded = embedded_inputs(embedding)?;
    let mut sizes = Vec::new();
    for (index, &(inputs, outputs)) in dense.iter().enumerate() {
        let index = n_embedding + index;
        match sizes.last() {
            None => sizes.push(inputs),
            Some(&before) if before != inputs => {
                let expected = format!("{before} columns, the number of outputs of the layer before");
                return Err(Error::invalid(format!("parameters[{index}].W"), expected, inputs));
            }
            Some(_) => {}
        }
        sizes.push(outputs);
    }
    let Some(inputs) = sizes.first_mut() else {
        return Err(Error::invalid("parameters", "at least one layer", "none"));
    };
    let least = (1 + EMBEDDED) * embedded;
    if *inputs < least {
        let expected = format!("at least {least} columns, because {embedded} inputs are embedded");
        return Err(Error::invalid(format!("parameters[{n_embedding}].W"), expected, inputs));
    }
    *inputs -= EMBEDDED * embedded;
    Ok((sizes, embedded))
}

/// The number of inputs that embedding layers of these numbers of (inputs, outputs) embed; 0 for no layers.
///
/// # Errors
/// [`Error::Invalid`] if the shapes are not those of an embedding.
fn embedded_inputs(layers: &[(usize, usize)]) -> Result<usize> {
    let Some(&(inputs, outputs)) = layers.first() else { return Ok(0) };
    let n = outputs / FREQUENCIES;
    if inputs != 1 || n * FREQUENCIES != outputs {
        let expected = format!("shape ({FREQUENCIES} n, 1) for an embedding of n inputs");
        return Err(Error::invalid("parameters[0].W", expected, format!("({outputs}, {inputs})")));
    }
    match layers.get(1) {
        Some(&(inputs, outputs)) if (inputs, outputs) == (FREQUENCIES, EMBEDDED * n) => Ok(n),
        other => {
            let got = other.map_or("none".into(), |(inputs, outputs)| format!("({outputs}, {inputs})"));
            let expected = format!("shape ({}, {FREQUENCIES}), because {n} inputs are embedded", EMBEDDED * n);
            Err(Error::invalid("parameters[1].W", expected, got))
        }
    }
}
