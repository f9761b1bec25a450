"""Two hosts on one machine: network namespaces joined by a cable that can be pulled."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil


@dataclass
class Host:
    """A network namespace with one interface, and the processes that were started in it."""

    name: str
    interface: str
    address: str
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(
        self, command: list[str], *, cwd: Path, env: Mapping[str, str], log: Path
    ) -> "subprocess.Popen[bytes]":
        with log.open("ab") as stream:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                cwd=cwd,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def link(self, state: str) -> None:
        """`up` or `down`: the cable at this end."""
        ip("-n", self.name, "link", "set", self.interface, state)

    def bytes_sent(self) -> int:
        """Counted by the interface, headers included."""
        count = f"/sys/class/net/{self.interface}/statistics/tx_bytes"
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, "cat", count], capture_output=True, check=True
        )
        return int(done.stdout)

    def end(self) -> None:
        """No process stays in the namespace."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        for pid in map(int, found.stdout.split()):
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        for process in self.started:
            process.wait(30)
        self.started.clear()


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Needs root and iproute2; both namespaces are gone at the end, whatever happens between."""
    mark = os.getpid() % 100_000
    hosts = tuple(
        Host(f"diffutron-{mark}{letter}", f"v{mark}{letter}", f"10.99.0.{number}")
        for number, letter in enumerate("ab", start=1)
    )
    one, two = hosts
    try:
        for host in hosts:
            ip("netns", "add", host.name)
            ip("-n", host.name, "link", "set", "lo", "up")
        cable = ["link", "add", one.interface, "netns", one.name, "type", "veth"]
        ip(*cable, "peer", "name", two.interface, "netns", two.name)
        for host in hosts:
            ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.interface)
            host.link("up")
        yield one, two
    finally:
        for host in hosts:
            host.end()
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)


def torchrun(host: Host, head: Host, *, job: str, restarts: int, grace: float) -> list[str]:
    """torchrun as docs/operations.md has it, for one of two hosts."""
    patience = "join_timeout=60,read_timeout=20,keep_alive_interval=2,keep_alive_max_attempt=3"
    return [
        *("env", f"GLOO_SOCKET_IFNAME={host.interface}"),
        *(sys.executable, "-m", "diffutron.operations.watchdog", str(grace)),
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{head.address}:29400"),
        *("--rdzv-id", job, "--local-addr", host.address, "--max-restarts", str(restarts)),
        *("--monitor-interval", "1", "--rdzv-conf", f"is_host={int(host is head)},{patience}"),
        *("-m", "diffutron", "pretrain"),
    ]
