//! The weights of a network a second time, in the panels that `linalg/packed_gemm.rs` reads.

use crate::error::Result;
use crate::linalg::kernels::Kernels;
use crate::linalg::pack::panels_len;
use crate::linalg::view::View;
use crate::memory::{Aligned, zeros};
use crate::network::layer::Layer;
use crate::scalar::Scalar;

/// The panels of each layer; empty for a layer that is not packed.
#[derive(Clone)]
pub(crate) struct PackedWeights<T>(Vec<Aligned<T>>);

impl<T: Scalar> PackedWeights<T> {
    /// Packs those layers of which `wanted` says so.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn new(layers: &[Layer<T>], kernels: &Kernels<T>, wanted: impl Fn(&Layer<T>) -> bool) -> Result<Self> {
        let pack = |layer: &Layer<T>| {
            if !wanted(layer) {
                return zeros("network", 0);
            }
            let (inputs, outputs) = (layer.inputs(), layer.outputs());
            let mut panels = zeros("network", panels_len(inputs, outputs, kernels.nr()))?;
            // SAFETY: the panels were made for this layer, and are nobody else's.
            unsafe {
                let weight = View::contiguous(layer.weight(), outputs, inputs);
                kernels.pack_transposed(weight, 0..outputs, panels.as_mut_ptr());
            }
            Ok(panels)
        };
        layers.iter().map(pack).collect::<Result<_>>().map(PackedWeights)
    }

    /// The panels of layer `l`.
    pub(crate) fn panels(&self, l: usize) -> &[T] {
        &self.0[l]
    }
}
