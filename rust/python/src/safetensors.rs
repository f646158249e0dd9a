//! The bytes of a safetensors file, written and read by the crate; what is in them is for `tinyrs.model_file` to say.

use std::borrow::Cow;
use std::collections::HashMap;

use numpy::{PyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use safetensors::{Dtype, SafeTensors, View};

use crate::arrays::as_slice;

/// The dtypes that a model file holds, and what NumPy calls them, little-endian as in the file.
const DTYPES: [(Dtype, &str); 4] =
    [(Dtype::F32, "<f4"), (Dtype::F64, "<f8"), (Dtype::I64, "<i8"), (Dtype::BOOL, "|b1")];

/// (name, dtype as NumPy's `dtype.str`, shape)
type Header = (String, String, Vec<usize>);

/// The metadata; and the place of each tensor's first byte.
type Contents = (HashMap<String, String>, Vec<(Header, usize)>);

struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: PyBackedBytes,
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

/// The bytes of a file with these tensors, (name, dtype, shape) and their bytes, and this metadata.
#[pyfunction]
pub fn write_safetensors<'py>(
    py: Python<'py>,
    tensors: Vec<(Header, PyBackedBytes)>,
    metadata: HashMap<String, String>,
) -> PyResult<Bound<'py, PyBytes>> {
    let tensor = |((name, dtype, shape), data): (Header, PyBackedBytes)| {
        let known = DTYPES.iter().find(|(_, numpy)| *numpy == dtype);
        let &(dtype, _) = known.ok_or_else(|| PyValueError::new_err(format!("{name}: unknown dtype {dtype}")))?;
        Ok((name, Tensor { dtype, shape, data }))
    };
    let tensors = tensors.into_iter().map(tensor).collect::<PyResult<Vec<_>>>()?;
    let views = tensors.iter().map(|(name, tensor)| (name, tensor));
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| refused(&error))?;
    Ok(PyBytes::new(py, &bytes))
}

/// What the bytes of a file hold: its metadata, and each tensor's (name, dtype, shape) and the place of its first byte.
/// Every offset, shape and length has been checked against the others and the file's size.
///
/// Raises
/// ------
/// ValueError
///     If they are not those of a safetensors file.
#[pyfunction]
pub fn read_safetensors(data: &Bound<PyArray1<u8>>) -> PyResult<Contents> {
    if !data.is_c_contiguous() {
        return Err(PyValueError::new_err("data: expected contiguous bytes"));
    }
    let bytes = as_slice(data.as_any().cast()?);
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| refused(&error))?;
    // The tensors stand behind eight bytes of the header's length and the header.
    let start = size_of::<u64>() + header;
    let tensor = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let known = DTYPES.iter().find(|(dtype, _)| *dtype == info.dtype);
        let Some((_, dtype)) = known else {
            let message = format!("{name}: expected a dtype of F32, F64, I64 or BOOL, got {}", info.dtype);
            return Err(PyValueError::new_err(message));
        };
        Ok(((name, (*dtype).into(), info.shape.clone()), start + info.data_offsets.0))
    };
    let tensors = metadata.tensors().into_iter().map(tensor).collect::<PyResult<_>>()?;
    Ok((metadata.metadata().clone().unwrap_or_default(), tensors))
}

fn refused(error: &safetensors::SafeTensorError) -> PyErr {
    PyValueError::new_err(format!("expected a safetensors file, got one with an error: {error}"))
}
