"""One call of the model on MNN: demo.py FOLDER [INPUT.bin ...]"""

from pathlib import Path

from MNN import expr, nn

import model

TYPES = {"float32": expr.float, "int32": expr.int, "uint8": expr.uint8, "int8": expr.int8}

folder, paths = model.arguments()
runtime = nn.create_runtime_manager(({"backend": "CPU", "numThread": 1, "precision": "high"},))
network = nn.load_module_from_file(
    str(Path(folder) / model.FILE),
    [tensor.engine for tensor in model.INPUTS],
    [tensor.engine for tensor in model.OUTPUTS],
    runtime_manager=runtime,
)
given = []
arrays = model.read_inputs(paths)
for tensor, array, about in zip(model.INPUTS, arrays, network.get_info()["inputs"]):
    # NC4HW4 is MNN's own layout; what is given is NCHW then.
    order = expr.NCHW if about.data_format == expr.NC4HW4 else about.data_format
    data = array.tobytes() if array.itemsize == 1 else array
    given.append(expr.const(data, list(tensor.shape), order, TYPES[tensor.dtype]))
for tensor, answer in zip(model.OUTPUTS, network.forward(given)):
    model.show(tensor, answer.read())
