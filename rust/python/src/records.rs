//! The record of an epoch: a dict in Python, an [`EpochRecord`] in the core.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tinyrs_core::EpochRecord;

/// The dict of an epoch.
pub fn record_of<'py>(py: Python<'py>, epoch: &EpochRecord) -> PyResult<Bound<'py, PyDict>> {
    let record = PyDict::new(py);
    record.set_item("epoch", epoch.epoch)?;
    record.set_item("loss", epoch.loss)?;
    if let (Some(loss), Some(score)) = (epoch.validation_loss, epoch.validation_score) {
        record.set_item("validation_loss", loss)?;
        record.set_item("validation_score", score)?;
    }
    record.set_item("learning_rate", epoch.learning_rate)?;
    record.set_item("seconds", epoch.seconds)?;
    record.set_item("samples_per_second", epoch.samples_per_second)?;
    Ok(record)
}

/// The epoch of a dict: the inverse of [`record_of`].
pub fn epoch_of(record: &Bound<PyAny>) -> PyResult<EpochRecord> {
    let number = |name: &str| record.get_item(name)?.extract::<f64>();
    let has_validation = record.contains("validation_loss")?;
    let optional = |name: &str| if has_validation { number(name).map(Some) } else { Ok(None) };
    Ok(EpochRecord {
        epoch: record.get_item("epoch")?.extract()?,
        loss: number("loss")?,
        validation_loss: optional("validation_loss")?,
        validation_score: optional("validation_score")?,
        learning_rate: number("learning_rate")?,
        seconds: number("seconds")?,
        samples_per_second: number("samples_per_second")?,
    })
}
