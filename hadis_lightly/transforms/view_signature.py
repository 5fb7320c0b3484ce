"""Signatures and docstrings that follow the settings of a view."""

from __future__ import annotations

import inspect
import textwrap
from inspect import Parameter
from typing import Any, TypeVar

from hadis_lightly.fields import field_infos
from hadis_lightly.settings.views import NO_ARGUMENTS, ViewSettings

T = TypeVar("T")


def takes_view_settings(kind: type[T]) -> type[T]:
    """Shows the settings of a view in the signature and docstring of a class.

    For classes that hand ``**settings`` on to :meth:`ViewSettings.from_arguments`: the
    fields replace it in the signature, and ``{view_settings}`` in the docstring.
    """
    init: Any = kind.__init__
    signature = inspect.signature(init)
    own = dict(signature.parameters)
    del own["settings"]
    shown, lines = [own.pop("self")], []
    for name, info in field_infos(ViewSettings):
        if name == "mean":  # in lightly's place
            shown.append(own.pop("normalize"))
        elif name not in NO_ARGUMENTS:
            lines += textwrap.wrap(f"{name}: {info.help}", 80, subsequent_indent="    ")
            default = getattr(ViewSettings(), name)
            keyword = Parameter(name, Parameter.KEYWORD_ONLY, default=default)
            shown.append(own.pop(name, keyword))
    init.__signature__ = signature.replace(parameters=[*shown, *own.values()])
    described = "\n        ".join(lines)
    kind.__doc__ = (kind.__doc__ or "").replace("{view_settings}", described)
    return kind
