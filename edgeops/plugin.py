"""The façade for authors of plugins: contracts, values and errors, and nothing else.

Semantically versioned together with ``api`` (see docs/plugins.md).
"""

from edgeops.core.contracts import (
    Converter,
    ConvertOptions,
    Dataset,
    Device,
    Engine,
    FileConverter,
    Metric,
    Samples,
    Session,
    Store,
)
from edgeops.core.environment import Environment
from edgeops.core.events import Events
from edgeops.core.files import folder_atomic, inside, write_atomic
from edgeops.core.project import (
    Data,
    Project,
    StageSpec,
    Target,
    bundle_file,
    converted,
    evidence_file,
    final_variant,
    quantized,
    reports,
)
from edgeops.core.stage import (
    API,
    Out,
    Plot,
    Stage,
    StageContext,
    StageInfo,
    StagePlan,
    StageResult,
)
from edgeops.core.variant import (
    FileEntry,
    Parity,
    TensorInfo,
    Variant,
    entries,
    read_variant,
    write_variant,
)
from edgeops.errors import (
    EdgeopsError,
    Finding,
    InputError,
    MissingError,
    RefusedError,
    StageFailed,
)

__all__ = [
    "API",
    "ConvertOptions",
    "Converter",
    "Data",
    "Dataset",
    "Device",
    "EdgeopsError",
    "Engine",
    "Environment",
    "Events",
    "FileConverter",
    "FileEntry",
    "Finding",
    "InputError",
    "Metric",
    "MissingError",
    "Out",
    "Parity",
    "Plot",
    "Project",
    "RefusedError",
    "Samples",
    "Session",
    "Stage",
    "StageContext",
    "StageFailed",
    "StageInfo",
    "StagePlan",
    "StageResult",
    "StageSpec",
    "Store",
    "Target",
    "TensorInfo",
    "Variant",
    "bundle_file",
    "converted",
    "entries",
    "evidence_file",
    "final_variant",
    "folder_atomic",
    "inside",
    "quantized",
    "read_variant",
    "reports",
    "write_atomic",
    "write_variant",
]
