"""Several hosts that train together; the same command on each, and torchrun lets them meet.

    DIFFUTRON_HOSTS=2 DIFFUTRON_HEAD=10.0.0.1:29400 diffutron pretrain

The clone, its data and DIFFUTRON_CHECKPOINTS lie on a file system that all of them see.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffutron.runtime.errors import UserError

NUMBER, RENDEZVOUS, IS_RENDEZVOUS_HOST = "DIFFUTRON_HOSTS", "DIFFUTRON_HEAD", "DIFFUTRON_LEADS"
RESTARTS = 5  # of the ranks, when a host was cut off or a rank has ended
LONELY_SECONDS = 60  # of a launcher without ranks that waits for hosts which are gone
JOIN = 600  # seconds in which all hosts must have come


@dataclass(frozen=True)
class Hosts:
    """`number` hosts that meet at `head` (HOST:PORT, one of them); `own` address of this one."""

    number: int
    head: str
    own: str
    leads: bool

    def environment(self) -> dict[str, str]:
        """Through which interface the ranks of this host talk; what is set already wins."""
        names = {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"} - os.environ.keys()
        return dict.fromkeys(names, interface(self.own))

    def torchrun(self, argv: Sequence[str], *, ranks: int) -> list[str]:
        """The launcher of this host, with `ranks` ranks of `diffutron ARGV`, under a watchdog."""
        patience = "read_timeout=20,keep_alive_interval=2,keep_alive_max_attempt=3"
        meeting = f"is_host={int(self.leads)},join_timeout={JOIN},{patience}"
        return [
            *(sys.executable, "-m", "diffutron.operations.watchdog", str(LONELY_SECONDS)),
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--nnodes", str(self.number), "--nproc-per-node", str(ranks)),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", self.head),
            *("--rdzv-id", "diffutron", "--local-addr", self.own, "--rdzv-conf", meeting),
            *("--max-restarts", str(RESTARTS), "--monitor-interval", "1"),
            *("-m", "diffutron", *argv),
        ]


def this_host(environment: Mapping[str, str] = os.environ) -> Hosts | None:
    """What the environment says of other hosts; None for a training on this one alone."""
    given, head = environment.get(NUMBER, "1"), environment.get(RENDEZVOUS, "")
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"{NUMBER}={given!r}: give the number of hosts, 1 or more")
    if int(given) == 1:
        return None
    host, _, port = head.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(
            f"{RENDEZVOUS}={head!r}: give ADDRESS:PORT of the host where all of them meet"
        )
    own = address_towards(host, int(port))
    if told := environment.get(IS_RENDEZVOUS_HOST):
        return Hosts(int(given), head, own, told == "1")
    addresses = {found[4][0] for found in socket.getaddrinfo(host, None, socket.AF_INET)}
    return Hosts(int(given), head, own, own in addresses)


def address_towards(host: str, port: int) -> str:
    """The address of this host in the network in which the other one lies; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
        except OSError as error:
            raise UserError(f"no way to {host}:{port} from this host ({error})") from None
        return str(probe.getsockname()[0])


def interface(address: str) -> str:
    """The name of the network interface that has an address."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            return name
    raise UserError(f"no network interface of this host has the address {address}")


def free_port(address: str = "") -> int:
    """A port of this host that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
