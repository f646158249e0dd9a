//! Conversion of NumPy arrays and other sequences to slices; every error names the argument.

use numpy::{Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods, dtype};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{intern, sync::PyOnceLock};
use tinyrs_core::Scalar;

/// `value` as a C-contiguous, aligned array of T: `value` itself if it is one, otherwise a converted copy.
///
/// # Errors
/// TypeError if `value` does not hold real numbers.
pub fn as_array<'py, T: Element + Scalar>(
    argument: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    check_not_masked(argument, value)?;
    match value.cast::<PyArrayDyn<T>>() {
        Ok(array) if is_usable(array) => Ok(array.clone()),
        _ => convert(argument, value),
    }
}

/// # Errors
/// ValueError if `value` is one of NumPy's masked arrays, whose elements include the masked ones.
fn check_not_masked(argument: &str, value: &Bound<PyAny>) -> PyResult<()> {
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
fn is_usable<T: Element>(array: &Bound<PyArrayDyn<T>>) -> bool {
    array.is_c_contiguous() && array.data().is_aligned()
}

#[cold]
fn convert<'py, T: Element + Scalar>(argument: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let py = value.py();
    let array = as_numpy(argument, value)?;
    // Booleans, signed and unsigned integers, floats.
    if !b"biuf".contains(&array.dtype().kind()) {
        return Err(not_numbers(argument, format!("{} of dtype {}", value.get_type().name()?, array.dtype())));
    }
    let copy = array.call_method1(intern!(py, "astype"), (dtype::<T>(py), PyString::new(py, "C")))?;
    Ok(copy.cast_into()?)
}

/// `value` as an array of any dtype.
fn as_numpy<'py>(argument: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let array = ASARRAY
        .import(py, "numpy", "asarray")?
        .call1((value,))
        .map_err(|error| not_numbers(argument, error.value(py).to_string()))?;
    Ok(array.cast_into::<PyUntypedArray>()?)
}

fn not_numbers(argument: &str, got: String) -> PyErr {
    PyTypeError::new_err(format!("{argument}: expected an array of real numbers, got {got}"))
}

/// The argument `out`, checked to be an array that a result of this shape can be written to.
///
/// # Errors TypeError if it is not an array of T; ValueError if it has another shape, is not C-contiguous, aligned and
/// writeable, or shares memory with `input`.
pub fn as_output<'py, T: Element + Scalar, S: Scalar>(
    value: &Bound<'py, PyAny>,
    shape: &[usize],
    input: &[S],
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
    let range = |start: usize, bytes: usize| start..start + bytes;
    let (read, written) = (
        range(input.as_ptr() as usize, size_of_val(input)),
        range(array.data() as usize, array.len() * size_of::<T>()),
    );
    if read.start < written.end && written.start < read.end {
        return Err(PyValueError::new_err("out: it shares memory with X; pass another array"));
    }
    Ok(array.clone())
}

/// The elements of an array that [`as_array`] or [`as_output`] returned.
pub fn as_slice<'a, T: Element>(array: &'a Bound<PyArrayDyn<T>>) -> &'a [T] {
    debug_assert!(is_usable(array));
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
pub fn is_f32(x: &Bound<PyAny>) -> bool {
    x.cast::<PyArrayDyn<f32>>().is_ok()
}

/// The numbers in an iterable.
///
/// # Errors
/// TypeError if `value` is not iterable, or an item is not a real number.
pub fn as_row<T: Scalar>(argument: &str, value: &Bound<PyAny>) -> PyResult<Vec<T>> {
    let not_a_row =
        |got: String| PyTypeError::new_err(format!("{argument}: expected a row of real numbers, got {got}"));
    let items = value.try_iter().map_err(|_| not_a_row(value.get_type().to_string()))?;
    let number = |(column, item): (usize, PyResult<Bound<PyAny>>)| {
        let item = item?;
        match item.extract::<f64>() {
            Ok(number) => Ok(T::from_f64(number)),
            Err(_) => Err(not_a_row(format!("{} in column {column}", item.repr()?))),
        }
    };
    items.enumerate().map(number).collect()
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
    if !b"biu".contains(&array.dtype().kind()) {
        let got = format!("{} of dtype {}", value.get_type().name()?, array.dtype());
        return Err(PyTypeError::new_err(format!("{argument}: expected integer labels, got {got}")));
    }
    let array = array.call_method1(intern!(value.py(), "astype"), (dtype::<i64>(value.py()), "C"))?;
    let array = array.cast_into::<PyArrayDyn<i64>>().map_err(PyErr::from)?;
    let label = |(row, label): (usize, &i64)| {
        u32::try_from(*label).map_err(|_| {
            PyValueError::new_err(format!("{argument}: expected labels of at least 0, got {label} at row {row}"))
        })
    };
    as_slice(&array).iter().enumerate().map(label).collect::<PyResult<_>>().map(Some)
}
