"""The settings that people change most, as typed fields of the form of the flow `build`.

Type, bounds and help of a field are those of the class that checks `params.yaml`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from diffutron.config.params import Params

KEYS = (
    "seed",
    "tokenizer.vocab_size",
    "backbone.training.steps",
    "backbone.training.learning_rate",
    "pretrain.training.steps",
    "pretrain.lora.rank",
    "instruct_phase1.training.steps",
    "instruct_phase2.training.steps",
    "instruct_phase2.training.learning_rate",
    "evaluate.max_items",
)


class Form(BaseModel):
    """What is left empty stays as the profile has it."""

    model_config = ConfigDict(extra="forbid")

    def overrides(self) -> Iterator[str]:
        """The fields that were filled in, as `section.key=value`."""
        for key in KEYS:
            if (value := getattr(self, field_name(key))) is not None:
                yield f"{key}={value}"


def field_name(key: str) -> str:
    """A name of Python for a key: `pretrain_training_steps`."""
    return key.replace(".", "_")


def _described(key: str) -> FieldInfo:
    """The field of a key in the classes of `params.yaml`."""
    section: Any = Params
    *path, last = key.split(".")
    for name in path:
        section = section.model_fields[name].annotation
    return section.model_fields[last]


def _form() -> type[Form]:
    fields: dict[str, Any] = {}
    for key in KEYS:
        told = _described(key)
        kind: Any = told.annotation
        if told.metadata:  # the bounds
            kind = Annotated[(kind, *told.metadata)]
        empty = Field(None, title=key, description=told.description)
        fields[field_name(key)] = (kind | None, empty)
    return create_model("Settings", __base__=Form, **fields)


if TYPE_CHECKING:

    class Settings(Form):
        """Its fields are made at run time."""

        def __init__(self, **values: Any) -> None: ...

else:
    Settings = _form()
