//! A batch in: Z = X W^T, by the crate `gemm`.

use crate::scalar::Scalar;

/// z = x weight^T, on the calling thread; x is (batch, inputs), weight (outputs, inputs), z (batch, outputs), all row-major.
pub(crate) fn gemm<T: Scalar>(x: &[T], weight: &[T], inputs: usize, z: &mut [T]) {
    let (batch, outputs) = (x.len() / inputs, weight.len() / inputs);
    assert!(x.len() == batch * inputs && weight.len() == outputs * inputs && z.len() == batch * outputs);
    // SAFETY: the strides stay inside the three slices by the assertion; z is borrowed mutably and overlaps neither.
    unsafe {
        gemm::gemm(
            batch,
            outputs,
            inputs,
            z.as_mut_ptr(),
            1,
            outputs as isize,
            false,
            x.as_ptr(),
            1,
            inputs as isize,
            weight.as_ptr(),
            inputs as isize,
            1,
            T::ZERO,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
