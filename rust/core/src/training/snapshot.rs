//! Copies of the arrays that training changes, to go back to the last finished epoch or to the best one.

use crate::error::Result;
use crate::memory::Arena;
use crate::network::layer::Layer;
use crate::parallel::Shared;
use crate::scalar::Scalar;

/// An array that the threads of training share.
pub(crate) struct SharedArray<T> {
    start: Shared<T>,
    len: usize,
}

impl<T> SharedArray<T> {
    /// The `len` elements at `start`.
    ///
    /// # Safety
    /// While methods of this array, of [`Snapshot`] or of [`super::checkpoint::TrainingState`] use it, the elements
    /// exist and nothing else uses them.
    pub(crate) unsafe fn new(start: Shared<T>, len: usize) -> Self {
        SharedArray { start, len }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: the promise of `new`'s caller.
        unsafe { self.start.slice(0..self.len) }
    }

    fn copy_from(&self, values: &[T])
    where
        T: Copy,
    {
        // SAFETY: the promise of `new`'s caller.
        unsafe { self.start.slice_mut(0..self.len) }.copy_from_slice(values);
    }
}

/// The arrays that training changes: for each layer a weight and a bias, then the optimizer's first moments in the same
/// order, then its second moments, if it has them.
pub(crate) struct TrainedArrays<T> {
    arrays: Vec<SharedArray<T>>,
    n_parameters: usize,
}

impl<T> TrainedArrays<T> {
    pub(crate) fn new(arrays: Vec<SharedArray<T>>, n_layers: usize) -> Self {
        TrainedArrays { arrays, n_parameters: 2 * n_layers }
    }

    pub(crate) fn all(&self) -> &[SharedArray<T>] {
        &self.arrays
    }

    pub(crate) fn parameters(&self) -> &[SharedArray<T>] {
        &self.arrays[..self.n_parameters]
    }

    pub(crate) fn moments(&self) -> &[SharedArray<T>] {
        &self.arrays[self.n_parameters..]
    }
}

/// A copy of some arrays.
pub(crate) struct Snapshot(Arena);

impl Snapshot {
    /// A snapshot with space for `arrays`; its contents are unspecified until the first call of `save`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn new<T: Scalar>(arrays: &[SharedArray<T>]) -> Result<Self> {
        let len: usize = arrays.iter().map(|array| array.len).sum();
        Arena::new("layer_sizes", len.saturating_mul(size_of::<T>())).map(Snapshot)
    }

    /// Copies `arrays` into the snapshot.
    pub(crate) fn save<T: Scalar>(&mut self, arrays: &[SharedArray<T>]) {
        self.fill(arrays.iter().map(SharedArray::as_slice));
    }

    /// Copies the weights and biases of `layers` into the snapshot.
    pub(crate) fn save_layers<T: Scalar>(&mut self, layers: &[Layer<T>]) {
        self.fill(layers.iter().flat_map(|layer| [layer.weight(), layer.bias()]));
    }

    fn fill<'a, T: Scalar>(&mut self, arrays: impl Iterator<Item = &'a [T]>) {
        let mut free = self.0.as_mut_slice();
        for array in arrays {
            let (copy, rest) = free.split_at_mut(array.len());
            copy.copy_from_slice(array);
            free = rest;
        }
    }

    /// Copies the snapshot back into `arrays`.
    pub(crate) fn restore<T: Scalar>(&self, arrays: &[SharedArray<T>]) {
        let mut copies = self.0.as_slice();
        for array in arrays {
            let (copy, rest) = copies.split_at(array.len);
            array.copy_from(copy);
            copies = rest;
        }
    }

    /// Copies a snapshot of parameters into `layers`.
    pub(crate) fn restore_layers<T: Scalar>(&self, layers: &mut [Layer<T>]) {
        let mut copies = self.0.as_slice();
        for layer in layers {
            let (weight, rest) = copies.split_at(layer.weight().len());
            let (bias, rest) = rest.split_at(layer.bias().len());
            layer.copy_from(weight, bias);
            copies = rest;
        }
    }
}
