"""Features: ``features.yaml``, compiled to JSON, as preprocessing in numpy.

Example::

    features = parse(json.loads(text), "features.json")
    arrays = features({"photo": Path("door.jpg")})
    boxes = arrays.meta["photo"][0].to_source(boxes)

The document is described in ``docs/formats/features.md``, each step with its formula.
"""

from edgeops.runtime.features.features import Features, Made, RawInput
from edgeops.runtime.features.fits import misfits
from edgeops.runtime.features.form import Placement
from edgeops.runtime.features.parse import FORMAT, parse

__all__ = ["FORMAT", "Features", "Made", "Placement", "RawInput", "misfits", "parse"]
