"""Who signed a bundle, and whether its evidence is about what is in it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgeops.core.events import Silence
from edgeops.core.gates import Figure, judge
from edgeops.errors import EdgeopsError, InputError, TrustError
from edgeops.package.bundle import open_bundle
from edgeops.package.card import card
from edgeops.package.chain import broken_links, verdict_of
from edgeops.package.include import include_problems
from edgeops.package.pack import Contents, pack_files
from edgeops.package.sbom import sbom
from edgeops.package.unpack import choose, write_files
from edgeops.package.verify import verify_bundle
from edgeops.publish.keys import init_keys
from tests.unit._bundles import make_bundle, make_evidence, make_variant


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, int(caught.value.exit_code)


@pytest.fixture
def keys(tmp_path):
    init_keys(tmp_path / "keys")
    return tmp_path / "keys"


def test_verify_without_a_key_checks_digests_and_evidence(tmp_path, keys):
    result = verify_bundle(make_bundle(tmp_path, key=keys))
    assert result["verified"] is True
    assert result["signed_by"] is None
    assert result["verdict"] == "pass"
    [gate] = result["gates"]
    assert (gate["target"], gate["name"], gate["verdict"]) == ("gateway", "accuracy", "pass")


def test_verify_with_a_key_says_who_signed(tmp_path, keys):
    bundle = make_bundle(tmp_path, key=keys)
    root = json.loads((keys / "root.json").read_bytes())["signed"]
    [expected] = root["roles"]["targets"]["keyids"]
    assert verify_bundle(bundle, keys / "release.pub")["signed_by"] == expected
    assert verify_bundle(bundle, keys)["signed_by"] == expected


def test_signing_leaves_the_digest_and_is_reproducible(tmp_path, keys):
    unsigned = verify_bundle(make_bundle(tmp_path))["digest"]
    first = make_bundle(tmp_path, key=keys).read_bytes()
    second = make_bundle(tmp_path, key=keys)
    assert verify_bundle(second)["digest"] == unsigned
    assert second.read_bytes() == first


def test_signature_is_a_manifest_whose_subject_is_the_bundle(tmp_path, keys):
    with open_bundle(make_bundle(tmp_path, key=keys)) as bundle:
        document = json.loads(bundle.read(bundle.signature_descriptor, 1 << 16))
        assert document["artifactType"] == "application/vnd.edgeops.signature.v1+json"
        assert document["subject"]["digest"] == bundle.digest


def test_verify_refuses_an_unsigned_bundle_when_a_key_is_given(tmp_path, keys):
    assert _code(verify_bundle, make_bundle(tmp_path), keys) == ("signature-missing", 20)


def test_verify_refuses_another_key(tmp_path, keys):
    init_keys(tmp_path / "other")
    bundle = make_bundle(tmp_path, key=keys)
    expected = ("signature-unknown-key", 20)
    assert _code(verify_bundle, bundle, tmp_path / "other" / "release.pub") == expected


def test_verify_refuses_the_signature_of_another_bundle(tmp_path, keys):
    from edgeops.core.manifest import Descriptor
    from edgeops.package.signature import envelope
    from edgeops.publish.keys import load_keys

    held = load_keys(keys, roles=("targets",))
    other = Descriptor("application/vnd.oci.image.manifest.v1+json", "sha256:" + "0" * 64, 3)
    variant = make_variant(tmp_path / "gateway")
    make_evidence(tmp_path / "evidence.json", variant)
    contents = Contents("x", "1", {"gateway": tmp_path / "gateway"}, {}, {})
    bundle = pack_files(
        contents,
        tmp_path / "x.edgeops",
        sign=lambda _: envelope(other, held.release_keyid, held.sign_release),
        events=Silence(),
    ).path
    assert _code(verify_bundle, bundle, keys) == ("signature-wrong", 20)


def test_verify_refuses_a_signature_that_the_key_did_not_make(tmp_path, keys):
    from edgeops.package.signature import envelope
    from edgeops.publish.keys import load_keys

    held = load_keys(keys, roles=("targets",))
    make_variant(tmp_path / "gateway")
    contents = Contents("x", "1", {"gateway": tmp_path / "gateway"}, {}, {})
    bundle = pack_files(
        contents,
        tmp_path / "x.edgeops",
        sign=lambda subject: envelope(subject, held.release_keyid, lambda _: bytes(64)),
        events=Silence(),
    ).path
    assert _code(verify_bundle, bundle, keys) == ("signature-wrong", 20)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n", b"\0\1\2"])
def test_verify_refuses_what_is_no_public_key(tmp_path, keys, content):
    bundle = make_bundle(tmp_path, key=keys)
    (tmp_path / "bad.pub").write_bytes(content)
    assert _code(verify_bundle, bundle, tmp_path / "bad.pub") == ("public-key-malformed", 3)
    assert _code(verify_bundle, bundle, tmp_path / "no.pub") == ("public-key-missing", 3)


def test_pack_refuses_evidence_of_another_variant(tmp_path):
    make_variant(tmp_path / "gateway", seed=1)
    other = make_variant(tmp_path / "other", seed=2)
    make_evidence(tmp_path / "evidence.json", other)
    contents = Contents(
        "x", "1", {"gateway": tmp_path / "gateway"}, {"gateway": tmp_path / "evidence.json"}, {}
    )
    code = _code(pack_files, contents, tmp_path / "x", sign=None, events=Silence())
    assert code == ("evidence-broken", 20)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"variant": "sha256:00"}, "measured sha256:00"),
        ({"model": "sha256:00"}, "is about the model sha256:00"),
        ({"figures": {"accuracy": Figure(0.5)}}, "the figures say fail to 0.5"),
        ({"figures": {}}, "is on a figure that is not there"),
        ({"gates": (judge("accuracy", ">= 0.1", Figure(0.2)),)}, "says pass to 0.2"),
    ],
)
def test_chain_breaks_where_evidence_does_not_follow(tmp_path, change, sentence):
    variant = make_variant(tmp_path / "gateway")
    evidence = make_evidence(tmp_path / "e.json", variant)
    assert broken_links({"gateway": variant}, {"gateway": evidence}) == []
    [broken] = broken_links({"gateway": variant}, {"gateway": replace(evidence, **change)})
    assert sentence in broken


@pytest.mark.parametrize(
    "gate",
    [
        {"bound": "nonsense"},
        {"name": ["a"]},
        {"bound": None},
        {"value": float("nan")},
        {"verdict": "fail"},
        {"interval": (0.0, 1.0)},
    ],
)
def test_chain_breaks_on_a_gate_that_was_edited(tmp_path, gate):
    variant = make_variant(tmp_path / "gateway")
    evidence = make_evidence(tmp_path / "e.json", variant)
    edited = replace(evidence, gates=(replace(evidence.gates[0], **gate),))
    assert len(broken_links({"gateway": variant}, {"gateway": edited})) == 1


def test_chain_breaks_when_evidence_is_of_another_target(tmp_path):
    variant = make_variant(tmp_path / "gateway")
    evidence = make_evidence(tmp_path / "e.json", variant)
    both = {"gateway": variant, "camera": variant}
    [broken] = broken_links(both, {"camera": evidence})
    assert broken == "the evidence of camera was measured for gateway"
    [broken] = broken_links({}, {"camera": evidence})
    assert broken == "there is evidence of camera, but no variant"


def test_verdict_is_absent_unless_every_target_has_a_gate(tmp_path):
    variant = make_variant(tmp_path / "gateway")
    good = make_evidence(tmp_path / "e.json", variant)
    bad = make_evidence(tmp_path / "f.json", variant, value=0.5)
    assert verdict_of(["a"], {"a": good}) == "pass"
    assert verdict_of(["a", "b"], {"a": good}) == "absent"
    assert verdict_of(["a"], {"a": replace(good, gates=())}) == "absent"
    assert verdict_of(["a", "b"], {"a": bad}) == "fail"
    assert verdict_of([], {}) == "absent"


def test_sbom_is_cyclonedx_and_the_same_for_the_same_content(tmp_path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    variants = {"gateway": make_variant(tmp_path / "gateway")}
    data = sbom("tiny", "1.0.0", variants, "0.1.0")
    document = json.loads(data)
    assert data == sbom("tiny", "1.0.0", variants, "0.1.0")
    assert data != sbom("tiny", "1.0.1", variants, "0.1.0")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    assert "timestamp" not in document["metadata"]
    assert document["serialNumber"].startswith("urn:uuid:")
    models = [c for c in document["components"] if c["type"] == "machine-learning-model"]
    digests = [file["hashes"][0]["content"] for file in models[0]["components"]]
    assert digests == [variants["gateway"].files[0].sha256]
    libraries = [c["purl"] for c in document["components"] if c["type"] == "library"]
    assert libraries == ["pkg:pypi/onnxruntime@1.20.0"]


def test_sbom_lists_an_engine_of_two_targets_once(tmp_path):
    variants = {name: make_variant(tmp_path / name) for name in "ab"}
    document = json.loads(sbom("tiny", "1.0.0", variants, "0.1.0"))
    assert len([c for c in document["components"] if c["type"] == "library"]) == 1


def test_card_says_what_was_measured(tmp_path):
    variant = make_variant(tmp_path / "gateway")
    evidence = make_evidence(tmp_path / "e.json", variant)
    absent = replace(evidence, figures={"watt": Figure(None, absent="no meter")})
    text = card("tiny", "1.0.0", {"a": variant}, {"a": evidence}, ("cat", "d|g")).decode()
    assert "| accuracy | >= 0.95 | 0.97 | pass |" in text
    assert "`cat`, `d\\|g`" in text
    assert "not measured: no meter" in card("t", "1", {"a": variant}, {"a": absent}).decode()
    assert "Nothing was measured" in card("t", "1", {"a": variant}, {}).decode()


def test_includes_are_files_inside_the_project(tmp_path):
    (tmp_path / "labels.txt").write_text("a")
    (tmp_path / "folder").mkdir()
    names = ["labels.txt", "gone.txt", "folder", "../out", "card.md", "./labels.txt", "data/l.txt"]
    codes = {
        name: [finding.code for finding in include_problems(tmp_path, [name], ["data"])]
        for name in names
    }
    assert codes == {
        "labels.txt": [],
        "gone.txt": ["include-missing"],
        "folder": ["include-missing"],
        "../out": ["path-outside"],
        "card.md": ["include-reserved"],
        "./labels.txt": ["include-reserved"],
        "data/l.txt": [],
    }


def test_unpack_chooses_a_target_and_what_all_share(tmp_path):
    with open_bundle(make_bundle(tmp_path)) as bundle:
        manifest = bundle.manifest
    assert [item.path for item in choose(manifest, None, "labels")] == ["labels.txt"]
    assert len(choose(manifest, "gateway", None)) == 7
    assert _code(choose, manifest, "gatevay", None) == ("target-unknown", 3)
    assert _code(choose, manifest, None, "model") == ("kind-unknown", 2)


def test_unpack_never_replaces_a_folder_of_somebody_else(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError) as caught:
        write_files(tmp_path / "mine", b"{}", (), lambda _: iter(()))
    assert caught.value.code == "unpack-would-replace"
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_unpack_leaves_the_old_folder_when_a_blob_is_wrong(tmp_path):
    out = tmp_path / "out"
    with open_bundle(make_bundle(tmp_path)) as bundle:
        write_files(out, bundle.manifest_bytes, bundle.manifest.layers, bundle.pieces)
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

        def wrong(_):
            yield b"half"
            raise TrustError("digest-mismatch", "wrong")

        with pytest.raises(TrustError):
            write_files(out, bundle.manifest_bytes, bundle.manifest.layers, wrong)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_first_release_with_a_gate_against_the_previous_one_is_whole(tmp_path):
    variant = make_variant(tmp_path / "v")
    nothing = Figure(None, absent="nothing was published yet", moot="nothing was published yet")
    measured = make_evidence(
        tmp_path / "e.json",
        variant,
        figures={"latency_vs_previous": nothing},
        gates=(judge("latency_vs_previous", "<= 1.03", nothing),),
    )
    assert broken_links({"gateway": variant}, {"gateway": measured}) == []
    assert verdict_of(["gateway"], {"gateway": measured}) == "pass"


def test_verdict_that_was_made_on_other_evidence_breaks_the_chain(tmp_path):
    variant = make_variant(tmp_path / "v")
    figure = Figure(0.97, None, "", "counted", 64)
    gate = judge("accuracy", ">= 0.95", figure, "sha256:other")
    measured = make_evidence(tmp_path / "e.json", variant, gates=(gate,))
    (found,) = broken_links({"gateway": variant}, {"gateway": measured})
    assert found == "the gate accuracy of gateway was judged on other evidence"
    own = judge("accuracy", ">= 0.95", figure, measured.digest)
    measured = make_evidence(tmp_path / "e.json", variant, gates=(own,))
    assert broken_links({"gateway": variant}, {"gateway": measured}) == []
