"""One call of the model on ONNX Runtime: demo.py FOLDER [INPUT.bin ...]"""

from pathlib import Path

import onnxruntime

import model

folder, paths = model.arguments()
session = onnxruntime.InferenceSession(
    str(Path(folder) / model.FILE), providers=["CPUExecutionProvider"]
)
feed = {t.engine: array for t, array in zip(model.INPUTS, model.read_inputs(paths))}
answers = session.run([tensor.engine for tensor in model.OUTPUTS], feed)
for tensor, array in zip(model.OUTPUTS, answers):
    model.show(tensor, array)
