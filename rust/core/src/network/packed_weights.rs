//! A second copy of a network's weights, in the panels that packed products read (`linalg/pack.rs`).

use crate::error::Result;
use crate::linalg::pack::{PackTransposed, panels_len};
use crate::linalg::view::View;
use crate::memory::{Aligned, zeros};
use crate::network::layer::Layer;
use crate::network::plan::Plan;
use crate::simd::dispatch::{Dispatch, Kernels};

/// The panels of each layer; empty for a layer that is not packed.
pub struct PackedWeights<T>(Vec<Aligned<T>>);

impl<T: Dispatch> PackedWeights<T> {
    /// Packs the weights of each layer for which `plan` says so. `None` stands for a layer with weights of another kind.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn new<'a>(
        layers: impl Iterator<Item = Option<&'a Layer<T>>>,
        kernels: &Kernels<T>,
        plan: &Plan,
    ) -> Result<Self> {
        let pack = |layer: Option<&Layer<T>>| {
            let Some(layer) = layer.filter(|layer| plan.is_packed(layer.outputs())) else {
                return zeros("network", 0);
            };
            let (inputs, outputs) = (layer.inputs(), layer.outputs());
            let mut panels = zeros("network", panels_len(inputs, outputs, kernels.nr()))?;
            let weight = View::contiguous(layer.weight(), outputs, inputs);
            // SAFETY: `panels` has the size of this layer's panels, and nothing else uses it.
            unsafe {
                let panels = panels.as_mut_ptr();
                kernels.run_unchecked(PackTransposed { weight, outputs: 0..outputs, panels });
            }
            Ok(panels)
        };
        layers.map(pack).collect::<Result<_>>().map(PackedWeights)
    }

    /// The panels of layer `l`; empty if the weights have not been packed.
    pub(crate) fn panels(packed: Option<&Self>, l: usize) -> &[T] {
        packed.map_or(&[], |packed| &packed.0[l])
    }
}
