//! tinyrs-core
