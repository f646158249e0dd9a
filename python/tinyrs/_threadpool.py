"""Lets `threadpoolctl.threadpool_limits` limit the threads of tinyrs, where threadpoolctl is installed."""

from __future__ import annotations

from tinyrs import _tinyrs

try:
    import threadpoolctl
except ModuleNotFoundError:  # Nothing to register with.
    pass
else:

    class TinyrsController(threadpoolctl.LibController):  # type: ignore[misc]  # it has no annotations
        """How threadpoolctl finds the library and reads and sets its number of threads."""

        user_api = "tinyrs"
        internal_api = "tinyrs"
        filename_prefixes = ("_tinyrs",)

        def get_num_threads(self) -> int:
            return _tinyrs.get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            _tinyrs.set_num_threads(num_threads)

        def get_version(self) -> str:
            return _tinyrs.build_info()["version"]

        def set_additional_attributes(self) -> None:
            pass

    threadpoolctl.register(TinyrsController)
