"""Outputs and labels that a metric can take, by what it says that it needs."""

from __future__ import annotations

import numpy as np

CLASSES = 12


def data(metric, seed=0, samples=80):
    """Return outputs and labels for a metric: classes, or what its ``needs`` names."""
    random = np.random.default_rng(seed)
    return _MAKERS[getattr(metric, "needs", "classes")](random, samples)


def classes(random, samples):
    """Return scores that are right more often than not, and labels."""
    labels = random.integers(0, CLASSES, samples)
    scores = random.random((samples, CLASSES)).astype(np.float32)
    scores[np.arange(samples), labels] += 0.3
    return {"scores": scores}, labels


def values(random, samples):
    """Return predictions near the labels, two a sample."""
    labels = random.normal(size=(samples, 2))
    return {"y": labels + random.normal(0, 0.3, labels.shape)}, labels


def signals(random, samples):
    """Return noisy signals and the clean ones."""
    labels = random.normal(size=(samples, 64))
    noise = random.normal(0, 1, (samples, 1)) * random.normal(size=labels.shape)
    return {"sound": labels + 0.3 * noise}, labels


def boxes(random, samples, *, classes=3, most=4, extra=3, steps=None):
    """Return detections ``[samples, most + extra, 6]`` and labels ``[samples, most, 5]``.

    ``steps`` has scores of so many different values, so that many are equal.
    """
    corner = random.random((samples, most, 2)) * 80
    size = random.random((samples, most, 2)) * 15 + 5
    labels = np.concatenate(
        [corner, corner + size, random.integers(0, classes, (samples, most, 1))], axis=2
    )
    moved = labels[:, :, :4] + random.normal(0, 1.5, (samples, most, 4))
    moved[..., 2:] = np.maximum(moved[..., 2:], moved[..., :2])
    guessed = random.random((samples, extra, 2)) * 80
    guessed = np.concatenate([guessed, guessed + 10], axis=2)
    score = random.random((samples, most + extra, 1)) * 0.999 + 0.001
    if steps:
        score = np.ceil(score * steps) / steps
    class_ = np.concatenate(
        [labels[..., 4:], random.integers(0, classes, (samples, extra, 1))], axis=1
    )
    wrong = random.random(class_.shape) < 0.1
    class_ = np.where(wrong, (class_ + 1) % classes, class_)
    found = np.concatenate([np.concatenate([moved, guessed], axis=1), score, class_], axis=2)
    found[random.random(found.shape[:2]) < 0.2] = 0
    labels[random.random(labels.shape[:2]) < 0.3] = -1
    labels[0, 0] = [1, 1, 9, 9, 0]
    return {"detections": found.astype(np.float32)}, labels


_MAKERS = {"classes": classes, "values": values, "signals": signals, "boxes": boxes}
