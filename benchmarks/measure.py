"""Processes, time, memory and the machine's own speed, taken in the same way by every benchmark."""

import ctypes
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

LEAST = 5  # repetitions behind every median, unless a case says otherwise
MATRIX_SIDE = 3072


def run_apart(program: str, arguments: Sequence[str]) -> dict:
    """Runs a program in a process of its own and returns what it measured, the JSON in its last line.

    Raises:
        ChildProcessError: it failed; says how, after the end of its own errors was printed.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ
    done = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    print(f"\n{done.stderr[-2000:]}", file=sys.stderr)
    if done.returncode > 0:
        raise ChildProcessError(f"failed with code {done.returncode}")
    why = "most likely not enough memory" if done.returncode == -9 else "see above"
    raise ChildProcessError(f"killed by signal {-done.returncode}, {why}")


def sample_times(call: Callable[[], object], least: int = LEAST, seconds: float = 1.0) -> list[float]:
    """Seconds of each of `least` calls or more: short ones are repeated until `seconds` have passed, 100 times at most."""
    times: list[float] = []
    while len(times) < least or (sum(times) < seconds and len(times) < 100):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def sample_rates(dtype: str = "float32", count: int = LEAST) -> list[float]:
    """Operations per second (two per multiply-add) of `count` products of square matrices, on Keras's backend and device."""
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = (keras.ops.convert_to_tensor(rng.random((MATRIX_SIDE, MATRIX_SIDE), np.float32), dtype) for _ in range(2))

    def multiply():
        # Reading one number waits for the whole product on backends that only queue it.
        float(keras.ops.matmul(a, b)[0, 0])

    multiply()
    return [2 * MATRIX_SIDE**3 / seconds for seconds in sample_times(multiply, count, 0.0)]


def release_memory() -> None:
    """Gives freed memory back to the system, so that the next peak is not hidden in what is already held."""
    gc.collect()
    with suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)


def read_rss() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def read_peak_rss() -> int:
    """The most bytes this process held at once, since it started or since `reset_peak_rss`.

    On Linux a process begins with the peak of the one that started it, so the starting program must stay small.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak_rss() -> None:
    """Starts the peak anew at what is held now; where the system forbids it, the peak stays that of the whole process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def profile_canvases(path: Path, images: Sequence, rounds: int) -> list[dict]:
    """What OpenVINO's own profile says of an artefact on canvases: each node's name, kind and median milliseconds.

    The artefact is run as `runtimes.openvino` runs it, one canvas of the network's size at a time.
    """
    import numpy as np
    import openvino

    from centerkp.runtimes.artefact import Description
    from centerkp.runtimes.openvino import COMPUTED_IN, start_at_canvas

    model = openvino.Core().read_model(path)
    said = Description.from_json(model.get_rt_info("centerkp").value, path)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": COMPUTED_IN[said.precision], "PERF_COUNT": True}
    canvases = start_at_canvas(model, 1, said.image_size)
    request = openvino.Core().compile_model(canvases, "CPU", hints).create_infer_request()
    spent: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):
        request.infer([images[turn % len(images)][None], np.float32([said.image_size])])
        for node in request.profiling_info if turn else ():
            spent.setdefault((node.node_name, node.node_type), []).append(1e3 * node.real_time.total_seconds())
    return [{"name": name, "kind": kind, "ms": statistics.median(times)} for (name, kind), times in spent.items()]


def add_up_parts(nodes: Sequence[dict]) -> dict[str, float]:
    """Milliseconds of a profile for the network itself, for changes of layout between its layers, and for all the rest.

    The network is its layers, with the heads that are computed at cells; the rest are normalisation, decoding, and changes of
    type and layout before and behind it.
    """
    parts = {"network": 0.0, "reorders inside": 0.0, "not the network": 0.0}
    for node in nodes:
        name = node["name"]
        if "Convolution" in node["kind"]:  # which may have lost its name
            part = "network"
        elif not name.startswith(("network/", "heads/")) or name.startswith(("network/normalise", "network/Sub")):
            part = "not the network"
        elif node["kind"] == "Reorder":
            part = "reorders inside" if "_network/" in name else "not the network"
        else:
            part = "network"
        parts[part] += node["ms"]
    return parts
