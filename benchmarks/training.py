"""What a training step costs: all backbones at the light network's size and batch, in both number formats.

The imports of the package stand inside the functions: the program that starts the cases must stay small, see `measure`.
"""

import math

import measure
import network
import page

SIZE, BATCH = 320, 4
# What of the light network trains: by default its 1x1 convolutions below stride 8, the pyramid and the heads.
FROZEN = {"efficientnet_lite0_fpn": ("filters", "none", "stride8", "stride16", "stride32")}
BACKBONES = (
    "efficientnet_lite0_fpn",
    "mobilenetv2_fpn",
    "resnet50_v1_fpn",
    "resnet50_v2",
    "hourglass_10",
    "hourglass_20",
    "hourglass_32",
    "hourglass_52",
    "hourglass_104",
)

METHOD = f"""\
`train_on_batch` of {BATCH} images of {SIZE}x{SIZE} (384x384 for the hourglasses that want a multiple of 128), as in
RESULTS.md: forward, targets, loss, backward, clipping, AdamW and the moving average, images already in memory; medians of
{measure.LEAST} calls or more. "Frozen" is what `--freeze` keeps from training. The floor is the time that three times the
multiply-adds of all convolutions (forward, gradients of the activations, gradients of the weights) would take as float32
matrix products in the same process, whatever is frozen."""


def list_cases(quick: bool) -> list[dict]:
    shapes = [(name, frozen) for name in BACKBONES for frozen in FROZEN.get(name, ("none",))]
    shapes = shapes[:1] if quick else shapes
    return [
        {"backbone": name, "frozen": frozen, "precision": precision, "size": 64 if quick else SIZE}
        for name, frozen in shapes
        for precision in ("float32", "mixed_bfloat16")
    ]


def name_case(case: dict) -> str:
    return f"{case['backbone']}, frozen {case['frozen']}, {case['precision']}"


def measure_case(backbone: str, frozen: str, precision: str, size: int) -> dict:
    import keras

    from centerkp.model.backbones import find_backbone
    from centerkp.model.cost import count_gmac
    from centerkp.schema import Schema
    from centerkp.weights.start import build_model

    keras.utils.set_random_seed(0)
    rates, narrow_rates = measure.sample_rates(), measure.sample_rates("bfloat16")
    keras.config.set_dtype_policy(precision)
    multiple = find_backbone(backbone).multiple
    side = -(-size // multiple) * multiple
    model = build_model(Schema.generic(1, network.KEYPOINTS), backbone=backbone, image_size=side)
    model.freeze(frozen)
    step = network.make_training_step(model, BATCH)
    for _ in range(2):
        step()
    times = measure.sample_times(step)
    keras.config.set_dtype_policy("float32")
    rates += measure.sample_rates()
    work = count_gmac(model, all_heads=True) * 1e9 * BATCH * 3
    trained = sum(math.prod(v.shape) for v in model.trainable_variables)
    return {"seconds": times, "rates": rates, "narrow_rates": narrow_rates} | {
        "multiply_adds": work,
        "trained": trained,
        "side": side,
    }


def describe(row: dict) -> str:
    return f"{page.seconds_text(page.median(row['seconds']))} a step"


def write_section(rows: list[dict]) -> str:
    header = ["network", "frozen", "image", "parameters that train", "float32", "range", "mixed_bfloat16", "range", "gain"]
    lines = []
    for wide in (row for row in rows if row["precision"] == "float32"):
        narrow = next((r for r in rows if name_case(r) == name_case(wide | {"precision": "mixed_bfloat16"})), None)
        start = [wide["backbone"], wide["frozen"]]
        failed = [row["error"] for row in (wide, narrow) if row and "error" in row]
        if failed or not narrow:
            lines.append([*start, *failed])
            continue
        seconds = [page.median(row["seconds"]) for row in (wide, narrow)]
        times = [text for row in (wide, narrow) for text in page.times_text(row["seconds"])]
        floor = 2 * wide["multiply_adds"] / page.median(wide["rates"])
        start += [f"{wide['side']}x{wide['side']}", f"{wide['trained'] / 1e6:.2f} M"]
        lines.append(
            [*start, *times, f"{seconds[0] / seconds[1]:.2f} x", page.seconds_text(floor), f"{seconds[0] / floor:.1f}"]
        )
    table = page.table([*header, "floor", "float32 / floor"], lines)
    return "\n\n".join(["## A training step of every backbone", table, page.paragraph(METHOD)])
