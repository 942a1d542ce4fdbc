"""One call of the model on ncnn: demo.py FOLDER [INPUT.bin ...]"""

import sys
from pathlib import Path

import ncnn
import numpy as np

import model

folder, paths = model.arguments()
param = Path(folder) / model.FILE
net = ncnn.Net()
net.opt.num_threads = 1
for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
    setattr(net.opt, f"use_{name}", False)
if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
    sys.exit(f"ncnn does not load {param}")
extractor = net.create_extractor()
for tensor, array in zip(model.INPUTS, model.read_inputs(paths)):
    extractor.input(tensor.engine, ncnn.Mat(np.ascontiguousarray(array)).clone())
for tensor in model.OUTPUTS:
    status, mat = extractor.extract(tensor.engine)
    if status:
        sys.exit(f"ncnn cannot run the model: status {status}")
    model.show(tensor, np.array(mat))
