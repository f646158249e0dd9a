//! Conversion of NumPy arrays and other sequences to slices; every error names the argument.

use std::ffi::c_int;
use std::ops::Range;
use std::ptr::null_mut;

use numpy::npyffi::{NpyTypes, PY_ARRAY_API, get_type_object, npy_intp};
use numpy::{
    Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods, dtype,
    get_array_module,
};
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::{intern, sync::PyOnceLock};
use tinyrs_core::{Scalar, collect};

use crate::calls::{call, call_method};
use crate::errors::to_python;

/// Imports NumPy. Comes before anything else that touches an array: the crate `numpy` panics if NumPy is missing.
///
/// # Errors
/// ImportError.
pub fn require_numpy(py: Python) -> PyResult<()> {
    static IMPORTED: PyOnceLock<()> = PyOnceLock::new();
    IMPORTED.get_or_try_init(py, || get_array_module(py).map(drop)).copied()
}

/// The most axes that an array has which this crate makes.
const MAX_AXES: usize = 2;

/// A new array of this shape, row-major.
///
/// # Safety
/// Its elements are written before they are read.
///
/// # Errors
/// MemoryError; the constructors of the crate `numpy` panic instead.
pub unsafe fn uninitialised<'py, T: Element>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    require_numpy(py)?;
    let mut sizes: [npy_intp; MAX_AXES] = [0; MAX_AXES];
    for (axis, size) in shape.iter().enumerate() {
        sizes[axis] = *size as npy_intp;
    }
    let n_axes = shape.len() as c_int;
    // SAFETY: NumPy takes over the reference to the dtype, and reads the shape during the call. With a null pointer for
    // the data it allocates them; with one for the strides the array is row-major. The result is null after an error,
    // or a new array of this dtype.
    unsafe {
        let class = get_type_object(py, NpyTypes::PyArray_Type);
        let dtype = T::get_dtype(py).into_dtype_ptr();
        let (sizes, strides, data, base) = (sizes.as_mut_ptr(), null_mut(), null_mut(), null_mut());
        let array = PY_ARRAY_API.PyArray_NewFromDescr(py, class, dtype, n_axes, sizes, strides, data, 0, base);
        Ok(Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked())
    }
}

/// A new array of this shape that holds a copy of `values`.
///
/// # Errors
/// MemoryError.
pub fn array_of<'py, T: Element + Copy>(
    py: Python<'py>,
    shape: &[usize],
    values: &[T],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    assert_eq!(shape.iter().product::<usize>(), values.len());
    // SAFETY: all elements are written here; the new array is contiguous and aligned.
    unsafe {
        let array = uninitialised(py, shape)?;
        std::ptr::copy_nonoverlapping(values.as_ptr(), array.data(), values.len());
        Ok(array)
    }
}

/// A new array of zeros.
///
/// # Errors
/// MemoryError.
pub fn zeros<'py, T: Element + Scalar>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    // SAFETY: all elements are written here; the new array is contiguous and aligned, and zero bits are the number 0.
    unsafe {
        let array = uninitialised(py, shape)?;
        std::ptr::write_bytes(array.data(), 0, array.len());
        Ok(array)
    }
}

/// `value` as a C-contiguous, aligned array of T: `value` itself if it is one, otherwise a converted copy.
///
/// # Errors
/// TypeError if `value` does not hold real numbers.
pub fn as_array<'py, T: Element + Scalar>(
    argument: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    require_numpy(value.py())?;
    check_not_masked(argument, value)?;
    match value.cast::<PyArrayDyn<T>>() {
        Ok(array) if is_usable(array) => Ok(array.clone()),
        _ => converted(argument, value, b"biuf", "an array of real numbers"),
    }
}

/// The numbers of rows and columns of an array of one row, (features,), or of several, (batch, features).
///
/// # Errors
/// ValueError if it has another number of axes.
pub fn rows_and_columns(shape: &[usize]) -> PyResult<(usize, usize)> {
    match *shape {
        [features] => Ok((1, features)),
        [batch, features] => Ok((batch, features)),
        ref other => {
            let message = format!("X: expected shape (features,) or (batch, features), got {}", tuple(other));
            Err(PyValueError::new_err(message))
        }
    }
}

/// # Errors
/// ValueError if `value` is one of NumPy's masked arrays, whose elements include the masked ones.
pub fn check_not_masked(argument: &str, value: &Bound<PyAny>) -> PyResult<()> {
    // Arrays of the class itself, the usual case, skip the attribute lookup.
    let is_subclass = value.cast_exact::<PyUntypedArray>().is_err() && value.cast::<PyUntypedArray>().is_ok();
    if is_subclass && value.hasattr(intern!(value.py(), "filled"))? {
        let message =
            format!("{argument}: expected an array without a mask, got a masked array; pass X.filled(number)");
        return Err(PyValueError::new_err(message));
    }
    Ok(())
}

/// Whether [`as_slice`] can borrow the elements.
pub fn is_usable<T: Element>(array: &Bound<PyArrayDyn<T>>) -> bool {
    array.is_c_contiguous() && array.data().is_aligned()
}

/// A C-contiguous, aligned copy of `value` as an array of T, if the kind of its dtype is one of `kinds` (b: bool, i and
/// u: integers, f: floats).
///
/// # Errors
/// TypeError if it is not.
#[cold]
pub fn converted<'py, T: Element>(
    argument: &str,
    value: &Bound<'py, PyAny>,
    kinds: &[u8],
    expected: &str,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let py = value.py();
    let array = as_numpy(argument, value)?;
    if !kinds.contains(&array.dtype().kind()) {
        let got = format!("{} of dtype {}", value.get_type().name()?, array.dtype());
        return Err(PyTypeError::new_err(format!("{argument}: expected {expected}, got {got}")));
    }
    let copy = call_method(array.as_any(), intern!(py, "astype"), (dtype::<T>(py), intern!(py, "C")))?;
    Ok(copy.cast_into()?)
}

/// `value` as an array of any dtype.
fn as_numpy<'py>(argument: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let array = call(ASARRAY.import(py, "numpy", "asarray")?, (value,)).map_err(|error| {
        let got = error.value(py);
        PyTypeError::new_err(format!("{argument}: expected an array of real numbers, got {got}"))
    })?;
    Ok(array.cast_into::<PyUntypedArray>()?)
}

/// The argument `out`, checked to be an array that a result of this shape can be written to.
///
/// # Errors
/// TypeError if it is not an array of T; ValueError if it has another shape, is not C-contiguous, aligned and
/// writeable, or shares memory with one of the slices `read`, which the pass reads.
pub fn as_output<'py, T: Element + Scalar>(
    value: &Bound<'py, PyAny>,
    shape: &[usize],
    read: &[&[u8]],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let Ok(array) = value.cast::<PyArrayDyn<T>>() else {
        let got = match value.cast::<PyUntypedArray>() {
            Ok(array) => format!("an array of dtype {}", array.dtype()),
            Err(_) => value.get_type().name()?.to_string(),
        };
        return Err(PyTypeError::new_err(format!("out: expected an array of {}, got {got}", T::NAME)));
    };
    if array.shape() != shape {
        let message = format!("out: expected shape {}, got {}", tuple(shape), tuple(array.shape()));
        return Err(PyValueError::new_err(message));
    }
    let writeable = array.getattr(intern!(value.py(), "flags"))?.getattr(intern!(value.py(), "writeable"))?;
    if !is_usable(array) || !writeable.extract::<bool>()? {
        let message = "out: expected a C-contiguous, aligned, writeable array, got one that is not";
        return Err(PyValueError::new_err(message));
    }
    let written = as_bytes(as_slice(array)).as_ptr_range();
    let overlaps = |read: Range<*const u8>| read.start < written.end && written.start < read.end;
    if read.iter().any(|read| overlaps(read.as_ptr_range())) {
        return Err(PyValueError::new_err("out: it shares memory with X; pass another array"));
    }
    Ok(array.clone())
}

/// The elements of an array that [`as_array`] or [`as_output`] returned, in the order of memory.
pub fn as_slice<'a, T: Element>(array: &'a Bound<PyArrayDyn<T>>) -> &'a [T] {
    debug_assert!(array.is_contiguous() && array.data().is_aligned());
    // SAFETY: the array is contiguous and aligned, and outlives the borrow. As in NumPy, the caller must not write to
    // it from another thread meanwhile.
    unsafe { std::slice::from_raw_parts(array.data(), array.len()) }
}

/// The bytes of numbers, little-endian on every machine that tinyrs is built for.
pub fn as_bytes<E: Element>(numbers: &[E]) -> &[u8] {
    // SAFETY: the elements of NumPy arrays have no padding, and every byte may be read.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// Whether X is an array of f32. Anything else is read as f64.
///
/// # Errors
/// ImportError without NumPy.
pub fn is_f32(x: &Bound<PyAny>) -> PyResult<bool> {
    require_numpy(x.py())?;
    Ok(x.cast::<PyArrayDyn<f32>>().is_ok())
}

/// The numbers in an iterable.
///
/// # Errors
/// TypeError if `value` is not iterable, or an item is not a real number.
pub fn as_row<T: Scalar>(argument: &str, value: &Bound<PyAny>) -> PyResult<Vec<T>> {
    let not_a_row =
        |got: String| PyTypeError::new_err(format!("{argument}: expected a row of real numbers, got {got}"));
    let items = value.try_iter().map_err(|_| not_a_row(value.get_type().to_string()))?;
    let mut row = Vec::new();
    for (column, item) in items.enumerate() {
        let item = item?;
        let Ok(number) = item.extract::<f64>() else {
            return Err(not_a_row(format!("{} in column {column}", item.repr()?)));
        };
        row.try_reserve(1).map_err(|_| PyMemoryError::new_err(format!("{argument}: the row is too long")))?;
        row.push(T::from_f64(number));
    }
    Ok(row)
}

/// The `repr` of a shape in Python.
pub fn tuple(shape: &[usize]) -> String {
    match shape {
        [only] => format!("({only},)"),
        _ => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// Labels of shape (rows,), which are integers or booleans; `None` if `value` has two axes.
///
/// # Errors
/// TypeError if labels are not integers; ValueError if a label is negative or above 2^32 - 1, or the number of axes is
/// neither 1 nor 2.
pub fn as_labels(argument: &str, value: &Bound<PyAny>) -> PyResult<Option<Vec<u32>>> {
    check_not_masked(argument, value)?;
    let array = as_numpy(argument, value)?;
    match array.ndim() {
        2 => return Ok(None),
        1 => {}
        _ => {
            let got = tuple(array.shape());
            let message = format!("{argument}: expected shape (rows,) or (rows, outputs), got {got}");
            return Err(PyValueError::new_err(message));
        }
    }
    let array = converted::<i64>(argument, array.as_any(), b"biu", "integer labels")?;
    let labels = as_slice(&array);
    if let Some(row) = labels.iter().position(|label| u32::try_from(*label).is_err()) {
        let got = labels[row];
        let message = format!("{argument}: expected labels of at least 0, got {got} at row {row}");
        return Err(PyValueError::new_err(message));
    }
    collect(argument, labels.iter().map(|label| *label as u32)).map_err(to_python).map(Some)
}
