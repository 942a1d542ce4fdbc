"""LSTM, GRU and RNN, unrolled over their steps.

LiteRT's own sequence kernels keep their state from one call to the next, which ONNX's do not; so
the steps are written out. The part of the input is one matrix product for all steps; what depends
on the step before is a product and a handful of elementwise operators a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

MOST_STEPS = 512  # a file grows by about ten operators a step
_ACTIVATIONS = {"Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU"}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True)
class _Cell:
    """One direction of a layer: constant weights, and its activations as LiteRT operators.

    ``weights`` [gates * H, I], ``recurrent`` [gates * H, H], ``biases`` two of [gates * H].
    """

    hidden: int
    weights: Any
    recurrent: Any
    biases: tuple[Any, Any]
    activations: tuple[str, ...]


_State = list["Tensor"]


@lowers("LSTM")
def lstm(b: Builder, node: Node) -> None:
    """Gates in ONNX's order i, o, f, c (Operators.md, LSTM); the state is hidden and cell."""
    if node.attr("input_forget", 0):
        b.refuse(node, "it couples input and forget gates", code="attribute-unsupported")
    if node.has(7):
        b.refuse(node, "it has peepholes", "export it without peepholes")
    _layer(b, node, _lstm_step, states=2)


@lowers("GRU")
def gru(b: Builder, node: Node) -> None:
    """Gates in ONNX's order z, r, h (Operators.md, GRU)."""
    before = bool(node.attr("linear_before_reset", 0))
    _layer(b, node, _gru_after if before else _gru_step, states=1)


@lowers("RNN")
def rnn(b: Builder, node: Node) -> None:
    """``h = f(W x + R h + b)``."""
    _layer(b, node, _rnn_step, states=1)


def _lstm_step(b: Builder, cell: _Cell, x: Tensor, state: _State) -> _State:
    f, g, h = cell.activations
    hidden, memory = state
    total = b.emit("ADD", [x, _product(b, hidden, cell.recurrent, None)], x.dims)
    i, o, forget, c = _parts(b, total, 4)
    kept = _mul(b, _act(b, f, forget), memory)
    memory = _add(b, kept, _mul(b, _act(b, f, i), _act(b, g, c)))
    return [_mul(b, _act(b, f, o), _act(b, h, memory)), memory]


def _gru_step(b: Builder, cell: _Cell, x: Tensor, state: _State) -> _State:
    """Let the reset gate work on the state before its matrix (linear_before_reset = 0)."""
    f, g = cell.activations
    (hidden,) = state
    size = cell.hidden
    xz, xr, xh = _parts(b, x, 3)
    gates = _product(b, hidden, cell.recurrent[: 2 * size], None)
    hz, hr = _parts(b, gates, 2)
    update, reset = _act(b, f, _add(b, xz, hz)), _act(b, f, _add(b, xr, hr))
    product = _product(b, _mul(b, reset, hidden), cell.recurrent[2 * size :], None)
    return [_blend(b, update, _act(b, g, _add(b, xh, product)), hidden)]


def _gru_after(b: Builder, cell: _Cell, x: Tensor, state: _State) -> _State:
    """Let the reset gate work on what the matrix makes of the state (linear_before_reset = 1)."""
    f, g = cell.activations
    (hidden,) = state
    xz, xr, xh = _parts(b, x, 3)
    hz, hr, hh = _parts(b, _product(b, hidden, cell.recurrent, cell.biases[1]), 3)
    update, reset = _act(b, f, _add(b, xz, hz)), _act(b, f, _add(b, xr, hr))
    return [_blend(b, update, _act(b, g, _add(b, xh, _mul(b, reset, hh))), hidden)]


def _rnn_step(b: Builder, cell: _Cell, x: Tensor, state: _State) -> _State:
    (hidden,) = state
    return [_act(b, cell.activations[0], _add(b, x, _product(b, hidden, cell.recurrent, None)))]


def _blend(b: Builder, update: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """``(1 - z) * new + z * old``, written as ``new + z * (old - new)``."""
    difference = b.emit("SUB", [old, new], new.dims)
    return _add(b, new, _mul(b, update, difference))


def _layer(
    b: Builder,
    node: Node,
    step: Callable[[Builder, _Cell, Tensor, _State], _State],
    *,
    states: int,
) -> None:
    cells = _cells(b, node)
    x = b.value(node.inputs[0])
    batch_first = bool(node.attr("layout", 0))
    if batch_first:
        x = b.transpose(x, (1, 0, 2))
    steps = x.dims[0]
    if not isinstance(steps, int):
        b.refuse(
            node,
            "the number of its steps is open, and LiteRT's own loop keeps state between calls",
            "fix the input shapes: --input-shape NAME=...",
            code="dynamic-shape",
        )
    if steps > MOST_STEPS:
        b.refuse(node, f"it has {steps} steps; they are written out, up to {MOST_STEPS}")
    _refuse_lengths(b, node, steps)
    backwards = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    answers, finals = [], []
    for index, reverse in enumerate(backwards[node.attr("direction", "forward")]):
        state = [_initial(b, node, 5 + which, index, cells[index], x) for which in range(states)]
        outputs, state = _unroll(b, node.op, cells[index], x, state, step, reverse=reverse)
        answers.append(outputs)
        finals.append(state)
    _bind(b, node, answers, finals, batch_first=batch_first)


def _unroll(
    b: Builder, kind: str, cell: _Cell, x: Tensor, state: _State, step: Any, *, reverse: bool
) -> tuple[list[Tensor], _State]:
    """Return the hidden state after each step, in the order of the input, and the last state."""
    steps = int(x.dims[0])
    bias = _input_bias(kind, cell, step)
    projected = _product(b, x, cell.weights, bias)
    rows = [b.make(projected.dims[1:], x.dtype, "step") for _ in range(steps)]
    b.append("UNPACK", [projected], rows, num=steps, axis=0)
    outputs: list[Tensor] = []
    for row in reversed(rows) if reverse else rows:
        state = step(b, cell, row, state)
        outputs.append(state[0])
    return (outputs[::-1] if reverse else outputs), state


def _input_bias(kind: str, cell: _Cell, step: Any) -> Any:
    """Return both biases together, except where the reset gate stands between them."""
    first, second = cell.biases
    if kind == "GRU" and step is _gru_after:
        return first
    return first + second


def _bind(
    b: Builder,
    node: Node,
    answers: list[list[Tensor]],
    finals: list[_State],
    *,
    batch_first: bool,
) -> None:
    directions = len(answers)
    batch, hidden = answers[0][0].dims
    if node.gives(0):
        sides = [
            b.emit("PACK", side, (len(side), batch, hidden), valuesCount=len(side), axis=0)
            for side in answers
        ]
        dims = (len(answers[0]), directions, batch, hidden)
        y = b.emit("PACK", sides, dims, valuesCount=directions, axis=1)
        b.bind(node.outputs[0], b.transpose(y, (2, 0, 1, 3)) if batch_first else y)
    for which in range(len(finals[0])):
        if not node.gives(1 + which):
            continue
        last = [state[which] for state in finals]
        ends = (directions, batch, hidden)
        h = b.emit("PACK", last, ends, valuesCount=directions, axis=0)
        b.bind(node.outputs[1 + which], b.transpose(h, (1, 0, 2)) if batch_first else h)


def _cells(b: Builder, node: Node) -> list[_Cell]:
    """Return each direction's weights; refuses what cannot be said."""
    import numpy as np

    if node.attr("clip") is not None:
        b.refuse(node, "it clips its gates", code="attribute-unsupported")
    arrays = [b.array(node.inputs[index]) for index in (1, 2)]
    bias = b.array(node.inputs[3]) if node.has(3) else None
    if any(array is None for array in arrays) or (node.has(3) and bias is None):
        b.refuse(node, "its weights are computed", code="constant-needed")
    weights, recurrent = arrays
    directions, _, hidden = recurrent.shape
    count = len(_DEFAULTS[node.op])
    stated = node.attr("activations")
    names = [n.decode() if isinstance(n, bytes) else n for n in stated or ()]
    names = names or [*_DEFAULTS[node.op]] * directions
    unknown = [name for name in names if name not in _ACTIVATIONS]
    if unknown or len(names) != count * directions:
        why = f"its activations are {', '.join(names)}; {', '.join(_ACTIVATIONS)} can be said"
        b.refuse(node, why, code="attribute-unsupported")
    size = _GATES[node.op] * hidden
    if bias is None:
        bias = np.zeros((directions, 2 * size), weights.dtype)
    return [
        _Cell(
            hidden,
            weights[index],
            recurrent[index],
            (bias[index, :size], bias[index, size:]),
            tuple(_ACTIVATIONS[n] for n in names[index * count : (index + 1) * count]),
        )
        for index in range(directions)
    ]


def _refuse_lengths(b: Builder, node: Node, steps: int) -> None:
    """Refuse sequences of different lengths: all steps are written out for all of them."""
    if not node.has(4):
        return
    lengths = b.array(node.inputs[4])
    if lengths is None or (lengths != steps).any():
        b.refuse(node, "its sequences have lengths of their own", "export without sequence_lens")


def _initial(b: Builder, node: Node, index: int, side: int, cell: _Cell, x: Tensor) -> Tensor:
    """Return a state before the first step, [batch, hidden]: what is given, or zeros."""
    import numpy as np

    dims = (x.dims[1], cell.hidden)
    if not node.has(index):
        if isinstance(dims[0], int):
            return b.const(np.zeros(dims, x.dtype), "zeros")
        zero = b.const(np.zeros((), x.dtype), "zero")
        return b.emit("FILL", [b.running_shape(dims), zero], dims, x.dtype)
    given = b.value(node.inputs[index])
    if node.attr("layout", 0):
        given = b.transpose(given, (1, 0, 2))
    if given.is_constant:
        return b.const(given.data[side], given.name)
    if given.dims[0] == 1:
        return b.reshape(given, dims)
    sides = [b.make(given.dims[1:], given.dtype, "side") for _ in range(int(given.dims[0]))]
    b.append("UNPACK", [given], sides, num=len(sides), axis=0)
    return sides[side]


def _product(b: Builder, x: Tensor, weights: Any, bias: Any) -> Tensor:
    """Return ``x @ weights.T + bias`` over the last axis."""
    import numpy as np

    units = weights.shape[0]
    # The kernel takes a bias of zeros as well as none, and old runtimes want one.
    added = np.zeros(units, weights.dtype) if bias is None else bias
    inputs = [x, b.const(weights, "weights"), b.const(added, "bias")]
    return b.emit("FULLY_CONNECTED", inputs, (*x.dims[:-1], units), keepNumDims=True)


def _parts(b: Builder, tensor: Tensor, count: int) -> list[Tensor]:
    """Return ``count`` equal parts of the last axis."""
    import numpy as np

    size = int(tensor.dims[-1]) // count
    parts = [b.make((*tensor.dims[:-1], size), tensor.dtype, "gate") for _ in range(count)]
    axis = b.const(np.array(tensor.rank - 1, "int32"), "axis")
    b.append("SPLIT", [axis, tensor], parts, numSplits=count)
    return parts


def _act(b: Builder, code: str, tensor: Tensor) -> Tensor:
    return b.emit(code, [tensor], tensor.dims)


def _add(b: Builder, one: Tensor, other: Tensor) -> Tensor:
    return b.emit("ADD", [one, other], one.dims)


def _mul(b: Builder, one: Tensor, other: Tensor) -> Tensor:
    return b.emit("MUL", [one, other], one.dims)
