"""The HTML page of `tinyrs train --report`."""
