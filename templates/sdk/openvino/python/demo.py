"""One call of the model on OpenVINO: demo.py FOLDER [INPUT.bin ...]"""

from pathlib import Path

import openvino

import model

folder, paths = model.arguments()
core = openvino.Core()
network = core.read_model(Path(folder) / model.FILE)
# One sample: every open axis becomes 1. An input that nothing reads is gone from the network.
names = set().union(*(port.get_names() for port in network.inputs))
network.reshape({t.engine: list(t.shape) for t in model.INPUTS if t.engine in names})
compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
request = compiled.create_infer_request()
arrays = zip(model.INPUTS, model.read_inputs(paths))
request.infer({t.engine: array for t, array in arrays if t.engine in names})
for tensor in model.OUTPUTS:
    model.show(tensor, request.get_tensor(tensor.engine).data)
