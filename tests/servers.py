"""Real servers on loopback for tests: nginx, a registry, S3. Each ends with the test, by its own id.

Each is a context manager that yields the address, and skips the test where the program is missing.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_STARTS_S = 60.0


@contextmanager
def nginx(folder: Path, work: Path):
    """Serve ``folder`` with Range requests; yields the address; logs requests to work/access.log."""
    program = _program("nginx", "nginx-light")
    work.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (work / "nginx.conf").write_text(
        f"""
worker_processes 1; daemon off; pid {work}/pid; error_log {work}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log {work}/access.log; default_type application/octet-stream; sendfile on;
  client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fcgi;
  uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""
    )
    # Started by root, nginx's workers would be another user, who may not read the test's folder.
    user = ["-g", "user root;"] if os.getuid() == 0 else []
    command = [program, "-p", str(work), "-e", str(work / "error.log"), "-c", "nginx.conf", *user]
    with _running(command, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def oci_registry(work: Path):
    """Run Debian's docker-registry; yields host:port."""
    program = _program("docker-registry", "docker-registry")
    work.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (work / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\n"
        f"storage: {{filesystem: {{rootdirectory: {work}/storage}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with _running([program, "serve", str(work / "registry.yml")], port):
        yield f"127.0.0.1:{port}"


@contextmanager
def s3():
    """Run moto's S3; yields the endpoint, with a bucket ``models`` in it."""
    for package in ("moto.server", "boto3", "flask"):
        if importlib.util.find_spec(package.split(".")[0]) is None:
            pytest.skip(f"{package} is not installed")
    import boto3

    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1"]
    with _running([*command, "-p", str(port)], port):
        endpoint = f"http://127.0.0.1:{port}"
        client = boto3.client("s3", endpoint_url=endpoint, **S3_KEYS)
        client.create_bucket(Bucket="models")
        client.close()
        yield endpoint


S3_KEYS = {
    "aws_access_key_id": "tests",
    "aws_secret_access_key": "tests",
    "region_name": "us-east-1",
}
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    """Return a port of this machine that nobody listens on.

    It is none of those that the system hands out by itself (from 32768 on): a connection of another
    test could be given one of them before the server that it is meant for has started.
    """
    for _ in range(1000):
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port is free")


@contextmanager
def closed_port():
    """Yield a port that refuses connections: it is taken, and nobody listens on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def _program(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return found


@contextmanager
def _running(command: list[str], port: int):
    # What it says goes to a file: a pipe that nobody reads would stop it when it is full.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            _wait(process, port, said)
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen, port: int, said) -> None:
    until = time.monotonic() + _STARTS_S
    while time.monotonic() < until:
        if process.poll() is not None:
            said.seek(0)
            pytest.fail(f"the server ended: {said.read().decode()[-500:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server did not start")
