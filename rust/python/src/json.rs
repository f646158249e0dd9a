//! The JSON in a model file: parsed to Python objects, and written in the form that the checksum covers. Importing
//! Python's `json` would take longer than to load a model and predict one row.

use std::io;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyList};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// The key of an object by which serde_json represents a number with the text it was written as.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// Parses a JSON text.
///
/// # Errors
/// ValueError if it is not valid JSON, or holds the string [`NUMBER_KEY`], with which an object would become a number.
pub fn parse(text: &str) -> PyResult<Value> {
    let value = serde_json::from_str(text).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let is_key = |literal: &str| {
        literal.len() > NUMBER_KEY.len() && serde_json::from_str::<String>(literal).is_ok_and(|name| name == NUMBER_KEY)
    };
    if string_literals(text).any(is_key) {
        return Err(PyValueError::new_err(format!("the reserved name {NUMBER_KEY:?}")));
    }
    Ok(value)
}

/// The strings in a valid JSON text, as they are written.
fn string_literals(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = &rest[rest.find('"')?..];
        let mut is_escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        });
        let (literal, after) = rest.split_at(end? + 2);
        rest = after;
        Some(literal)
    })
}

/// Parse a JSON text to dict, list, str, int, float, bool and None.
///
/// Raises
/// ------
/// ValueError
///     If the text is not valid JSON. NaN, Infinity and unpaired surrogates are not.
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
        // Python's integers have any number of digits, so the text is converted by Python.
        Value::Number(number) => {
            let text = number.to_string();
            let is_float = text.contains(['.', 'e', 'E']);
            let class = if is_float { py.get_type::<PyFloat>() } else { py.get_type::<PyInt>() };
            class.call1((text,))
        }
    }
}

/// The bytes of `json.dumps(value, sort_keys=True, separators=(",", ":"))`, except that numbers keep the text they were
/// parsed from.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut serializer = Serializer::with_formatter(Vec::new(), Ascii);
    // Maps of serde_json are sorted by key.
    value.serialize(&mut serializer).expect("writing to memory does not fail");
    serializer.into_inner()
}

/// Compact JSON in ASCII: other characters become `\uXXXX`, or a surrogate pair of two such escapes.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for character in fragment.chars() {
            match character {
                ' '..='~' => writer.write_all(&[character as u8])?,
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
