"""One call of the model on LiteRT: demo.py FOLDER [INPUT.bin ...]"""

from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

import model


def place(details, tensor, number):
    """Return the details of a tensor: by its name in the file, else by its number."""
    return next((item for item in details if item["name"] == tensor.engine), details[number])


folder, paths = model.arguments()
interpreter = Interpreter(model_path=str(Path(folder) / model.FILE), num_threads=1)
taken = [
    place(interpreter.get_input_details(), tensor, number)["index"]
    for number, tensor in enumerate(model.INPUTS)
]
for index, tensor in zip(taken, model.INPUTS):
    interpreter.resize_tensor_input(index, tensor.shape)
interpreter.allocate_tensors()
for index, array in zip(taken, model.read_inputs(paths)):
    interpreter.set_tensor(index, array)
interpreter.invoke()
for number, tensor in enumerate(model.OUTPUTS):
    detail = place(interpreter.get_output_details(), tensor, number)
    model.show(tensor, interpreter.get_tensor(detail["index"]))
