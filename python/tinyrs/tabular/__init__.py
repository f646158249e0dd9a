"""From the table of any library to the inputs of a network.

Start in `tables.py`: a `Table` holds the columns of a NumPy array or of a pandas, polars or pyarrow data
frame. `preprocessor_fit.py` learns from a `Table` how each column is encoded, and `preprocessor.py` applies
it, with `FeatureEncoder` in Rust. `max_abs_scaler.py` does both for sparse matrices. `preprocessor.py` and
`type_checks.py` import NumPy only when they need it. May use the compiled extension and nothing else.
"""
