//! The bytes of a safetensors file, written and read by the crate; what is in them is for `tinyrs.files.model_file` to say.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use safetensors::{Dtype, SafeTensors, View};
use sha2::{Digest, Sha256};
use tinyrs_core::Scalar;

use crate::arrays::tuple;
use crate::description::{canonical, parse};

/// A dtype that a model file may hold.
struct Kind {
    dtype: Dtype,
    /// What NumPy calls it.
    name: &'static str,
    /// NumPy's `dtype.str`, little-endian as in the file.
    code: &'static str,
    size: usize,
}

const KINDS: [Kind; 4] = [
    Kind { dtype: Dtype::F32, name: "float32", code: "<f4", size: 4 },
    Kind { dtype: Dtype::F64, name: "float64", code: "<f8", size: 8 },
    Kind { dtype: Dtype::I64, name: "int64", code: "<i8", size: 8 },
    Kind { dtype: Dtype::BOOL, name: "bool", code: "|b1", size: 1 },
];

/// An array as a model file holds it. It is read without NumPy; `numpy.asarray` makes an array of it, which shares its
/// memory.
///
/// Parameters
/// ----------
/// dtype : {"<f4", "<f8", "<i8", "|b1"}
/// shape : sequence of int
/// data : bytes
///     Its elements, row after row, little-endian.
///
/// Raises
/// ------
/// ValueError
///     If the dtype is none of these, or the bytes are not as many as the shape says.
#[pyclass(module = "tinyrs._tinyrs", frozen)]
pub struct Tensor {
    kind: &'static Kind,
    shape: Vec<usize>,
    /// All of the file that it is in.
    file: PyBackedBytes,
    place: Range<usize>,
}

#[pymethods]
impl Tensor {
    #[new]
    fn new(dtype: &str, shape: Vec<usize>, data: PyBackedBytes) -> PyResult<Self> {
        let kind = KINDS.iter().find(|kind| kind.code == dtype);
        let kind = kind.ok_or_else(|| PyValueError::new_err(format!("dtype: unknown dtype {dtype}")))?;
        let bytes = shape.iter().try_fold(kind.size, |product, n| product.checked_mul(*n));
        if bytes != Some(data.len()) {
            let message = format!("data: expected the bytes of shape {}, got {}", tuple(&shape), data.len());
            return Err(PyValueError::new_err(message));
        }
        let place = 0..data.len();
        Ok(Tensor { kind, shape, file: data, place })
    }

    /// What NumPy calls it.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.kind.name
    }

    /// A tuple of int.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shape)
    }

    /// All elements, row after row, as numbers of Python. A byte of a bool is true if it is not 0.
    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let (list, bytes) = (PyList::empty(py), self.bytes());
        for element in bytes.chunks_exact(self.kind.size) {
            match self.kind.dtype {
                Dtype::F32 => list.append(f32::from_le_bytes(fixed(element))),
                Dtype::F64 => list.append(f64::from_le_bytes(fixed(element))),
                Dtype::I64 => list.append(i64::from_le_bytes(fixed(element))),
                _ => list.append(element[0] != 0),
            }?;
        }
        Ok(list)
    }

    /// Its elements as bytes.
    fn tobytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.bytes())
    }

    /// Whether all floats in it are finite; with `missing`, finite or NaN.
    #[pyo3(signature = (*, missing=false))]
    fn is_finite(&self, py: Python, missing: bool) -> bool {
        let fine = |value: f64| value.is_finite() || (missing && value.is_nan());
        py.detach(|| match self.kind.dtype {
            Dtype::F32 => self.bytes().chunks_exact(4).all(|e| fine(f32::from_le_bytes(fixed(e)).into())),
            Dtype::F64 => self.bytes().chunks_exact(8).all(|e| fine(f64::from_le_bytes(fixed(e)))),
            _ => true,
        })
    }

    /// The same in memory of its own, so that the file's can be given back.
    fn copy(&self, py: Python) -> Self {
        let file = PyBackedBytes::from(self.tobytes(py));
        Tensor { kind: self.kind, shape: self.shape.clone(), file, place: 0..self.place.len() }
    }

    /// What `numpy.asarray` asks for. ValueError if it had to copy and may not.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let make = py.import("numpy")?.getattr("ndarray")?;
        let array = make.call1((self.shape(py)?, self.kind.code, &self.file, self.place.start))?;
        let array = match dtype {
            Some(dtype) if copy == Some(false) && !array.getattr("dtype")?.eq(dtype)? => {
                return Err(PyValueError::new_err("copy: expected None or True for another dtype, got False"));
            }
            Some(dtype) => array.call_method1("astype", (dtype, "K", "unsafe", true, false))?,
            None => array,
        };
        if copy == Some(true) { array.call_method0("copy") } else { Ok(array) }
    }
}

impl Tensor {
    fn bytes(&self) -> &[u8] {
        &self.file[self.place.clone()]
    }

    pub fn dims(&self) -> &[usize] {
        &self.shape
    }

    /// Its elements.
    ///
    /// # Errors
    /// TypeError, which names `argument`, if they are no T.
    pub fn to_vec<T: Scalar>(&self, argument: &str) -> PyResult<Vec<T>> {
        let elements = self.bytes().chunks_exact(self.kind.size);
        match (self.kind.dtype, T::NAME) {
            // Neither way loses a bit: f32 to f64 and back.
            (Dtype::F32, "f32") => Ok(elements.map(|e| T::from_f64(f32::from_le_bytes(fixed(e)).into())).collect()),
            (Dtype::F64, "f64") => Ok(elements.map(|e| T::from_f64(f64::from_le_bytes(fixed(e)))).collect()),
            _ => Err(PyTypeError::new_err(format!(
                "{argument}: expected a tensor of {}, got one of {}",
                T::NAME,
                self.kind.name
            ))),
        }
    }
}

/// As many bytes as a number has.
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
        self.place.len()
    }
}

/// Tensors by name.
type Named<'py> = BTreeMap<String, Bound<'py, Tensor>>;

/// The bytes of a file with these tensors, a dict, and this metadata, a dict of strings.
#[pyfunction]
pub fn write_safetensors<'py>(
    py: Python<'py>,
    tensors: Named<'py>,
    metadata: HashMap<String, String>,
) -> PyResult<Bound<'py, PyBytes>> {
    let views = tensors.iter().map(|(name, tensor)| (name, tensor.get()));
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| refused(&error))?;
    Ok(PyBytes::new(py, &bytes))
}

/// What the bytes of a file hold: its metadata, and its tensors by name, which keep the bytes in memory. Every offset,
/// shape and length has been checked against the others and the file's size.
///
/// Raises
/// ------
/// ValueError
///     If they are not those of a safetensors file.
#[pyfunction]
pub fn read_safetensors<'py>(data: &Bound<'py, PyBytes>) -> PyResult<(HashMap<String, String>, Bound<'py, PyDict>)> {
    let bytes = data.as_bytes();
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| refused(&error))?;
    // The tensors stand behind eight bytes of the header's length and the header.
    let start = size_of::<u64>() + header;
    let tensors = PyDict::new(data.py());
    for (name, info) in metadata.tensors() {
        let Some(kind) = KINDS.iter().find(|kind| kind.dtype == info.dtype) else {
            let message = format!("{name}: expected a dtype of F32, F64, I64 or BOOL, got {}", info.dtype);
            return Err(PyValueError::new_err(message));
        };
        let place = start + info.data_offsets.0..start + info.data_offsets.1;
        let tensor = Tensor { kind, shape: info.shape.clone(), file: data.clone().into(), place };
        tensors.set_item(name, tensor.into_bound_py_any(data.py())?)?;
    }
    Ok((metadata.metadata().clone().unwrap_or_default(), tensors))
}

/// SHA-256, in hexadecimal, of a description and of tensors: of the JSON object `description`, without its field sha256
/// and as `canonical` writes it, and of each tensor's name, dtype, shape and elements, by their names.
///
/// Raises
/// ------
/// ValueError
///     If `description` is no JSON.
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
        sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }))
}

fn refused(error: &safetensors::SafeTensorError) -> PyErr {
    PyValueError::new_err(format!("expected a safetensors file, got one with an error: {error}"))
}
