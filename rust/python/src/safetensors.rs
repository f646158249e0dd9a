//! Reading and writing the bytes of safetensors files. `tinyrs.files.model_file` defines their contents.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use half::{bf16, f16};
use numpy::Element;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use safetensors::{Dtype, SafeTensors, View};
use sha2::{Digest, Sha256};
use tinyrs_core::{Scalar, collect};

use crate::arrays::{as_bytes, tuple};
use crate::calls::{call, call_method};
use crate::errors::to_python;
use crate::json::{canonical, parse};
use crate::sha256::hexadecimal;

/// A dtype that a model file can hold.
struct Kind {
    dtype: Dtype,
    /// NumPy's `dtype.name`, if it has the dtype.
    name: &'static str,
    /// NumPy's `dtype.str`, if it has the dtype; files are little-endian.
    code: &'static str,
    size: usize,
}

const KINDS: [Kind; 7] = [
    Kind { dtype: Dtype::F32, name: "float32", code: "<f4", size: 4 },
    Kind { dtype: Dtype::F64, name: "float64", code: "<f8", size: 8 },
    Kind { dtype: Dtype::I64, name: "int64", code: "<i8", size: 8 },
    Kind { dtype: Dtype::BOOL, name: "bool", code: "|b1", size: 1 },
    Kind { dtype: Dtype::F16, name: "float16", code: "<f2", size: 2 },
    // NumPy has no such dtype.
    Kind { dtype: Dtype::BF16, name: "bfloat16", code: "bfloat16", size: 2 },
    Kind { dtype: Dtype::I8, name: "int8", code: "|i1", size: 1 },
];

/// An array in a model file, which is read without NumPy. `numpy.asarray` returns an array that shares its memory, or an
/// array of float32 for bfloat16, which NumPy does not have.
///
/// Parameters
/// ----------
/// dtype : {"<f4", "<f8", "<i8", "|b1", "<f2", "bfloat16", "|i1"}
/// shape : sequence of int
/// data : bytes
///     The elements in row-major order, little-endian.
///
/// Raises
/// ------
/// ValueError
///     If the dtype is another one, or the length of `data` does not fit the shape.
#[pyclass(module = "tinyrs._tinyrs", frozen)]
pub struct Tensor {
    kind: &'static Kind,
    shape: Vec<usize>,
    /// The bytes of the whole file.
    file: PyBackedBytes,
    /// The position of the elements in `file`.
    range: Range<usize>,
}

#[pymethods]
impl Tensor {
    #[new]
    fn new(dtype: &str, shape: Vec<usize>, data: PyBackedBytes) -> PyResult<Self> {
        let kind = KINDS.iter().find(|kind| kind.code == dtype).ok_or_else(|| {
            let codes = KINDS.map(|kind| kind.code).join(", ");
            PyValueError::new_err(format!("dtype: expected one of {codes}, got {dtype}"))
        })?;
        let bytes = shape.iter().try_fold(kind.size, |product, n| product.checked_mul(*n));
        if bytes != Some(data.len()) {
            let message = format!("data: got {} bytes, which do not fit shape {}", data.len(), tuple(&shape));
            return Err(PyValueError::new_err(message));
        }
        let range = 0..data.len();
        Ok(Tensor { kind, shape, file: data, range })
    }

    /// The name of the dtype in NumPy, such as "float32".
    #[getter]
    fn dtype(&self) -> &'static str {
        self.kind.name
    }

    /// The shape, a tuple of int.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shape)
    }

    /// Return all elements in row-major order as one flat list of Python numbers. A bool is True if its byte is not 0.
    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let (list, bytes) = (PyList::empty(py), self.bytes());
        for element in bytes.chunks_exact(self.kind.size) {
            match self.kind.dtype {
                Dtype::F32 => list.append(f32::from_le_bytes(fixed(element))),
                Dtype::F64 => list.append(f64::from_le_bytes(fixed(element))),
                Dtype::F16 => list.append(f16::from_le_bytes(fixed(element)).to_f32()),
                Dtype::BF16 => list.append(bf16::from_le_bytes(fixed(element)).to_f32()),
                Dtype::I64 => list.append(i64::from_le_bytes(fixed(element))),
                Dtype::I8 => list.append(i8::from_le_bytes(fixed(element))),
                _ => list.append(element[0] != 0),
            }?;
        }
        Ok(list)
    }

    /// Return the elements as bytes.
    fn tobytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.bytes())
    }

    /// Return whether all elements are finite or, if `missing` is true, finite or NaN.
    #[pyo3(signature = (*, missing=false))]
    fn is_finite(&self, py: Python, missing: bool) -> bool {
        let is_valid = |value: f64| value.is_finite() || (missing && value.is_nan());
        py.detach(|| match self.kind.dtype {
            Dtype::F32 => self.bytes().chunks_exact(4).all(|e| is_valid(f32::from_le_bytes(fixed(e)).into())),
            Dtype::F64 => self.bytes().chunks_exact(8).all(|e| is_valid(f64::from_le_bytes(fixed(e)))),
            Dtype::F16 => self.bytes().chunks_exact(2).all(|e| is_valid(f16::from_le_bytes(fixed(e)).into())),
            Dtype::BF16 => self.bytes().chunks_exact(2).all(|e| is_valid(bf16::from_le_bytes(fixed(e)).into())),
            _ => true,
        })
    }

    /// Return a copy that does not keep the bytes of the whole file in memory.
    fn copy(&self, py: Python) -> Self {
        let file = PyBackedBytes::from(self.tobytes(py));
        Tensor { kind: self.kind, shape: self.shape.clone(), file, range: 0..self.range.len() }
    }

    /// The protocol of `numpy.asarray`. ValueError if `dtype` or bfloat16 needs a copy, but `copy` is False.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static NDARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if self.kind.dtype == Dtype::BF16 {
            let message = "copy: a conversion from bfloat16 needs a copy, got False";
            return match copy {
                Some(false) => Err(PyValueError::new_err(message)),
                _ => self.widened(py)?.__array__(py, dtype, copy),
            };
        }
        let ndarray = NDARRAY.import(py, "numpy", "ndarray")?;
        let array = call(ndarray, (self.shape(py)?, self.kind.code, &self.file, self.range.start))?;
        let array = match dtype {
            Some(dtype) if copy == Some(false) && !array.getattr("dtype")?.eq(dtype)? => {
                return Err(PyValueError::new_err("copy: a conversion to another dtype needs a copy, got False"));
            }
            Some(dtype) => call_method(&array, intern!(py, "astype"), (dtype, "K", "unsafe", true, false))?,
            None => array,
        };
        if copy == Some(true) { call_method(&array, intern!(py, "copy"), ()) } else { Ok(array) }
    }
}

impl Tensor {
    fn bytes(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }

    /// The shape.
    pub fn dims(&self) -> &[usize] {
        &self.shape
    }

    /// A tensor of the shape `shape` that holds a copy of `values`, which are of the dtype `dtype`.
    ///
    /// # Errors
    /// MemoryError.
    pub fn of<E: Element>(py: Python, dtype: Dtype, shape: &[usize], values: &[E]) -> PyResult<Self> {
        let kind = KINDS.iter().find(|kind| kind.dtype == dtype).expect("a dtype of model files");
        let bytes = as_bytes(values);
        let fits = kind.size == size_of::<E>() && shape.iter().product::<usize>() == values.len();
        assert!(fits, "values of the dtype and the shape");
        let file = PyBytes::new_with(py, bytes.len(), |copy| {
            copy.copy_from_slice(bytes);
            Ok(())
        })?;
        Ok(Tensor { kind, shape: shape.to_vec(), file: file.into(), range: 0..bytes.len() })
    }

    /// A copy of a tensor of bfloat16 as f32.
    fn widened(&self, py: Python) -> PyResult<Self> {
        let values = self.bytes().chunks_exact(2).map(|e| bf16::from_le_bytes(fixed(e)).to_f32());
        let values = collect("tensor", values).map_err(to_python)?;
        Tensor::of(py, Dtype::F32, &self.shape, &values)
    }

    /// The bits of the elements of a tensor of the 16-bit dtype `dtype`.
    ///
    /// # Errors
    /// TypeError, which names `argument`, for another dtype; MemoryError.
    pub fn halves(&self, argument: &str, dtype: Dtype) -> PyResult<Vec<u16>> {
        self.check_dtype(argument, dtype)?;
        let bits = self.bytes().chunks_exact(2).map(|e| u16::from_le_bytes(fixed(e)));
        collect(argument, bits).map_err(to_python)
    }

    /// The elements of a tensor of 8-bit integers.
    ///
    /// # Errors
    /// As for [`Tensor::halves`].
    pub fn integers(&self, argument: &str) -> PyResult<Vec<i8>> {
        self.check_dtype(argument, Dtype::I8)?;
        collect(argument, self.bytes().iter().map(|byte| byte.cast_signed())).map_err(to_python)
    }

    fn check_dtype(&self, argument: &str, dtype: Dtype) -> PyResult<()> {
        if self.kind.dtype == dtype {
            return Ok(());
        }
        let got = self.kind.name;
        Err(PyTypeError::new_err(format!("{argument}: expected a tensor of {dtype}, got one of {got}")))
    }

    /// The elements.
    ///
    /// # Errors
    /// TypeError, which names `argument`, if the dtype is not that of T; MemoryError.
    pub fn to_vec<T: Scalar>(&self, argument: &str) -> PyResult<Vec<T>> {
        let elements = self.bytes().chunks_exact(self.kind.size);
        match (self.kind.dtype, T::NAME) {
            // From f32 to f64 and back to f32 is exact.
            (Dtype::F32, "f32") => {
                collect(argument, elements.map(|e| T::from_f64(f32::from_le_bytes(fixed(e)).into()))).map_err(to_python)
            }
            (Dtype::F64, "f64") => {
                collect(argument, elements.map(|e| T::from_f64(f64::from_le_bytes(fixed(e))))).map_err(to_python)
            }
            _ => Err(PyTypeError::new_err(format!(
                "{argument}: expected a tensor of {}, got one of {}",
                T::NAME,
                self.kind.name
            ))),
        }
    }
}

/// The first N of `bytes`.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| bytes[i])
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.kind.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.bytes())
    }

    fn data_len(&self) -> usize {
        self.range.len()
    }
}

/// Tensors by name.
type Named<'py> = BTreeMap<String, Bound<'py, Tensor>>;

/// Return the bytes of a safetensors file.
///
/// Parameters
/// ----------
/// tensors : dict of str to Tensor
/// metadata : dict of str to str
#[pyfunction]
pub fn write_safetensors<'py>(
    py: Python<'py>,
    tensors: Named<'py>,
    metadata: HashMap<String, String>,
) -> PyResult<Bound<'py, PyBytes>> {
    // `serialize` aborts the process if it cannot allocate, so this tries it first.
    let header: usize = metadata.values().map(|text| 2 * text.len()).sum::<usize>() + 256 * (tensors.len() + 1);
    let size = tensors.values().map(|tensor| tensor.get().bytes().len()).sum::<usize>() + header;
    Vec::<u8>::new()
        .try_reserve_exact(size)
        .map_err(|_| PyMemoryError::new_err("not enough memory to write the file"))?;
    let views = tensors.iter().map(|(name, tensor)| (name, tensor.get()));
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| refused(&error))?;
    PyBytes::new_with(py, bytes.len(), |copy| {
        copy.copy_from_slice(&bytes);
        Ok(())
    })
}

/// Parse the bytes of a safetensors file, and check all offsets, shapes and lengths.
///
/// Returns
/// -------
/// metadata : dict of str to str
/// tensors : dict of str to Tensor
///     They share the memory of `data`.
///
/// Raises
/// ------
/// ValueError
///     If `data` is not a valid safetensors file.
#[pyfunction]
pub fn read_safetensors<'py>(data: &Bound<'py, PyBytes>) -> PyResult<(HashMap<String, String>, Bound<'py, PyDict>)> {
    let bytes = data.as_bytes();
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| refused(&error))?;
    // The tensors follow the length of the header, which takes eight bytes, and the header.
    let start = size_of::<u64>() + header;
    let tensors = PyDict::new(data.py());
    for (name, info) in metadata.tensors() {
        let Some(kind) = KINDS.iter().find(|kind| kind.dtype == info.dtype) else {
            let names = KINDS.map(|kind| kind.dtype.to_string()).join(", ");
            let message = format!("{name}: expected one of the dtypes {names}, got {}", info.dtype);
            return Err(PyValueError::new_err(message));
        };
        let range = start + info.data_offsets.0..start + info.data_offsets.1;
        let tensor = Tensor { kind, shape: info.shape.clone(), file: data.clone().into(), range };
        tensors.set_item(name, tensor.into_bound_py_any(data.py())?)?;
    }
    Ok((metadata.metadata().clone().unwrap_or_default(), tensors))
}

/// Return the SHA-256 checksum of a model file, in hexadecimal.
///
/// It covers `description` without its field "sha256", as compact JSON with sorted keys and unchanged numbers, then the
/// name, dtype, shape and elements of each tensor, sorted by name.
///
/// Parameters
/// ----------
/// description : str
///     A JSON object.
/// tensors : dict of str to Tensor
///
/// Raises
/// ------
/// ValueError
///     If `description` is not valid JSON.
#[pyfunction]
pub fn digest(py: Python, description: &str, tensors: Named) -> PyResult<String> {
    let mut description = parse(description)?;
    if let Some(fields) = description.as_object_mut() {
        fields.remove("sha256");
    }
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.get())).collect();
    Ok(py.detach(|| {
        let mut sha = Sha256::new_with_prefix(canonical(&description));
        for (name, tensor) in tensors {
            sha.update(format!("{name} {} {};", tensor.kind.code, tuple(&tensor.shape)));
            sha.update(tensor.bytes());
        }
        hexadecimal(sha)
    }))
}

fn refused(error: &safetensors::SafeTensorError) -> PyErr {
    PyValueError::new_err(format!("expected a safetensors file, got an invalid one: {error}"))
}
