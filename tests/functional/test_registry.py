"""Bundles in a real registry: pushed by edgeops, copied by skopeo and oras, read back checked."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from edgeops.core.events import Silence
from edgeops.core.manifest import Descriptor
from edgeops.errors import EdgeopsError
from edgeops.package.bundle import open_bundle
from edgeops.package.layout import SIGNATURE_TYPE
from edgeops.publish.keys import init_keys
from edgeops.publish.registry import INDEX_TYPE, Registry, parse_address
from edgeops.stages.unpack import UnpackRequest, unpack_verb
from tests import servers
from tests.unit._bundles import make_bundle, pack_full, release

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with servers.oci_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def place(tmp_path):
    init_keys(tmp_path / "keys", now=NOW)
    return tmp_path


def _publish(place, bundle, to, **options):
    return release(place, bundle, to=to, now=NOW, **options)


def _signed(place, folder="one", **options):
    return make_bundle(place / folder, key=place / "keys", **options)


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, int(caught.value.exit_code)


def _blobs(bundle):
    with open_bundle(bundle) as opened:
        return {blob.hex: b"".join(opened.pieces(blob)) for blob in opened.blobs()}


def test_publish_tags_version_and_channel_and_signs(place, host):
    bundle = _signed(place)
    to = f"oci://{host}/team/tiny"
    result = _publish(place, bundle, to, channel="beta")
    assert result["release"] == f"{to}:1.0.0"
    assert result["channel"] == "beta"
    assert result["deltas"] == []
    assert result["bytes_uploaded"] > 0
    with Registry(parse_address(to)) as registry:
        data = registry.get_manifest("1.0.0")
        assert data == registry.get_manifest("beta") == registry.get_manifest(result["digest"])
        index = json.loads(registry.get_manifest(result["digest"].replace(":", "-"), INDEX_TYPE))
        [entry] = index["manifests"]
        assert entry["artifactType"] == SIGNATURE_TYPE
        signature = json.loads(registry.get_manifest(entry["digest"]))
    assert signature["subject"]["digest"] == result["digest"]


def test_publishing_again_sends_nothing(place, host):
    bundle, to = _signed(place), f"oci://{host}/again"
    _publish(place, bundle, to)
    assert _publish(place, bundle, to)["bytes_uploaded"] == 0


def test_blobs_are_taken_from_another_name_of_the_registry(place, host):
    bundle = _signed(place)
    first = _publish(place, bundle, f"oci://{host}/source")
    second = _publish(place, bundle, f"oci://{host}/copy?mount=source")
    sizes = sum(map(len, _blobs(bundle).values()))
    assert first["bytes_uploaded"] > sizes / 2
    # Manifests are sent again, for a registry cannot mount them; no blob is.
    with open_bundle(bundle) as opened:
        manifests = opened.manifest_descriptor.size * 3 + opened.signature_descriptor.size
    assert second["bytes_uploaded"] < manifests + 1000


def test_unpack_brings_the_variants_that_a_target_s_rules_ask(place, host):
    to = f"oci://{host}/asked"
    (place / "full").mkdir()
    _publish(place, pack_full(place / "full", wheels={}, sdk=()), to, accept="for a test")
    unpack_verb(UnpackRequest(place, f"{to}:stable", "out", "gateway"), events=Silence())
    unpack_verb(UnpackRequest(place, f"{to}:stable", "alone", "camera"), events=Silence())
    taken = [
        sorted(path.name for path in (place / out / "variants").iterdir())
        for out in ("out", "alone")
    ]
    assert taken == [["camera", "gateway"], ["camera"]]


def test_unpack_reads_it_back_and_checks_it(place, host):
    bundle, to = _signed(place), f"oci://{host}/back"
    published = _publish(place, bundle, to)
    request = UnpackRequest(place, f"{to}:stable", "out", "gateway")
    result = unpack_verb(request, events=Silence())
    assert result["digest"] == published["digest"]
    weights = (place / "out" / "variants" / "gateway" / "model.onnx").read_bytes()
    assert weights == (place / "one" / "gateway" / "model.onnx").read_bytes()
    assert _code(unpack_verb, UnpackRequest(place, f"{to}:nope", "other"), events=Silence()) == (
        "store-missing",
        30,
    )


def test_a_blob_that_the_registry_damaged_is_refused(place, tmp_path):
    with servers.oci_registry(tmp_path / "registry") as host:
        bundle, to = _signed(place), f"oci://{host}/bad"
        _publish(place, bundle, to)
        storage = tmp_path / "registry" / "storage"
        model = (place / "one" / "gateway" / "model.onnx").read_bytes()
        [path] = [item for item in storage.rglob("data") if item.read_bytes() == model]
        path.write_bytes(model[:-1] + bytes([model[-1] ^ 1]))
        request = UnpackRequest(place, f"{to}:stable", "out")
        assert _code(unpack_verb, request, events=Silence()) == ("digest-mismatch", 20)
        assert not (place / "out").exists()


def test_the_rules_of_releases_and_channels_hold_there_too(place, host):
    to = f"oci://{host}/rules"
    _publish(place, _signed(place, "new", version="1.1.0"), to)
    other = _signed(place, "other", version="1.1.0", seed=5)
    assert _code(_publish, place, other, to) == ("release-exists", 3)
    assert _publish(place, other, to, rebuild=True)["version"] == "1.1.0"
    old = _signed(place, "old")
    assert _code(_publish, place, old, to) == ("channel-backwards", 3)
    assert _publish(place, old, to, rollback=True)["version"] == "1.0.0"
    foreign = _signed(place, "foreign", name="foreign", version="9.0.0")
    assert _code(_publish, place, foreign, to) == ("channel-taken", 3)
    assert _code(_publish, place, old, to, share=0.5) == ("mirror-terms", 3)
    failing = _signed(place, "failing", version="3.0.0", value=0.1)
    assert _code(_publish, place, failing, to) == ("publish-gate-failed", 11)


@pytest.mark.parametrize(
    "to", ["oci://", "oci://host", "oci://host/Upper", "oci://host/a//b", "oci://u:p@host/a"]
)
def test_an_address_that_is_none_is_refused(to):
    assert _code(parse_address, to) == ("registry-address", 3)


def test_plain_http_is_for_this_machine_or_where_it_is_said():
    assert parse_address("oci://127.0.0.1:5000/a/b:1.0").base == "http://127.0.0.1:5000"
    assert parse_address("oci://example.com/a").base == "https://example.com"
    assert parse_address("oci+http://example.com/a").base == "http://example.com"


def test_a_registry_that_is_not_there_may_be_tried_again(place, monkeypatch):
    monkeypatch.setattr("edgeops.publish.registry._BACKOFF_S", 0.0)
    with servers.closed_port() as port, pytest.raises(EdgeopsError) as caught:
        _publish(place, _signed(place), f"oci://127.0.0.1:{port}/a")
    assert (caught.value.code, int(caught.value.exit_code)) == ("registry-unreachable", 30)
    assert caught.value.why == "[Errno 111] Connection refused"


class _Guarded(BaseHTTPRequestHandler):
    """A registry with nothing in it, which asks for a token that a password gets."""

    def do_GET(self):
        host = self.headers["Host"]
        self.server.seen.append((self.path.partition("?")[0], self.headers.get("Authorization")))
        if self.path.startswith("/token"):
            known = base64.b64encode(b"ann:secret").decode()
            right = self.headers.get("Authorization") == f"Basic {known}"
            body = json.dumps({"token": "t0ken"} if right else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        inside = self.headers.get("Authorization") == "Bearer t0ken"
        self.send_response(404 if inside else 401)
        scope = 'service="tests",scope="repository:private:pull"'
        self.send_header("WWW-Authenticate", f'Bearer realm="http://{host}/token",{scope}')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_login_comes_from_dockers_config(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    server = HTTPServer(("127.0.0.1", 0), _Guarded)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host = f"127.0.0.1:{server.server_port}"
    try:
        with Registry(parse_address(f"oci://{host}/private")) as registry:
            assert _code(registry.get_manifest, "1.0.0") == ("registry-credentials", 4)
        auth = base64.b64encode(b"ann:secret").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
        del server.seen[:]
        with Registry(parse_address(f"oci://{host}/private")) as registry:
            assert registry.get_manifest("1.0.0") is None
            assert registry.get_manifest("1.0.1") is None
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert server.seen == [
        ("/v2/private/manifests/1.0.0", None),
        ("/token", f"Basic {auth}"),
        ("/v2/private/manifests/1.0.0", "Bearer t0ken"),
        ("/v2/private/manifests/1.0.1", "Bearer t0ken"),
    ]


def test_skopeo_copies_it_as_an_image_layout(place, host):
    skopeo = shutil.which("skopeo")
    if not skopeo:
        pytest.skip("skopeo is not installed: apt-get install skopeo")
    bundle = _signed(place)
    published = _publish(place, bundle, f"oci://{host}/skopeo")
    source, out = f"docker://{host}/skopeo:1.0.0", f"oci:{place}/layout:1.0.0"
    done = subprocess.run(
        [skopeo, "copy", "--insecure-policy", "--src-tls-verify=false", source, out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = place / "layout" / "blobs" / "sha256"
    expected = _blobs(bundle)
    with open_bundle(bundle) as opened:
        needed = {opened.manifest_descriptor.hex, opened.manifest.config.hex}
        needed |= {layer.blob.hex for layer in opened.manifest.layers}
    copied = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert copied == {name: expected[name] for name in needed}
    assert published["digest"].removeprefix("sha256:") in copied


def test_oras_pulls_it_whole(place, host):
    oras = pytest.importorskip("oras.client")
    bundle = _signed(place)
    _publish(place, bundle, f"oci://{host}/oras")
    client = oras.OrasClient(hostname=host, insecure=True)
    manifest = client.get_manifest(f"{host}/oras:stable")
    expected = _blobs(bundle)
    for layer in [*manifest["layers"], manifest["config"]]:
        answer = client.get_blob(f"{host}/oras", layer["digest"])
        assert answer.content == expected[layer["digest"].removeprefix("sha256:")]


class _Breaking:
    """A session that breaks the connection of chosen requests, before or after they arrive."""

    def __init__(self, session, breaks):
        self._session, self._breaks, self.count = session, breaks, 0
        self.get = session.get
        self.close = session.close

    def request(self, method, url, **options):
        if method == "PATCH":
            self.count += 1
            if self.count in self._breaks:
                if self._breaks[self.count] == "after":
                    self._session.request(method, url, **options)
                raise ConnectionError("cut")
        return self._session.request(method, url, **options)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_upload_that_breaks_goes_on_from_what_arrived(host, monkeypatch, when):
    monkeypatch.setattr("edgeops.publish.registry._BACKOFF_S", 0.0)
    monkeypatch.setattr("edgeops.publish.registry._PART", 1000)
    data = bytes(range(256)) * 13 + when.encode()
    blob = Descriptor("x", f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    with Registry(parse_address(f"oci://{host}/breaking")) as registry:
        registry._session = _Breaking(registry._session, {2: when})
        assert registry.put_blob(blob, lambda _: iter([data])) == len(data)
        assert b"".join(registry.get_blob(blob)) == data
        assert registry.put_blob(blob, lambda _: iter([data])) == 0
