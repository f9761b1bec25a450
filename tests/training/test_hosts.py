"""What a host is told of the others. `tests/infra/test_two_hosts.py` trains on two."""

import pytest

from diffutron.runtime.errors import UserError
from diffutron.training.hosts import Hosts, address_towards, interface, this_host

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
