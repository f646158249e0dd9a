//! Calls of Python code, and of NumPy functions that release the GIL.
//!
//! Before Python 3.14, a daemon thread that asks for the GIL while the interpreter shuts down is ended by unwinding its
//! stack, and the process aborts at the first Rust frame. In PyO3's own waits for the GIL such a thread waits for the
//! end of the process instead, as it does in Python 3.14; with [`call`] it does so too if the callee asks for the GIL.

use std::hint::black_box;
use std::mem::{forget, transmute};
use std::ptr::null_mut;
use std::thread;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// Stops this thread until the process ends.
pub fn wait_for_exit() -> ! {
    loop {
        thread::park();
    }
}

/// Stops a thread whose stack is being unwound.
struct StopUnwinding;

impl Drop for StopUnwinding {
    fn drop(&mut self) {
        wait_for_exit();
    }
}

/// Declares a function of Python's C API as one that may unwind.
macro_rules! unwinding {
    ($function:path, $($argument:ty),+) => {{
        type Declared = unsafe extern "C" fn($($argument),+) -> *mut PyObject;
        type Unwinding = unsafe extern "C-unwind" fn($($argument),+) -> *mut PyObject;
        // SAFETY: a function with the ABI "C" may be called as one with the ABI "C-unwind".
        let function = unsafe { transmute::<Declared, Unwinding>($function) };
        // Otherwise, the compiler finds PyO3's declaration, which says that the function does not unwind.
        black_box(function)
    }};
}

/// The object that `f` returns.
///
/// # Errors
/// The exception, if `f` returns null.
///
/// # Safety
/// `f` returns a new reference, or null after an exception.
unsafe fn finished<'py>(py: Python<'py>, f: impl FnOnce() -> *mut PyObject) -> PyResult<Bound<'py, PyAny>> {
    let guard = StopUnwinding;
    let result = f();
    forget(guard);
    // SAFETY: see above.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}

/// Calls `callable` with positional arguments.
///
/// # Errors
/// The exception of the call.
pub fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    let arguments = arguments.into_pyobject(py).map_err(Into::into)?;
    let call = unwinding!(ffi::PyObject_Call, *mut PyObject, *mut PyObject, *mut PyObject);
    // SAFETY: the pointers are of live objects; the second is a tuple, and null stands for no keywords.
    unsafe { finished(py, || call(callable.as_ptr(), arguments.as_ptr(), null_mut())) }
}

/// The attribute of `object`, which may be a property.
///
/// # Errors
/// AttributeError, or the exception of the property.
pub fn getattr<'py>(object: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let getattr = unwinding!(ffi::PyObject_GetAttr, *mut PyObject, *mut PyObject);
    // SAFETY: the pointers are of live objects; the second is a string.
    unsafe { finished(object.py(), || getattr(object.as_ptr(), name.as_ptr())) }
}

/// Calls a method with positional arguments.
///
/// # Errors
/// The exception of the call.
pub fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>,
) -> PyResult<Bound<'py, PyAny>> {
    call(&getattr(object, name)?, arguments)
}
