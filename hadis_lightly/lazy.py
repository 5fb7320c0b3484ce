"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package, as of PEP 562.

    Args:
        package: The package, ``__name__``, which defines ``__all__``.
        modules: Names to the modules that define them, relative to the package.

    Example:
        >>> find, _ = lazy_names("hadis_lightly", {"folded": "folding"})
        >>> find("folded").__name__
        'folded'
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    def names() -> list[str]:
        return sorted(import_module(package).__all__)

    return find, names
