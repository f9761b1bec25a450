"""What a host is told of the others, and the launcher that it becomes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from diffutron.runtime.errors import UserError
from diffutron.training.hosts import Hosts, address_towards, free_port, interface, this_host

HERE = {"DIFFUTRON_HOSTS": "3", "DIFFUTRON_HEAD": "127.0.0.1:29400"}


def test_alone_without_other_hosts() -> None:
    assert this_host({}) is None
    assert this_host({"DIFFUTRON_HOSTS": "1"}) is None


def test_the_host_where_all_meet_leads_unless_told_otherwise() -> None:
    assert this_host(HERE) == Hosts(3, "127.0.0.1:29400", "127.0.0.1", leads=True)
    told = this_host(HERE | {"DIFFUTRON_LEADS": "0"})
    assert told is not None
    assert not told.leads
    by_name = this_host(HERE | {"DIFFUTRON_HEAD": "localhost:29400"})
    assert by_name is not None
    assert by_name.leads


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DIFFUTRON_HOSTS": "two"}, "DIFFUTRON_HOSTS='two': give the number"),
        ({"DIFFUTRON_HOSTS": "0"}, "DIFFUTRON_HOSTS='0'"),
        ({"DIFFUTRON_HEAD": ""}, "DIFFUTRON_HEAD='': give ADDRESS:PORT"),
        ({"DIFFUTRON_HEAD": "10.0.0.1"}, "give ADDRESS:PORT"),
        ({"DIFFUTRON_HEAD": "no.such.host.invalid:1"}, "no way to no.such.host.invalid"),
    ],
)
def test_what_cannot_be_is_named(changes, message) -> None:
    with pytest.raises(UserError, match=message):
        this_host(HERE | changes)


def test_ranks_talk_through_the_interface_of_the_address(monkeypatch) -> None:
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    here = this_host(HERE)
    assert here is not None
    assert here.environment() == {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    assert here.environment() == {"NCCL_SOCKET_IFNAME": "lo"}
    assert address_towards("127.0.0.1", 9) == "127.0.0.1"
    with pytest.raises(UserError, match=r"no network interface .* 192\.0\.2\.1"):
        interface("192.0.2.1")


@pytest.mark.slow
def test_two_launchers_train_as_two_ranks_of_one(
    short_params, tiny_model_dir, corpus_dir, tmp_path: Path
) -> None:
    """The same command twice, and nothing else: as on two hosts that share a file system."""
    from ruamel.yaml import YAML

    params = short_params({"pretrain.training.steps": 8})
    with (tmp_path / "params.yaml").open("w") as stream:
        YAML().dump(params.model_dump(mode="json", by_alias=True), stream)
    meeting = {"DIFFUTRON_HOSTS": "2", "DIFFUTRON_HEAD": f"127.0.0.1:{free_port()}"}

    def start(out: str, **told: str) -> "subprocess.Popen[str]":
        options = {"--params": tmp_path / "params.yaml", "--backbone": tiny_model_dir}
        options |= {"--corpus": corpus_dir, "--out": tmp_path / out}
        options |= {"--metrics": tmp_path / f"{out}.json"}
        words = [str(word) for pair in options.items() for word in pair]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | told
        return subprocess.Popen(
            [sys.executable, "-m", "diffutron", "pretrain", *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    pair = [
        start("pair", **meeting, DIFFUTRON_RANKS="1", DIFFUTRON_LEADS=leads) for leads in ("1", "0")
    ]
    said = [process.communicate()[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    alone = start("alone", DIFFUTRON_RANKS="2")
    output, _ = alone.communicate()
    assert alone.returncode == 0, output
    weights = [load_file(tmp_path / out / "adapter_model.safetensors") for out in ("pair", "alone")]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
