"""YAML files that people write: read, checked against a pydantic model, faults in one line."""

import io
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, Tag, ValidationError

from diffutron.runtime.errors import UserError

Model = TypeVar("Model", bound=BaseModel)
COMMENT_COLUMN = 35
NULL = "tag:yaml.org,2002:null"


def read_yaml(
    path: Path,
    *,
    absent: str = "does not exist; in a clone, `diffutron params --profile demo` writes it",
) -> Any:
    """The values of a file; YAML 1.2, so `1e-3` is a number and `no` is a word.

    absent: what a missing file's message says after its name.
    """
    try:
        return parse_yaml(Path(path).read_text(encoding="utf-8"), origin=str(path))
    except FileNotFoundError:
        raise UserError(f"{path} {absent}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from None


def parse_yaml(text: str, *, origin: str) -> Any:
    """The value that a text holds, by the same rules."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise UserError(f"{origin} is not valid YAML: {' '.join(str(error).split())}") from None


def yaml_text(values: Any) -> str:
    """Plain values as a YAML file; keys keep their order."""
    from ruamel.yaml import YAML

    stream, writer = io.StringIO(), YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # pyright: ignore[reportAttributeAccessIssue]
    writer.dump(values, stream)
    return stream.getvalue()


def edited(
    text: str, values: Mapping[str, Any], *, comments: Mapping[str, str] | None = None
) -> str:
    """A YAML file with other values in their places; its comments, order and layout stay.

    Keys that `values` lacks are taken out, and new ones come last in their section. comments: what
    is written beside a value, by its dotted key, where nothing stands there.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), lambda it, _: it.represent_scalar(NULL, "null"))
    tree = yaml.load(text)
    _put(tree, values)
    _comment(tree, comments or {}, "")
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


def _put(tree: Any, values: Mapping[str, Any]) -> None:
    for key in [key for key in tree if key not in values]:
        del tree[key]
    for key, value in values.items():
        old = tree.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            _put(old, value)
        elif key not in tree or old != value:
            tree[key] = _in_one_line(value)
            said = tree.ca.items.get(key, [None] * 3)[2]
            if isinstance(old, list | Mapping) and said:  # it stood behind what may be a long line
                said.column = COMMENT_COLUMN


def _comment(tree: Any, comments: Mapping[str, str], prefix: str) -> None:
    from ruamel.yaml.comments import CommentedMap

    for key, value in tree.items():
        if isinstance(value, CommentedMap) and value and not value.fa.flow_style():
            _comment(value, comments, f"{prefix}{key}.")
        elif said := comments.get(f"{prefix}{key}"):
            old = tree.ca.items.get(key, [None] * 3)[2]
            if old is None or not old.value.strip():  # ruamel keeps empty lines as a comment
                tree.ca.items.pop(key, None)
                tree.yaml_add_eol_comment(said, key, column=COMMENT_COLUMN)
                tree.ca.items[key][2].value += old.value.rstrip(" ") if old else ""


def _in_one_line(value: Any) -> Any:
    """Mappings and lists as they stand in brackets, in one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, Mapping):
        found: Any = CommentedMap({key: _in_one_line(each) for key, each in value.items()})
    elif isinstance(value, list | tuple):
        found = CommentedSeq([_in_one_line(each) for each in value])
    else:
        return value
    found.fa.set_flow_style()
    return found


def checked(
    values: Any, kind: type[Model], *, origin: str, renamed: Mapping[str, str] | None = None
) -> Model:
    """`values` as a `kind`.

    renamed: last parts of keys that have another name now.

    Raises:
        UserError: names the first fault, and the allowed keys or the new name if a key is wrong.
    """
    if not isinstance(values, dict):
        wanted = ", ".join(_keys(kind))
        raise UserError(f"{origin}: must hold a mapping of {wanted}, not {type(values).__name__}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{origin}: {_explain(error, kind, renamed or {})}") from None


def _explain(error: ValidationError, kind: type[BaseModel], renamed: Mapping[str, str]) -> str:
    faults = error.errors(include_url=False)
    unknown = [one["loc"] for one in faults if one["type"] == "extra_forbidden"]
    if old := [place for place in unknown if place[-1] in renamed]:
        names = (f"`{_dotted(place)}` is now called `{renamed[str(place[-1])]}`" for place in old)
        return f"{', '.join(names)}; write the new name"
    first = faults[0]
    key = _dotted(first["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(_keys_at(kind, first["loc"][:-1]))
        near = get_close_matches(key, _all_keys(kind), n=1, cutoff=0.75)
        meant = f"; did you mean `{near[0]}`?" if near else ""
        return f"unknown key `{key}`; allowed here: {allowed}{more}{meant}"
    if first["type"] == "missing":
        return f"missing key `{key}`; add it{more}"
    message = first["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
    return f"`{key}`{shown}: {message[:1].lower()}{message[1:]}{more}"


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if not _is_tag(part))


def _is_tag(part: int | str) -> bool:
    """Pydantic puts the tag of a union's member into a fault's location; ours are in brackets."""
    return isinstance(part, str) and part.startswith("(")


def _keys_at(kind: Any, location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        if _is_tag(part):
            kind = _member(kind, part)
        elif isinstance(part, str) and hasattr(kind, "model_fields"):
            fields = {field.alias or name: field for name, field in kind.model_fields.items()}
            kind = fields[part].annotation
        else:  # the place in a list, or the key of a mapping
            kind = (get_args(kind) or [None])[-1]
    return _keys(kind)


def _member(union: Any, tag: int | str) -> Any:
    """What the tag stands for among `Annotated[kind, Tag(tag)] | ...`."""
    for kind, *notes in map(get_args, get_args(union)):
        if any(isinstance(note, Tag) and note.tag == tag for note in notes):
            return kind
    return None


def _all_keys(kind: Any) -> Iterator[str]:
    """The dotted names of all keys of sections within sections."""
    for name, field in getattr(kind, "model_fields", {}).items():
        key = field.alias or name
        yield key
        yield from (f"{key}.{inner}" for inner in _all_keys(field.annotation))


def _keys(kind: Any) -> list[str]:
    fields = getattr(kind, "model_fields", {})
    return [field.alias or name for name, field in fields.items()]
