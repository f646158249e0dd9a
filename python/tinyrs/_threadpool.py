"""Lets `threadpoolctl.threadpool_limits` limit the threads of tinyrs, whichever of the two is imported first.

tinyrs does not import it: that takes longer than to load a model and ask it."""

from __future__ import annotations

import sys

from tinyrs import _tinyrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


def register(threadpoolctl: Any) -> None:
    """Tells threadpoolctl how to find the library and to read and set its number of threads."""

    class TinyrsController(threadpoolctl.LibController):  # type: ignore[misc]  # it has no annotations
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


class RegisterOnImport:
    """A finder that finds nothing by itself: it lets the others find threadpoolctl, and registers when that
    has been executed."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "threadpoolctl":
            return None
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path if finder is not cls)
        spec = next(filter(None, (find(name, path, target) for find in finders if find)), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                register(module)

            spec.loader.exec_module = execute_and_register
        return spec


if sys.modules.get("threadpoolctl"):
    register(sys.modules["threadpoolctl"])
else:
    sys.meta_path.insert(0, RegisterOnImport)
