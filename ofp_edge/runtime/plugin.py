"""Find, check and build a user's own robot or camera: `package.module:Class` in a rig file."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ofp_edge.errors import OfpError
from ofp_edge.runtime.rig_options import misfits


def load_class(name: str, error: type[OfpError]) -> type[Any]:
    """Load the class called `package.module:Class`, also from the current folder.

    Raises `error`, one line: not of that form, no such module, no such class. What the module
    itself does wrong while it is imported (a syntax error, a missing dependency) is named; any
    other exception of its own passes with its trace, which is what its author needs.
    """
    module_name, colon, class_name = name.partition(":")
    if not (colon and module_name and class_name):
        raise error(f"{name!r} is not of the form package.module:Class.")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # last, so that it shadows nothing
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as cause:
        missing = cause.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise error(
                f"{name}: no module {missing!r}. Run where it can be imported, or install it."
            ) from None
        raise error(f"{name}: it imports {missing!r}, which is not installed.") from None
    except (ImportError, SyntaxError) as cause:
        raise error(f"{name}: importing {module_name} failed: {cause}") from None
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        have = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise error(f"{name}: {module_name} has no class {class_name!r}; it has {have or 'none'}.")
    return found


def check_arguments(
    factory: Callable[..., Any], name: str, arguments: Mapping[str, Any], error: type[OfpError]
) -> None:
    """Raise `error` where arguments do not fit the factory's signature."""
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as cause:
        raise error(
            f"{name}: {cause}. It is called with {', '.join(arguments)}; it takes "
            f"{inspect.signature(factory)}. Check its options in the rig."
        ) from None
    for key, why in misfits(factory, arguments).items():
        raise error(f"{name}: {key}: {why}.")


def build(
    factory: Callable[..., Any], name: str, arguments: Mapping[str, Any], error: type[OfpError]
) -> Any:
    """Call `factory(**arguments)`.

    Arguments that do not fit its signature raise `error`, and so does a device that is not there
    (OSError, which a serial port's error is too).
    """
    check_arguments(factory, name, arguments, error)
    try:
        return factory(**arguments)
    except OSError as cause:
        raise error(f"{name}: {cause}") from None


def require_methods(
    found: type[Any], name: str, methods: Iterable[str], error: type[OfpError]
) -> None:
    """Raise `error` naming every method that the class lacks."""
    missing = [method for method in methods if not callable(getattr(found, method, None))]
    if missing:
        raise error(f"{name} lacks {', '.join(f'{method}()' for method in missing)}.")
