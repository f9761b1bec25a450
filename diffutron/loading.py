"""Nothing of this release: what the versions that release 0.1 registered lack.

Of the package, 0.1 copied a list of modules into a version. Its code imports three that were not on
the list, and a development install supplied them. It still does, by this file: MLflow puts the
code of the version first, so `diffutron` is that code when it asks for `diffutron.loading`, the
first of the three. The other two define parameters, which generating does not read.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


class _Absent(ModuleType):
    """Stands for a module of release 0.1; every public name in it is `Any`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Any


for _name in ("diffutron.params_data", "diffutron.yaml_files"):
    sys.modules[_name] = _Absent(_name)


def load(path: str | Path, **options: Any) -> Any:
    """The model of a version of release 0.1, by the code of that version; checksums verified.

    Raises:
        ValueError: a damaged file, or what the loader of that release refuses.
    """
    try:
        import_module("diffutron.outputs").verify_checksums(Path(path))
    except import_module("diffutron.errors").UserError as error:
        raise ValueError(f"path={str(path)!r}: {error}") from error
    return import_module("diffutron.modeling.language_model").load_language_model(path, **options)
