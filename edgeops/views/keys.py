"""What ``edgeops keys`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the public parts lie, what to keep safe, and which signatures are missing."""
    if "public" not in result:
        yield f"signed    {result['root']}   version {result['version']}, which from now on trusts"
        for role, keyids in result["keys"].items():
            least = f", {result['threshold']} of them" if role == "root" else ""
            yield f"          {role} {' '.join(keyid[:16] for keyid in keyids)}{least}"
        yield f"it has {result['signatures']} signatures: send it back if these are the right keys"
        return
    if result.get("complete") is False:
        yield f"waits     {result['pending']}   version {result['version']}"
        for name, count in result["signatures"].items():
            yield f"          {count['have']} of {count['need']} signatures of the {name} root keys"
        yield "sign it   edgeops keys sign DIR --with KEY, where the other root keys are"
        return
    yield f"root      {result['root']}   version {result['version']}: devices ship with it"
    yield f"public    {result['public']}   for edgeops verify --key"
    for path in result.get("offline", ()):
        yield f"offline   {path}   keep it away from here: only keys rotate needs it"
    yield f"threshold {result['threshold']} of {result['root_keys']}: so many root keys sign the next root"
    yield f"expires   {result['expires'][:10]}"
    if result.get("encrypted") is False:
        yield "the private keys are not encrypted: keep the folder out of version control"
    if "role" in result:
        yield f"replaced  {result['role']}"
        if result["repository"]:
            yield f"renewed   {result['repository']}, {result['bytes_uploaded']:,} bytes"
        else:
            yield "the next publish brings the new root into the repository"
