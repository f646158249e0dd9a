//! The JSON in a model file: to Python's objects, and to the text that its checksum is of. Python's module `json` would do,
//! but importing it takes longer than to load a model and ask it.

use std::io;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// The value of a JSON text.
///
/// # Errors
/// ValueError.
pub fn parse(text: &str) -> PyResult<Value> {
    serde_json::from_str(text).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// What a JSON text says, in dict, list, str, int, float, bool and None.
///
/// Raises
/// ------
/// ValueError
///     If it is no JSON: NaN and Infinity are none, nor are halves of surrogate pairs.
#[pyfunction]
pub fn parse_json<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    to_python(py, &parse(text)?)
}

fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(value) => value.into_bound_py_any(py),
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(to_python(py, item)?)?;
            }
            Ok(list.into_any())
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            for (name, value) in fields {
                dict.set_item(name, to_python(py, value)?)?;
            }
            Ok(dict.into_any())
        }
        // Of any size, as Python's numbers are.
        Value::Number(number) => {
            let text = number.to_string();
            let kind = if text.contains(['.', 'e', 'E']) { "float" } else { "int" };
            py.import("builtins")?.getattr(kind)?.call1((text,))
        }
    }
}

/// A JSON value as `json.dumps(value, sort_keys=True, separators=(",", ":"))` writes it, but for numbers, which are as they
/// were written.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut serializer = Serializer::with_formatter(Vec::new(), Ascii);
    // Maps are sorted; writing to memory cannot fail.
    value.serialize(&mut serializer).expect("a JSON value can be written");
    serializer.into_inner()
}

/// Compact, all that is not printable ASCII as `\uXXXX`, in halves of surrogate pairs where it takes two.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for character in fragment.chars() {
            match character {
                ' '..='~' => writer.write_all(&[character as u8])?,
                _ => {
                    for half in character.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{half:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
