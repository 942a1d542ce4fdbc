"""Which detections find a labelled box: greedy, in the order of their scores, all samples at once."""

from __future__ import annotations

from typing import Any

# Cells of (groups, boxes, thresholds) held at once.
_MOST_CELLS = 2_000_000


def matches(found: tuple[Any, Any], wanted: tuple[Any, Any], thresholds: Any) -> Any:
    """Return one bit a threshold for each detection that finds a labelled box, ``[n]`` uint16.

    ``found`` and ``wanted`` are keys ``[n]`` (boxes of different keys never meet) and corners
    ``[n, 4]``; detections of one key stand in the order in which they choose. Each takes the free
    box with the highest overlap that reaches the threshold, of equal ones the last.
    """
    import numpy as np

    hits = np.zeros(len(found[0]), np.uint16)
    ours, theirs = _groups(found[0]), _groups(wanted[0])
    both, mine, yours = np.intersect1d(ours.keys, theirs.keys, return_indices=True)
    if not both.size:
        return hits
    sizes = theirs.counts[yours]
    room = np.exp2(np.ceil(np.log2(sizes))).astype(int)
    for width in np.unique(room):
        same = np.flatnonzero(room == width)
        step = max(1, _MOST_CELLS // (int(width) * len(thresholds)))
        for start in range(0, len(same), step):
            part = same[start : start + step]
            # Those with most detections first: who is still at it is then a prefix.
            part = part[np.argsort(-ours.counts[mine[part]], kind="stable")]
            boxes = theirs.starts[yours[part]][:, None] + np.arange(width)
            there = np.arange(width) < sizes[part][:, None]
            corners = wanted[1][theirs.order[np.where(there, boxes, boxes[:, :1])]]
            _match(hits, found[1], ours, mine[part], corners, there, thresholds)
    return hits


class _groups:  # noqa: N801 - a table, made once from keys
    """Rows by key: ``order`` sorts them, each key's lie at ``starts`` for ``counts``."""

    def __init__(self, keys: Any) -> None:
        import numpy as np

        self.order = np.argsort(keys, kind="stable")
        self.keys, self.starts, self.counts = np.unique(
            keys[self.order], return_index=True, return_counts=True
        )


def _match(
    hits: Any, found: Any, ours: _groups, groups: Any, corners: Any, there: Any, thresholds: Any
) -> None:
    """Set the bits of the detections of some groups; ``corners [groups, width, 4]``."""
    import numpy as np

    free = np.repeat(there[:, :, None], len(thresholds), axis=2)
    counts, starts = ours.counts[groups], ours.starts[groups]
    bits = np.uint16(1) << np.arange(len(thresholds), dtype=np.uint16)
    width = there.shape[1]
    for turn in range(int(counts.max())):
        alive = int((counts > turn).sum())
        rows = ours.order[starts[:alive] + turn]
        overlap = np.where(there[:alive], _overlap(found[rows], corners[:alive]), -1)[:, :, None]
        able = free[:alive] & (overlap >= np.minimum(thresholds, 1 - 1e-10))
        # Of equal ones the last: look for the first from behind.
        best = width - 1 - np.where(able, overlap, -1)[:, ::-1].argmax(axis=1)
        taken = np.take_along_axis(able, best[:, None], axis=1)[:, 0]
        hits[rows] = (taken * bits).sum(axis=1).astype(np.uint16)
        group, threshold = np.nonzero(taken)
        free[group, best[group, threshold], threshold] = False


def _overlap(boxes: Any, others: Any) -> Any:
    """Return intersection over union, ``[n, 4], [n, width, 4] -> [n, width]``; 0 for empty boxes."""
    import numpy as np

    one = boxes[:, None]
    low = np.maximum(one[..., :2], others[..., :2])
    high = np.minimum(one[..., 2:], others[..., 2:])
    inner = np.maximum(high - low, 0).prod(axis=-1)
    areas = [np.maximum(b[..., 2:] - b[..., :2], 0).prod(axis=-1) for b in (one, others)]
    union = areas[0] + areas[1] - inner
    return np.divide(inner, union, out=np.zeros(inner.shape), where=union > 0)
