"""Rules: from what models answer to what an application gets, as ``rules.json`` says it.

``parse(document, where)`` returns :class:`Rules`, which is called with features, outputs and
labels. What the document may hold is in ``docs/formats/rules.md``. Steps run in numpy, expressions
in CEL (the Common Expression Language) through the package ``cel``, which a document without any
expression does not need. Nothing in a document is code.
"""

from edgeops.runtime.rules.document import FILE, FORMAT
from edgeops.runtime.rules.rules import Rules, parse

__all__ = ["FILE", "FORMAT", "Rules", "parse"]
