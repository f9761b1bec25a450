"""The typed fields of the form: the settings of `params.yaml`, with its bounds and its words."""

import pytest
from pydantic import ValidationError

from diffutron.config.reference import settings
from diffutron.runtime.errors import UserError
from flows.form import KEYS, Settings, field_name
from flows.pipeline import build


def test_a_field_says_what_the_reference_says():
    shown = Settings.model_json_schema()["properties"]
    meant = {one.key: one for one in settings()}
    assert {one["title"] for one in shown.values()} == {*KEYS} <= meant.keys()
    for one in shown.values():
        assert one["description"] == meant[one["title"]].meaning
        assert one["default"] is None


@pytest.mark.parametrize("key", KEYS)
def test_the_bounds_are_those_of_the_file(make_params, demo_values, key):
    name, value = field_name(key), demo_values
    for part in key.split("."):
        value = value[part]
    told = [] if value is None else [f"{key}={value}"]
    assert list(Settings(**{name: value}).overrides()) == told
    for wrong in (-1, "many"):
        with pytest.raises(ValidationError):
            Settings(**{name: wrong})
        with pytest.raises(UserError, match=key.replace(".", r"\.")):
            make_params({key: wrong})


def test_an_empty_form_changes_nothing():
    assert list(Settings().overrides()) == []
    with pytest.raises(ValidationError):
        Settings(sead=3)


def test_the_form_of_the_flow_has_the_fields():
    parameters = build.parameters.model_dump()
    shown = parameters["definitions"]["Settings"]["properties"]
    assert [one["title"] for one in shown.values()] == list(KEYS)
    seed = shown["seed"]["anyOf"]
    assert {"type": "integer", "minimum": 0} in seed
