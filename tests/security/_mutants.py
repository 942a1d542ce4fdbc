"""Repositories that somebody changed: each from a seed and a number, so that each can be made again.

Whoever changes them stands between publisher and device: they change, exchange, leave out, hold back,
invent, and sign with other keys. In one kind they have stolen the keys of snapshot and timestamp.
"""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests.security._world import channel_file, expired, forge, load, metadata_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.security._world import Files, World

# Where a device stands before it sees the mutant: it has nothing, the first or the second release.
STARTS = ("nothing", "first", "second")
_HOW_OFTEN = (3, 5, 2)
STOLEN = "stolen keys"
# What a device never fetches.
_UNREAD = ("evidence", "sbom", "card", "doc", "code")


@dataclass(frozen=True)
class Mutant:
    """A changed repository: ``what`` says the change, ``base`` is the state that was changed."""

    number: int
    kind: str
    what: str
    start: str
    files: Mapping[str, bytes]


def mutant(world: World, number: int, seed: int = 0) -> Mutant:
    """Return the mutant of a number; the same world, seed and number give the same mutant."""
    rng = random.Random(f"{seed}:{number}")  # noqa: S311 - chance for tests
    kind = rng.choices(list(_KINDS), [weight for _, weight in _KINDS.values()])[0]
    files = dict(world.states[1])
    what = _KINDS[kind][0](world, files, rng)
    return Mutant(number, kind, what, rng.choices(STARTS, _HOW_OFTEN)[0], files)


def read_by_devices(files: Mapping[str, bytes], rng: random.Random) -> str:
    """Return the path of a file to change, mostly one that a device reads."""
    if rng.random() < 0.2:
        return rng.choice(sorted(files))
    kinds = [
        [metadata_path(files, "timestamp")],
        [metadata_path(files, "snapshot")],
        [metadata_path(files, "targets")],
        [channel_file(files)],
        wanted_blobs(files),
        [path for path in sorted(files) if path.startswith("blobs/")],
        [path for path in sorted(files) if path.endswith(".root.json")],
    ]
    return rng.choice(rng.choice([kind for kind in kinds if kind]))


def wanted_blobs(files: Mapping[str, bytes]) -> list[str]:
    """Return the blobs that a device fetches: the manifest and what it names, and the deltas."""
    found: list[str] = []
    for offer in json.loads(files[channel_file(files)])["offers"][:1]:
        names = [offer["digest"]]
        manifest = files.get(_blob(offer["digest"]))
        if manifest is not None:
            names += [
                layer["digest"]
                for layer in json.loads(manifest)["layers"]
                if layer["annotations"]["dev.edgeops.kind"] not in _UNREAD
            ]
        if offer.get("deltas"):
            names.append(offer["deltas"]["digest"])
            index = json.loads(files[_blob(offer["deltas"]["digest"])])
            names += [delta["digest"] for delta in index["deltas"]]
        found += [_blob(name) for name in names if _blob(name) in files]
    return found


# --- bytes


def _flip(world: World, files: Files, rng: random.Random) -> str:
    path = read_by_devices(files, rng)
    data = bytearray(files[path])
    if not data:
        return _extend(world, files, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        place = rng.randrange(len(data))
        data[place] ^= 1 << rng.randrange(8)
    files[path] = bytes(data)
    return path


def _swap(world: World, files: Files, rng: random.Random) -> str:
    path = read_by_devices(files, rng)
    data = bytearray(files[path])
    if len(set(data)) < 2:
        return _flip(world, files, rng)
    while True:
        one, two = rng.randrange(len(data)), rng.randrange(len(data))
        if data[one] != data[two]:
            break
    data[one], data[two] = data[two], data[one]
    files[path] = bytes(data)
    return f"{path} bytes {one} and {two}"


def _truncate(world: World, files: Files, rng: random.Random) -> str:
    path = read_by_devices(files, rng)
    size = len(files[path])
    kept = rng.choice((0, max(size - 1, 0), rng.randrange(size + 1)))
    files[path] = files[path][:kept]
    return f"{path} to {kept} of {size}"


def _extend(world: World, files: Files, rng: random.Random) -> str:
    path = read_by_devices(files, rng)
    more = rng.choice((b"\n", b"\0", b" " * 4096, rng.randbytes(100_000), files[path] or b"x"))
    files[path] = files[path] + more if rng.random() < 0.8 else more + files[path]
    return f"{path} by {len(more)}"


def _overwrite(world: World, files: Files, rng: random.Random) -> str:
    path = read_by_devices(files, rng)
    size = len(files[path])
    files[path] = rng.choice(
        (bytes(size), rng.randbytes(size), b"<html>404</html>", b"null", b"[]")
    )
    return path


def _delete(world: World, files: Files, rng: random.Random) -> str:
    path = read_by_devices(files, rng)
    del files[path]
    return path


# --- files


def _exchange(world: World, files: Files, rng: random.Random) -> str:
    one, two = read_by_devices(files, rng), rng.choice(sorted(files))
    files[one], files[two] = files[two], files[one]
    return f"{one} and {two}"


def _exchange_kin(world: World, files: Files, rng: random.Random) -> str:
    """Exchange files of one kind: blobs of other releases, channels, manifests, versions."""
    one = read_by_devices(files, rng)
    folder = one.rpartition("/")[0]
    union = {**world.foreign, **world.states[2], **world.states[0], **files}
    kin = sorted(path for path in union if path.startswith(folder) and path != one)
    two = rng.choice(kin or [one])
    source = rng.choice([files, union, world.foreign])
    files[one] = source.get(two, union[two])
    return f"{one} is {two}"


def _replay_file(world: World, files: Files, rng: random.Random) -> str:
    """Put an older or newer file of the publisher in place of one."""
    role = rng.choice(("timestamp", "snapshot", "targets", "channel"))
    state = rng.choice((world.states[0], world.states[2]))
    find = channel_file if role == "channel" else lambda made: metadata_path(made, role)
    files[find(files)] = state[find(state)]
    return f"{role} of another release"


def _replay_all(world: World, files: Files, rng: random.Random) -> str:
    """Put the whole older repository back."""
    files.clear()
    files.update(world.states[0])
    return "the whole first state"


def _mix(world: World, files: Files, rng: random.Random) -> str:
    """Take each file from another state of the publisher, as a cache may have them."""
    share = rng.random()
    taken = 0
    for path in sorted({*files, *world.states[0], *world.states[2]}):
        if rng.random() < share:
            state = rng.choice((world.states[0], world.states[2]))
            taken += 1
            if path in state:
                files[path] = state[path]
            else:
                files.pop(path, None)
    return f"{taken} files of other states"


def _foreign(world: World, files: Files, rng: random.Random) -> str:
    """Serve files of another publisher, who uses the same names: some, or all."""
    share = rng.choice((0.1, 0.5, 1.0))
    for path, data in world.foreign.items():
        if rng.random() <= share:
            files[path] = data
    return f"{share:.0%} of another publisher"


# --- JSON


def _documents(files: Mapping[str, bytes], rng: random.Random) -> str:
    paths = [
        metadata_path(files, "timestamp"),
        metadata_path(files, "snapshot"),
        metadata_path(files, "targets"),
        channel_file(files),
        *(path for path in wanted_blobs(files) if files[path][:1] == b"{"),
    ]
    return rng.choice(paths)


def _json(world: World, files: Files, rng: random.Random) -> str:
    """Change a document and leave its signatures as they are."""
    path = _documents(files, rng)
    document = json.loads(files[path])
    what = change_value(document, rng)
    files[path] = json.dumps(document).encode()
    return f"{path}: {what}"


def _json_text(world: World, files: Files, rng: random.Random) -> str:
    """Write a document so that readers may disagree about it."""
    path = _documents(files, rng)
    text = files[path].decode()
    key = rng.choice(("version", "signed", "expires", "digest", "format", "size", "signatures"))
    found = text.find(f'"{key}"')
    odd = rng.choice(
        (
            lambda: text[:found] + f'"{key}": 99, ' + text[found:],
            lambda: text[: text.rfind("}")] + f', "{key}": {{}}}}',
            lambda: text.replace("1", "1e0", 1),
            lambda: text.replace(": ", ": " + "[" * 3000, 1),
            lambda: text.replace("{", '{"\\u0000": NaN, ', 1),
            lambda: "\ufeff" + text,
            lambda: text.replace(" ", "\t"),
            lambda: text.encode("utf-16").decode("latin-1"),
        )
    )
    files[path] = odd().encode()
    return f"{path}: written oddly"


def _resigned(world: World, files: Files, rng: random.Random) -> str:
    """Change metadata and sign it, and all above, with keys that devices do not know."""
    role = rng.choice(("targets", "snapshot", "timestamp"))
    what: list[str] = []
    changes: dict[str, Callable[[Any], None]] = {
        role: lambda signed: what.append(_edit(signed, rng))
    }
    made = forge(files, world.wrong, changes)
    if rng.random() < 0.5:
        _claim(made, files, role, rng)
    files.update(made)
    return f"{role}: {what[0]}, signed by other keys"


def _claim(made: Files, files: Mapping[str, bytes], role: str, rng: random.Random) -> None:
    """Let forged metadata claim the publisher's key ids, or carry the old signatures."""
    for name in ("targets", "snapshot", "timestamp"):
        path = metadata_path(made, name)
        forged, honest = json.loads(made[path]), json.loads(files[metadata_path(files, name)])
        if forged["signed"] == honest["signed"]:
            continue
        if rng.random() < 0.5:
            for signature, other in zip(forged["signatures"], honest["signatures"], strict=False):
                signature["keyid"] = other["keyid"]
        else:
            forged["signatures"] = honest["signatures"]
        made[path] = json.dumps(forged).encode()


def _edit(signed: Any, rng: random.Random) -> str:
    if signed.type == "targets":
        path = rng.choice(sorted(signed.targets))
        signed.targets[path].hashes["sha256"] = sha256(rng.randbytes(8)).hexdigest()
        return f"another {path}"
    signed.version += rng.choice((0, 1, 1000, 2**31))
    return f"version {signed.version}"


def _other_content(world: World, files: Files, rng: random.Random) -> str:
    """Offer a bundle of one's own on the channel, signed with keys that devices do not know."""
    offer = json.loads(world.foreign[channel_file(world.foreign)])
    data = json.dumps(offer, indent=2, sort_keys=True).encode() + b"\n"
    for path, blob in world.foreign.items():
        if path.startswith("blobs/"):
            files[path] = blob
    stop = rng.choice(("targets", "snapshot", "timestamp"))
    made = forge(files, world.wrong, {}, targets={"channels/stable.json": data}, up_to=stop)
    if rng.random() < 0.5:
        _claim(made, files, "targets", rng)
    files.update(made)
    if rng.random() < 0.3:
        files[channel_file(world.states[1])] = data
    return f"a bundle of another publisher, signed up to {stop}"


def _stolen(world: World, files: Files, rng: random.Random) -> str:
    """Sign snapshot and timestamp with the publisher's own keys, pointing at whatever there is."""
    what: list[str] = []

    def snapshot(signed: Any) -> None:
        what.append(_point(signed.meta["targets.json"], rng))
        if rng.random() < 0.3:
            signed.meta.pop(rng.choice(sorted(signed.meta)))
        signed.version += rng.choice((0, 0, 5, -3))

    def timestamp(signed: Any) -> None:
        if rng.random() < 0.5:
            what.append(_point(signed.snapshot_meta, rng))
        signed.version += rng.choice((0, 0, 5, -3))
        if rng.random() < 0.1:
            expired(signed)

    changes = {"timestamp": timestamp}
    if rng.random() < 0.7:
        changes["snapshot"] = snapshot
    files.update({**world.states[0], **world.states[2], **files})
    files.update(forge(files, world.signers, changes))
    return f"{' and '.join(changes)}: {what}"


def _point(meta: Any, rng: random.Random) -> str:
    meta.version = max(1, meta.version + rng.choice((-2, -1, 0, 1, 500)))
    if rng.random() < 0.6:
        meta.hashes = meta.length = None
    return f"version {meta.version}"


def _signatures(world: World, files: Files, rng: random.Random) -> str:
    """Leave out, double or exchange signatures."""
    role = rng.choice(("targets", "snapshot", "timestamp"))
    path = metadata_path(files, role)
    document = json.loads(files[path])
    document["signed"]["version"] += rng.choice((0, 1))
    other = json.loads(
        files[metadata_path(files, rng.choice(("targets", "snapshot", "timestamp")))]
    )
    document["signatures"] = rng.choice(
        (
            [],
            document["signatures"] * 3,
            other["signatures"],
            [{**item, "sig": ""} for item in document["signatures"]],
            [{**item, "sig": "00" * 64} for item in document["signatures"]],
            [{"keyid": item["keyid"]} for item in document["signatures"]],
            {},
            None,
        )
    )
    files[path] = json.dumps(document).encode()
    return f"{role}: its signatures"


def _root(world: World, files: Files, rng: random.Random) -> str:
    """Offer a next root that devices must not follow."""
    metadata = copy.deepcopy(load(files, "root"))
    metadata.signed.version += rng.choice((1, 1, 1, 0, 5))
    for role in ("root", "targets", "snapshot", "timestamp"):
        if rng.random() < 0.7:
            for keyid in list(metadata.signed.roles[role].keyids):
                metadata.signed.revoke_key(keyid, role)
            metadata.signed.add_key(world.wrong[role].public_key, role)
    metadata.signatures.clear() if rng.random() < 0.5 else None
    metadata.sign(world.wrong["root"], append=True)
    number = load(files, "root").signed.version + 1
    files[f"metadata/{number}.root.json"] = metadata.to_bytes()
    if rng.random() < 0.5:
        files.update(forge(files, world.wrong, {"targets": lambda signed: None}))
    return "a root of another publisher"


def change_value(document: Any, rng: random.Random) -> str:
    """Change one value somewhere in a document; return which."""
    path: list[str] = []
    while True:
        keys = sorted(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            document["new" if isinstance(document, dict) else slice(0, 0)] = ["new"]
            return ".".join([*path, "+new"])
        key = rng.choice(keys)
        path.append(str(key))
        if not isinstance(document[key], (dict, list)) or not document[key] or rng.random() < 0.15:
            break
        document = document[key]
    what = rng.choice(("drop", "null", "kind", "near", "far", "add"))
    value = document[key]
    if what == "drop":
        del document[key]
    elif what == "add" and isinstance(document, dict):
        document[f"x-{key}"] = value
    else:
        document[key] = _other(value, what, rng)
    return f"{'.'.join(path)} {what}"


def _other(value: Any, what: str, rng: random.Random) -> Any:
    if what == "null":
        return None
    if what == "kind":
        return rng.choice(([value], {"value": value}, str(value), 7, True, ""))
    if isinstance(value, (int, float)):
        return value + rng.choice((1, -1)) if what == "near" else rng.choice((-1, 0, 2**63, 10**30))
    if isinstance(value, str) and value:
        place = rng.randrange(len(value))
        near = value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
        return (
            near if what == "near" else rng.choice(("../" + value, "/" + value, value * 50, "\0"))
        )
    return [] if value else {}


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"


_KINDS: dict[str, tuple[Callable[[World, Files, random.Random], str], int]] = {
    "bits flipped": (_flip, 14),
    "bytes swapped": (_swap, 8),
    "cut": (_truncate, 9),
    "extended": (_extend, 7),
    "overwritten": (_overwrite, 6),
    "deleted": (_delete, 6),
    "files exchanged": (_exchange, 6),
    "files of a kind exchanged": (_exchange_kin, 8),
    "file replayed": (_replay_file, 6),
    "all replayed": (_replay_all, 1),
    "versions mixed": (_mix, 6),
    "foreign files": (_foreign, 4),
    "JSON changed": (_json, 12),
    "JSON written oddly": (_json_text, 4),
    "signed by other keys": (_resigned, 7),
    "foreign bundle offered": (_other_content, 6),
    "signatures changed": (_signatures, 5),
    "foreign root": (_root, 5),
    STOLEN: (_stolen, 8),
}
