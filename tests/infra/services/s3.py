"""Two S3 servers: moto, quick and content with any secret, and Debian's OpenStack Swift."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from diffutron.training.hosts import free_port

from ..conftest import need
from .processes import Service, running, scratch

COMMON = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_level = WARNING
"""
STORE = """
devices = {folder}/srv
mount_check = false
fallocate_reserve = 0

[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}

[{name}-replicator]

[{name}-updater]

[{name}-auditor]

[{name}-sharder]
"""
PROXY = """
[pipeline:main]
pipeline = {pipeline}

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:s3fix]
paste.filter_factory = s3fix:factory
"""
FILTERS = {
    "catch_errors": "",
    "gatekeeper": "",
    "healthcheck": "",
    "proxy-logging": "proxy_logging",
    "cache": "memcache",
    "listing_formats": "",
    "s3api": "",
    "tempauth": "",
    "copy": "",
    "slo": "",
    "dlo": "",
    "versioned_writes": "",
}
OPTIONS = {
    "cache": "memcache_servers = 127.0.0.1:{memcached}",
    "s3api": "location = us-east-1\ns3_acl = false",
    "tempauth": "user_test_tester = testing .admin",
    "versioned_writes": "allow_versioned_writes = true",
}
ORDER = "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats s3fix s3api"
ORDER += " tempauth copy slo dlo versioned_writes proxy-logging proxy-server"


@dataclass(frozen=True)
class S3:
    """Where a server answers, and a key that it accepts."""

    endpoint: str
    key: str
    secret: str

    def environment(self, *, secret: str | None = None) -> dict[str, str]:
        """What boto3, DVC and MLflow read."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": secret or self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "MLFLOW_S3_ENDPOINT_URL": self.endpoint,
        }

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def keys(self, bucket: str) -> list[str]:
        found = self.client().list_objects_v2(Bucket=bucket)
        return [one["Key"] for one in found.get("Contents", [])]


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    service = Service("moto", command, dict(os.environ), tmp_path_factory.mktemp("moto"))
    with running(service):
        service.wait_for_answer(f"http://127.0.0.1:{port}/moto-api/")
        yield S3(f"http://127.0.0.1:{port}", "any", "any")


@pytest.fixture(scope="session")
def swift() -> Iterator[S3]:
    """Accounts, containers, objects, and the proxy that speaks S3: one copy of each."""
    need("swift-ring-builder", "swift-proxy-server", "memcached")
    with scratch("swift", os.getuid()) as folder:
        ports = {name: free_port() for name in ("account", "container", "object", "proxy")}
        ports["memcached"] = free_port()
        services = [_memcached(folder, ports["memcached"])]
        for name in ("account", "container", "object"):
            _ring(folder, name, ports[name])
            _write(folder, name, STORE.format(name=name, folder=folder), ports[name])
            services.append(_server(folder, name))
        _write(folder, "proxy", _proxy(ports["memcached"]), ports["proxy"])
        services.append(_server(folder, "proxy"))
        with running(*services):
            endpoint = f"http://127.0.0.1:{ports['proxy']}"
            services[-1].wait_for_answer(f"{endpoint}/healthcheck")
            yield S3(endpoint, "test:tester", "testing")


def _memcached(folder: Path, port: int) -> Service:
    command = ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-U", "0"]
    return Service("memcached", [*command, "-m", "32", "-c", "256"], dict(os.environ), folder)


def _ring(folder: Path, name: str, port: int) -> None:
    (folder / "srv/d1").mkdir(parents=True, exist_ok=True)
    for arguments in (
        ["create", "4", "1", "0"],
        ["add", f"r1z1-127.0.0.1:{port}/d1", "1"],
        ["rebalance"],
    ):
        builder = ["swift-ring-builder", f"{name}.builder", *arguments]
        subprocess.run(builder, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _write(folder: Path, name: str, rest: str, port: int) -> None:
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    common = COMMON.format(port=port, user=user, folder=folder)
    (folder / f"{name}-server.conf").write_text(common + rest)


def _proxy(memcached: int) -> str:
    text = PROXY.format(pipeline=ORDER)
    for name, egg in FILTERS.items():
        options = OPTIONS.get(name, "").format(memcached=memcached)
        text += f"\n[filter:{name}]\nuse = egg:swift#{egg or name}\n{options}\n"
    return text


def _server(folder: Path, name: str) -> Service:
    """Debian's Python runs it, so nothing of our environment may reach it but the one filter."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1] / "swift")
    program = [f"swift-{name}-server", str(folder / f"{name}-server.conf"), "-v"]
    return Service(name, program, environment, folder)
