"""Target rendering: time and peak extra memory, beside what one map for each object and keypoint would take.

The imports of the package stand inside the functions: the program that starts the cases must stay small, see `measure`.
"""

import os

import measure
import page

STRIDE = 4
KEYPOINTS = 17

METHOD = """\
`render_targets` compiled for the backend, on random objects (boxes of 20 to 200 pixels, four of five keypoints
labelled). "One map each" is what B x M x K x H x W float32 numbers would take, one H x W map for each object and
keypoint (MB are 10^6 bytes). "Peak extra" is the highest resident memory of the process during a call, minus that
before it; "returned" is the part of it that the targets themselves take. Both are medians of 5 calls or more, after two
that are not counted; "range" is that of the time. "GFLOP" is the time multiplied with the matrix-product rate measured
in the same process: what the machine could have multiplied meanwhile. Memory is measured in a process of its own, in
which TensorFlow's oneDNN allocator is off (`TF_ENABLE_ONEDNN_OPTS=0`): that one keeps what it once got, and every call
after the first would seem to need nothing."""


def list_cases(quick: bool) -> list[dict]:
    shapes = [(8, 512, m) for m in (10, 50, 100, 400)] + [(1, 512, m) for m in (10, 50, 100)]
    if quick:
        shapes = [(1, 256, 10), (1, 256, 100)]
    cases = [{"batch": batch, "size": size, "objects": objects} for batch, size, objects in shapes]
    return [case | {"what": what} for case in cases for what in ("time", "memory")]


def name_case(case: dict) -> str:
    return f"{case['what']}, batch {case['batch']}, {case['objects']} objects at {case['size']}"


def measure_case(batch: int, size: int, objects: int, what: str) -> dict:
    if what == "memory":
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # read when TensorFlow is imported, which is below
    import keras
    import numpy as np

    from centerkp.codec.targets import render_targets
    from centerkp.schema import Schema

    schema, map_size = Schema.generic(1, KEYPOINTS), (size // STRIDE, size // STRIDE)
    truth = make_truth(batch, objects, KEYPOINTS, size, np.random.default_rng(0))
    truth = {name: keras.ops.convert_to_tensor(values) for name, values in truth.items()}
    compiled = compile_call(lambda truth: render_targets(truth, schema, map_size))

    def render():
        targets = keras.tree.flatten(compiled(truth))
        # Reading one number of each waits for all of it on backends that only queue the work.
        for target in targets:
            keras.ops.convert_to_numpy(keras.ops.reshape(target, (-1,))[0])
        return targets

    returned = sum(int(np.prod(t.shape)) * np.dtype(keras.backend.standardize_dtype(t.dtype)).itemsize for t in render())
    render()
    if what == "memory":
        return {"returned": returned, "extra": [measure_extra(render) for _ in range(measure.LEAST)], "rates": []}
    rates = measure.sample_rates()
    times = measure.sample_times(render)
    return {"seconds": times, "rates": rates + measure.sample_rates()}


def measure_extra(call) -> int:
    """Bytes that the process held at most during the call, beyond those before it."""
    measure.release_memory()
    measure.reset_peak_rss()
    before = measure.read_rss()
    call()
    return measure.read_peak_rss() - before


def make_truth(batch: int, objects: int, keypoints: int, size: int, rng) -> dict:
    """Padded ground truth of random objects, as NumPy arrays, no row of it padding."""
    import numpy as np

    low = rng.uniform(0, size - 20, (batch, objects, 2))
    high = np.minimum(low + rng.uniform(20, 200, low.shape), size - 1e-3)
    share = rng.uniform(0, 1, (batch, objects, keypoints, 2))
    return {
        "boxes_xyxy": np.concatenate([low, high], axis=-1).astype(np.float32),
        "class_ids": np.zeros((batch, objects), np.int32),
        "object_weights": np.ones((batch, objects), np.float32),
        "is_crowd": np.zeros((batch, objects), np.float32),
        "keypoints_xy": (low[:, :, None] + share * (high - low)[:, :, None]).astype(np.float32),
        "visibility": (2 * (rng.uniform(size=(batch, objects, keypoints)) < 0.8)).astype(np.int32),
        "valid_size": np.full((batch, 2), size, np.float32),
    }


def compile_call(function):
    """The function as the backend's training step would run it."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def describe(row: dict) -> str:
    if row["what"] == "time":
        return page.seconds_text(page.median(row["seconds"]))
    return f"{page.median(row['extra']) / 1e6:.0f} MB extra"


def write_section(rows: list[dict]) -> str:
    header = ["batch", "image", "objects", "time", "range", "GFLOP", "peak extra MB", "returned MB", "one map each MB"]
    lines, growth = [], []
    memory = {_shape(row): row for row in rows if row["what"] == "memory"}
    for row in (row for row in rows if row["what"] == "time"):
        other = memory[_shape(row)]
        start = [row["batch"], f"{row['size']}x{row['size']}", row["objects"]]
        if "error" in row or "error" in other:
            lines.append([*start, row.get("error") or other["error"]])
            continue
        work = page.median(row["seconds"]) * page.median(row["rates"]) / 1e9
        used = [f"{value / 1e6:.0f}" for value in (page.median(other["extra"]), other["returned"], _one_map_each(row))]
        lines.append([*start, *page.times_text(row["seconds"]), f"{work:.1f}", *used])
    for batch, size in dict.fromkeys((row["batch"], row["size"]) for row in rows):
        growth += _describe_growth([row for row in memory.values() if (row["batch"], row["size"]) == (batch, size)])
    title = f"## Target rendering: {KEYPOINTS} keypoints an object"
    return (
        "\n\n".join([title, page.table(header, lines), *(["\n".join(growth)] if growth else []), page.paragraph(METHOD)]) + "\n"
    )


def _shape(row: dict) -> tuple[int, int, int]:
    return row["batch"], row["size"], row["objects"]


def _one_map_each(row: dict) -> int:
    return row["batch"] * row["objects"] * KEYPOINTS * (row["size"] // STRIDE) ** 2 * 4


def _describe_growth(rows: list[dict]) -> list[str]:
    """One line: what the objects between the fewest and the most added."""
    if len(rows) < 2 or any("error" in row for row in rows):
        return []
    few, many = min(rows, key=_shape), max(rows, key=_shape)
    measured = (page.median(many["extra"]) - page.median(few["extra"])) / 1e6
    bound = (_one_map_each(many) - _one_map_each(few)) / 1e6
    return [
        f"- Batch {few['batch']} at {few['size']}x{few['size']}: from {few['objects']} to {many['objects']} objects the peak "
        f"changed by {measured:.0f} MB, where one map each would have added {bound:.0f} MB."
    ]
