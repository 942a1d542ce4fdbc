"""Stands for LiteRT's ``benchmark_model``, which is built with a toolchain that is not at hand.

It takes the flags that edgeops gives, reads and writes the same files, and prints the same lines.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import fmean, median, pstdev

import numpy as np
from ai_edge_litert.interpreter import Interpreter

say = sys.stdout.write


def flags():
    return dict(word[2:].split("=", 1) for word in sys.argv[1:])


def feed(interpreter, given):
    """Check and set the inputs as the real tool does: names in the file's order, raw bytes."""
    names = given["input_layer"].split(",")
    shapes = [
        [int(size) for size in part.split(",")] for part in given["input_layer_shape"].split(":")
    ]
    details = interpreter.get_input_details()
    assert [detail["name"] for detail in details] == names
    for detail, shape in zip(details, shapes, strict=True):
        interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    files = dict(part.rsplit(":", 1) for part in given["input_layer_value_files"].split(","))
    for detail, shape in zip(details, shapes, strict=True):
        data = Path(files[detail["name"].replace(":", "::")]).read_bytes()
        interpreter.set_tensor(detail["index"], np.frombuffer(data, detail["dtype"]).reshape(shape))


def series(interpreter, least, seconds):
    """Call for so many times and seconds, and print the statistics of one series."""
    times, start = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - start < seconds:
        before = time.perf_counter_ns()
        interpreter.invoke()
        times.append((time.perf_counter_ns() - before) // 1000)
    if len(times) > 1:
        ordered = sorted(times)
        say(
            f"INFO: count={len(times)} first={times[0]} curr={times[-1]} min={min(times)} "
            f"max={max(times)} avg={fmean(times):.6g} std={pstdev(times):.0f} "
            f"p5={ordered[len(times) // 20]} median={median(ordered):.0f} "
            f"p95={ordered[len(times) * 19 // 20]}\n\n"
        )
    elif times:
        say(f"INFO: count=1 curr={times[0]}\n\n")
    return times


def main():
    given = flags()
    say("INFO: STARTING!\n")
    start = time.perf_counter_ns()
    interpreter = Interpreter(given["graph"], num_threads=int(given["num_threads"]))
    feed(interpreter, given)
    init = (time.perf_counter_ns() - start) // 1000
    warm = series(interpreter, int(given.get("warmup_runs", 1)), float(given["warmup_min_secs"]))
    times = series(interpreter, int(given["num_runs"]), float(given["min_secs"]))
    say(
        f"INFO: Inference timings in us: Init: {init}, First inference: {warm[0] if warm else 0}, "
        f"Warmup (avg): {fmean(warm) if warm else 0:.6g}, Inference (avg): {fmean(times):.6g}\n"
    )
    if given.get("output_filepath"):
        tensors = [
            interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()
        ]
        Path(given["output_filepath"]).write_bytes(b"".join(each.tobytes() for each in tensors))


if __name__ == "__main__":
    main()
