"""Write a delta with zstd: pieces of the new file, each packed knowing a part of the old one."""

from __future__ import annotations

from edgeops.package.deltas.stream import number
from edgeops.runtime.delta.header import MOST_DICTIONARY, MOST_ZSTD, ZSTD

_WINDOW_LOG = 24  # a dictionary and a piece together
_LEVEL, _QUICK_LEVEL, _MANY = 19, 12, 64 << 20


def encode(old: memoryview, new: memoryview, most: int) -> bytes | None:
    """Return the records that make ``new`` of ``old``, None when they are ``most`` bytes or more."""
    import zstandard

    made = bytearray()
    for start in range(0, len(new), MOST_ZSTD):
        piece = new[start : start + MOST_ZSTD]
        offset = _near(start, len(piece), len(old), len(new))
        known = bytes(old[offset : offset + MOST_DICTIONARY])
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _LEVEL if len(new) < _MANY else _QUICK_LEVEL,
            source_size=len(piece),
            dict_size=len(known),
            window_log=_WINDOW_LOG,
            enable_ldm=True,
            write_content_size=True,
            write_checksum=False,
            write_dict_id=False,
        )
        dictionary = zstandard.ZstdCompressionDict(known, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        packer = zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters)
        frame = packer.compress(piece)
        made += bytes([ZSTD]) + b"".join(map(number, (offset, len(known), len(piece), len(frame))))
        made += frame
        if len(made) >= most:
            return None
    return bytes(made)


def _near(start: int, length: int, old: int, new: int) -> int:
    """Return where in the old file what is like a piece of the new one should begin."""
    middle = (start + length // 2) * old // new
    return max(0, min(middle - MOST_DICTIONARY // 2, old - MOST_DICTIONARY))
