"""A program that calibrates in a process of its own and prints seconds and peak memory.

Arguments: ours|onnxruntime, method, variant folder, calibration .npz, number of samples.
``data_mb`` is the size of the arrays themselves, which both sides are given in memory.
"""

MEASURE = """
import json, sys, time
from pathlib import Path

who, method, folder, data, count = sys.argv[1:]
import numpy as np
with np.load(data) as archive:
    arrays = {name: archive[name][: int(count)] for name in archive.files}
count = len(next(iter(arrays.values())))
model = str(Path(folder) / "model.onnx")
start = time.perf_counter()

if who == "ours":
    import onnx
    from edgeops.core.contracts import Samples
    from edgeops.core.variant import read_variant
    from edgeops.quantize import graph, schemes
    from edgeops.quantize.calibrate import Calibrator

    prepared = graph.prepare(onnx.load(model))
    tensors = graph.activations(prepared, schemes.static_operators())
    samples = Samples(arrays, None, count, data, "")
    inputs = read_variant(Path(folder)).inputs
    ranges = Calibrator(prepared, inputs, samples, tensors).ranges(method)
    bounds = len(ranges.bounds)
else:
    import tempfile
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator
    from edgeops.quantize import schemes

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter(range(count))

        def get_next(self):
            row = next(self.rows, None)
            if row is None:
                return None
            return {name: array[row : row + 1] for name, array in arrays.items()}

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    with tempfile.TemporaryDirectory() as scratch:
        calibrator = create_calibrator(
            Path(model),
            list(schemes.static_operators()),
            augmented_model_path=str(Path(scratch) / "augmented.onnx"),
            calibrate_method=methods[method],
        )
        calibrator.collect_data(Reader())
        bounds = len(list(calibrator.compute_data().keys()))

status = Path("/proc/self/status").read_text()
peak = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "peak_mb": int(peak) * 1024 / 1e6,
    "data_mb": sum(array.nbytes for array in arrays.values()) / 1e6,
    "tensors": bounds,
}))
"""
