"""The bill of materials of a bundle: CycloneDX 1.6 JSON, the same for the same content.

A time of its own would change the bundle with every packing, so there is none; the serial number is
the UUID version 5 of the document without it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from edgeops.core.files import canonical_json
from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeops.core.variant import Variant

# The packages that engines of this name come from, where the names differ (package URL spec).
_PACKAGES = {"litert": "ai-edge-litert", "mnn": "MNN"}


def sbom(
    name: str,
    version: str,
    variants: Mapping[str, Variant],
    edgeops: str,
    shipped: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return the CycloneDX document of a bundle; ``edgeops`` is the version that packs it.

    The bundle consists of one machine-learning model per target with the hashes of its files; each
    depends on the library of its engine in the version it was made with. ``shipped`` are packages
    with their versions that are in the bundle themselves. Raises InputError ``sbom-invalid`` when
    a name does not fit the CycloneDX schema.
    """
    document = _document(name, version, variants, edgeops, shipped)
    document["serialNumber"] = f"urn:uuid:{uuid5(NAMESPACE_URL, canonical_json(document).decode())}"
    data = canonical_json(document)
    _validate(data)
    return data


def _document(
    name: str,
    version: str,
    variants: Mapping[str, Variant],
    edgeops: str,
    shipped: Iterable[tuple[str, str]],
) -> dict[str, Any]:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    root = Component(name=name, version=version, type=ComponentType.APPLICATION, bom_ref="bundle")
    tool = _library("edgeops", edgeops)
    bom = Bom(serial_number=UUID(int=0), metadata=BomMetaData(component=root))
    bom.metadata.tools.components.add(tool)
    models = []
    for target, variant in sorted(variants.items()):
        model = _model(name, version, target, variant)
        package = _PACKAGES.get(variant.engine, variant.engine)
        library = _library(package, variant.engine_version)
        bom.components.update([model, library])
        bom.register_dependency(model, [library])
        models.append(model)
    packed = [_library(package, of) for package, of in sorted(set(shipped))]
    bom.components.update(packed)
    bom.register_dependency(root, [*models, *packed])
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    document["metadata"].pop("timestamp", None)
    document.pop("serialNumber", None)
    return document


def _library(package: str, version: str) -> Any:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        name=package,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=f"library:{package}@{version}",
        purl=PackageURL("pypi", None, package.lower(), version),
    )


def _model(name: str, version: str, target: str, variant: Variant) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=f"{name}/{target}",
        version=version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{target}",
        components=[
            Component(
                name=f"variants/{target}/{entry.path}",
                type=ComponentType.FILE,
                bom_ref=f"file:{target}/{entry.path}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry.sha256)],
            )
            for entry in variant.files
        ],
        properties=[
            Property(name="edgeops:digest", value=variant.digest),
            Property(name="edgeops:precision", value=variant.precision),
            Property(name="edgeops:source", value=variant.source),
        ],
    )


def _validate(data: bytes) -> None:
    # The library carries the schema with it; without jsonschema it cannot check, and says so by
    # MissingOptionalDependencyException.
    from cyclonedx.exception import MissingOptionalDependencyException
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    try:
        problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode())
    except MissingOptionalDependencyException:
        return
    if problem is not None:
        raise InputError(
            "sbom-invalid",
            "the bill of materials does not fit the CycloneDX schema",
            why=str(problem)[:500],
            fix="use plain names and versions for the project, its targets and files",
        )
