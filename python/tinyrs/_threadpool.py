"""The controller of tinyrs for threadpoolctl. `tinyrs` imports this module after threadpoolctl."""

from __future__ import annotations

from tinyrs import _tinyrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def register(threadpoolctl: Any) -> None:
    """Tells threadpoolctl how to find the extension, and how to read and set its number of threads."""

    class TinyrsController(threadpoolctl.LibController):  # type: ignore[misc]  # threadpoolctl has no annotations
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
