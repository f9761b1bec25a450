"""A name of an earlier release is refused, and the line says the new one."""

import copy

import pytest

from diffutron.config.params import Params, parse_params
from diffutron.config.renamed import KEYS, VARIABLES, refuse_old_variables
from diffutron.data.sources.listing import entries
from diffutron.runtime.errors import UserError

LISTED_IN_SOURCES = {"licence"}


def with_old_names(values):
    """Every (dotted key, values with that one key under its old name)."""
    old_names = {tuple(new.split(".")): old for old, new in KEYS.items()}

    def walk(section, path):
        for key, value in section.items():
            for new in old_names:
                if (*path, key)[-len(new) :] == new:
                    yield (*path, key)[: -len(new)], new
            if isinstance(value, dict):
                yield from walk(value, (*path, key))

    for path, new in walk(values, ()):
        if path and old_names[new] in values[path[0]]:
            continue  # the section has a key of that name
        changed = copy.deepcopy(values)
        section = changed
        for part in path:
            section = section[part]
        holder = section
        for part in new[:-1]:
            holder = holder[part]
        section[old_names[new]] = holder.pop(new[-1])
        yield ".".join((*path, old_names[new])), ".".join(new), changed


def test_every_old_key_is_refused_with_its_new_name(demo_values):
    seen = set()
    for dotted, new, values in with_old_names(demo_values):
        with pytest.raises(UserError, match=f"`{dotted}` is now called `{new}`; write the"):
            parse_params(values, origin="params.yaml")
        seen.add(dotted.split(".")[-1])
    assert seen == set(KEYS) - LISTED_IN_SOURCES


def test_all_old_keys_of_a_file_are_named_at_once(demo_values):
    values = copy.deepcopy(demo_values)
    values["evaluation"] = values.pop("evaluate")
    values["pretrain"]["training"]["clip"] = 1.0
    with pytest.raises(UserError, match="`pretrain.training.clip` is now .*, `evaluation` is now"):
        parse_params(values, origin="params.yaml")


def test_no_old_name_is_a_name_of_its_place(demo_values):
    assert not set(KEYS) & set(Params.model_fields)


def test_an_old_key_of_sources_yaml_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("Merhaba.", encoding="utf-8")
    (tmp_path / "sources.yaml").write_text(
        "sources: [{files: a.txt, licence: CC BY 4.0}]", encoding="utf-8"
    )
    with pytest.raises(UserError, match="`sources.0.licence` is now called `license`"):
        entries(tmp_path)


@pytest.mark.parametrize("old", VARIABLES)
def test_an_old_variable_is_refused(old):
    with pytest.raises(UserError, match=f"{old} is now called {VARIABLES[old]}"):
        refuse_old_variables({old: "1"})
    refuse_old_variables({VARIABLES[old]: "1"})
