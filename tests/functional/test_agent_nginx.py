"""The agent against nginx: Range, keep-alive and what a poll costs with a real web server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

from edgeops.runtime.agent.home import Home
from edgeops.runtime.agent.update import Options
from tests.servers import free_port
from tests.unit._agent_faults import served, tidy, updated
from tests.unit._agent_repo import Repo, plain_files

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
# Started by root, nginx would read as another user, who may not look into the tests' folders.
USER = "user root;" if os.getuid() == 0 else ""
CONFIG = """
{user} daemon off; worker_processes 1; pid {base}/nginx.pid; error_log {base}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log {base}/access.log combined; default_type application/octet-stream;
  client_body_temp_path {base}/a; proxy_temp_path {base}/b; fastcgi_temp_path {base}/c;
  uwsgi_temp_path {base}/d; scgi_temp_path {base}/e;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
MODEL = bytes(range(256)) * 4000


@contextmanager
def nginx(root, base):
    """Serve a folder on a free port of the loopback; the process is ended by its own id."""
    base.mkdir()
    port = free_port()
    config = base / "nginx.conf"
    config.write_text(CONFIG.format(user=USER, base=base, port=port, root=root))
    command = [NGINX, "-e", str(base / "error.log"), "-p", str(base), "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 60
            while True:
                with socket.socket() as link:
                    if link.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None, (base / "error.log").read_text()
                assert time.monotonic() < until, "nginx did not start"
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_agent_updates_from_nginx(tmp_path):
    repo = Repo(tmp_path / "repo")
    (tmp_path / "root.json").write_bytes(repo.root)
    files = {**plain_files("one"), "variants/gateway/model.bin": (MODEL, "variant", "gateway")}
    offer = repo.publish(repo.bundle("1.0.0", files))
    home = Home(tmp_path / "home")
    home.prepare()
    blob = next(
        path for path in (tmp_path / "repo").rglob("*") if path.stat().st_size == len(MODEL)
    )
    (home.partial / blob.name).write_bytes(MODEL[:700_001])
    with nginx(tmp_path / "repo", tmp_path / "nginx") as address:
        options = Options(home.path, address, tmp_path / "root.json")
        result = updated(options)
        assert result["outcome"] == "updated"
        assert result["bytes_downloaded"] < len(MODEL) - 700_001 + 10_000
        again = updated(options)
    assert (again["outcome"], again["requests"]) == ("current", 2)
    assert again["bytes_downloaded"] < 1000
    log = (tmp_path / "nginx" / "access.log").read_text()
    assert f'/blobs/sha256/{blob.name} HTTP/1.1" 206 {len(MODEL) - 700_001} ' in log
    assert served(home.path) == offer.digest
    tidy(home.path)
