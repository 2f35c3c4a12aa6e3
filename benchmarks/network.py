"""Training step and predict: time and peak memory, beside the time that their multiply-adds would take as a matrix product.

The imports of the package stand inside the functions: the program that starts the cases must stay small, see `measure`.
"""

import measure
import page

OBJECTS, KEYPOINTS = 10, 17

METHOD = f"""\
One class of {KEYPOINTS} keypoints, {OBJECTS} objects an image, random weights and pixels. A training step is
`train_on_batch` with the optimizer of `centerkp.training.train`: forward, targets, loss, backward, clipping, AdamW and the
moving average of the weights; `predict` is `predict_on_batch`: forward with the last stack's heads, and decoding. Times
are medians of 5 calls or more (3 or more for the training step of hourglass_104), after two that are not counted, with
images already in memory. "Multiply-adds" are those of all convolutions for the whole batch, counted from their shapes,
once for predict and three times for training (forward, gradients of the activations, gradients of the weights). The
floor is twice that number divided by the float32 matrix-product rate of the same process, the median of {
    2 * measure.LEAST
} products of {measure.MATRIX_SIDE}x{measure.MATRIX_SIDE} matrices, half of them before and half after the
case; "ratio" is time over floor. Peak memory is the highest resident memory of the whole process while the model is
built and run; "at the start" is what it held before, with Python, the backend and the package loaded."""

BFLOAT_METHOD = """\
The same with `mixed_bfloat16`, which pays where the processor (or the accelerator) multiplies bfloat16 faster than
float32, and where the backend's convolutions make use of it; the last two columns are the rates of the plain matrix
product in both formats."""


def list_cases(quick: bool) -> list[dict]:
    shapes = [(backbone, size) for backbone in ("hourglass_10", "hourglass_20", "hourglass_52") for size in (256, 512)]
    shapes, narrow = [*shapes, ("hourglass_104", 512)], ("hourglass_20", 256)
    if quick:
        shapes, narrow = [("hourglass_10", 128)], ("hourglass_10", 128)
    cases = []
    for task in ("train", "predict"):
        for precision, chosen in (("float32", shapes), ("mixed_bfloat16", [narrow])):
            cases += [{"task": task, "backbone": b, "size": s, "precision": precision} for b, s in chosen]
    return [case | {"batch": _batch_size(**case), "least": _least(**case)} for case in cases]


def _batch_size(task: str, backbone: str, size: int, precision: str) -> int:
    if task == "predict":
        return 1
    return 8 if backbone in ("hourglass_10", "hourglass_20") and size <= 256 else 2


def _least(task: str, backbone: str, size: int, precision: str) -> int:
    return 3 if (task, backbone) == ("train", "hourglass_104") else measure.LEAST


def name_case(case: dict) -> str:
    return f"{case['task']} {case['backbone']} at {case['size']}, batch {case['batch']}, {case['precision']}"


def measure_case(task: str, backbone: str, size: int, precision: str, batch: int, least: int) -> dict:
    import keras

    from centerkp.model.cost import count_gmac
    from centerkp.schema import Schema
    from centerkp.training import train as training  # noqa: F401  loaded before the first look at memory, also for predict
    from centerkp.weights.start import build_model

    keras.utils.set_random_seed(0)
    rates = measure.sample_rates()
    narrow_rates = measure.sample_rates("bfloat16") if precision == "mixed_bfloat16" else []
    keras.config.set_dtype_policy(precision)
    measure.release_memory()
    measure.reset_peak_rss()
    start_rss = measure.read_rss()
    model = build_model(Schema.generic(1, KEYPOINTS), backbone=backbone, image_size=size)
    call = make_training_step(model, batch) if task == "train" else make_prediction(model, batch)
    for _ in range(2):
        call()
    times = measure.sample_times(call, least)
    peak_rss = measure.read_peak_rss()
    keras.config.set_dtype_policy("float32")
    rates += measure.sample_rates()
    work = count_gmac(model, all_heads=task == "train") * 1e9 * batch * (3 if task == "train" else 1)
    result = {"seconds": times, "rates": rates, "narrow_rates": narrow_rates, "multiply_adds": work}
    return result | {"peak_rss": peak_rss, "start_rss": start_rss}


def make_training_step(model, batch: int):
    import numpy as np
    from targets import make_truth

    from centerkp.settings.training import TrainSettings
    from centerkp.training.optimizer import make_optimizer

    rng = np.random.default_rng(0)
    images = _random_images(model, batch, rng)
    truth = make_truth(batch, OBJECTS, KEYPOINTS, model.image_size[0], rng)
    model.compile(make_optimizer(TrainSettings().resolve(), total_steps=1000))
    return lambda: model.train_on_batch(images, truth)


def make_prediction(model, batch: int):
    import numpy as np

    images = _random_images(model, batch, np.random.default_rng(0))
    inputs = {"image": images, "valid_size": np.full((batch, 2), model.image_size, np.float32)}
    return lambda: model.predict_on_batch(inputs)


def _random_images(model, batch: int, rng):
    width, height = model.image_size
    return rng.integers(0, 256, (batch, height, width, 3), dtype="uint8")


def describe(row: dict) -> str:
    ratio = page.median(row["seconds"]) / _floor(row)
    return f"{page.seconds_text(page.median(row['seconds']))}, {ratio:.2f} x floor, {row['peak_rss'] / 1e9:.1f} GB"


def _floor(row: dict) -> float:
    return 2 * row["multiply_adds"] / page.median(row["rates"])


def write_section(rows: list[dict]) -> str:
    parts = []
    for task, title in (("train", "Training step"), ("predict", "Predict")):
        chosen = [row for row in rows if row["task"] == task and row["precision"] == "float32"]
        parts += [f"## {title}", _write_table(chosen)]
    parts += [page.paragraph(METHOD), "## bfloat16", _write_narrow_table(rows), page.paragraph(BFLOAT_METHOD)]
    return "\n\n".join(parts) + "\n"


def _write_table(rows: list[dict]) -> str:
    header = ["network", "image", "batch", "time", "range", "images/s", "multiply-adds", "GFLOP/s", "floor", "ratio"]
    lines = []
    for row in rows:
        start = [row["backbone"], f"{row['size']}x{row['size']}", row["batch"]]
        if "error" in row:
            lines.append([*start, row["error"]])
            continue
        seconds, floor = page.median(row["seconds"]), _floor(row)
        cost = [f"{row['multiply_adds'] / 1e9:.1f} G", f"{page.median(row['rates']) / 1e9:.0f}", page.seconds_text(floor)]
        memory = [f"{row['peak_rss'] / 1e9:.2f} GB", f"{row['start_rss'] / 1e9:.2f} GB"]
        speed = f"{row['batch'] / seconds:.3g}"
        lines.append([*start, *page.times_text(row["seconds"]), speed, *cost, f"{seconds / floor:.2f}", *memory])
    return page.table([*header, "peak memory", "at the start"], lines)


def _write_narrow_table(rows: list[dict]) -> str:
    header = ["", "network", "image", "batch", "float32", "mixed_bfloat16", "gain", "float32 GFLOP/s", "bfloat16 GFLOP/s"]
    lines = []
    for narrow in (row for row in rows if row["precision"] == "mixed_bfloat16"):
        shape = ("task", "backbone", "size", "batch")
        wide = next(r for r in rows if r["precision"] == "float32" and all(r[k] == narrow[k] for k in shape))
        start = [narrow["task"], narrow["backbone"], f"{narrow['size']}x{narrow['size']}", narrow["batch"]]
        if "error" in wide or "error" in narrow:
            lines.append([*start, wide.get("error") or narrow["error"]])
            continue
        seconds = [page.median(row["seconds"]) for row in (wide, narrow)]
        rates = [f"{page.median(narrow[name]) / 1e9:.0f}" for name in ("rates", "narrow_rates")]
        lines.append([*start, *map(page.seconds_text, seconds), f"{seconds[0] / seconds[1]:.2f} x", *rates])
    return page.table(header, lines)
