"""Fuzz targets for everything that reads files of others, and for the writers of C and HTML.

One file a target. Each has `seeds()`, valid inputs to start from, and `one(data)`, which raises if tinyrs
handles these bytes wrongly: a crash, an exception that is not documented, or a wrong result. `run.py` fuzzes
them (`make fuzz`); `corpus/TARGET/` holds inputs that once failed, which `tests/test_fuzz.py` replays.
"""
