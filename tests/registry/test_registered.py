"""What the registry says of the version that the stage made last."""

import pytest

from diffutron.registry.mlflow_client import tracking
from diffutron.registry.register import register
from diffutron.registry.registered import last_registered

pytestmark = pytest.mark.slow


def test_a_deleted_version_is_gone_and_another_one_of_its_number_is_not_it(
    build, make_params, monkeypatch
):
    monkeypatch.setattr("diffutron.registry.register.smoke_test", lambda uri: "ok")
    assert last_registered() is None
    register(make_params(), **build)
    first = last_registered()
    assert first is not None
    assert (str(first), first.aliases()) == ("version 1 of diffutron", ["challenger"])
    with tracking() as client:
        client.delete_model_version("diffutron", "1")
    assert first.aliases() is None
    register(make_params(), **build)
    second = last_registered()
    assert second is not None
    assert second.aliases() == ["challenger"]
    with tracking() as client:
        client.delete_registered_model("diffutron")
    assert second.aliases() is None
    register(make_params(), **build)
    third = last_registered()
    assert third is not None
    assert (third.version, third.aliases()) == (1, ["challenger"])
    assert first.aliases() is None
