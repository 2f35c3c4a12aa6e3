"""What a light network learned on drawn objects (`demo/endless.py`): packaged weights that need no network and know no dataset.

They hold the backbone with its pyramid, the hidden layers of all heads, and `center_offset` and `box_size` whole, as float16 by
layer and variable. A trunk that knows photographs is not in them, as it does not train on drawings; nor is what belongs to
single classes and keypoints. `benchmarks/pretrain.py` makes them.
"""

from pathlib import Path

import keras
import numpy as np

from centerkp.model.backbone import is_within
from centerkp.model.backbones import name_backbone
from centerkp.model.center_net import CenterNet
from centerkp.model.transfer import TransferReport
from centerkp.weights.imagenet import FILES, start_from_imagenet
from centerkp.writing import replacing

FOLDER = Path(__file__).parent / "drawn"
WHOLE = ("center_offset", "box_size")  # heads that mean the same for every class


def list_drawn() -> list[str]:
    """The backbones that have packaged weights, learned on drawn objects."""
    return sorted(path.stem for path in FOLDER.glob("*.npz"))


def start_from_drawn(model: CenterNet) -> TransferReport:
    """Gives a model the packaged weights of its backbone; class and keypoint channels are fresh, with kernels of zeros.

    Raises:
        ValueError: there are none for this backbone or its widths.
    """
    name = name_backbone(model.backbone)
    if name not in list_drawn():
        raise ValueError(
            f"Weights drawn: found backbone {name or 'of widths of its own'}, expected one of {list_drawn()}; train it on "
            "drawn pictures first (benchmarks/pretrain.py), or use --weights none."
        )
    trunk = start_from_imagenet(model).trunk if name in FILES else 0
    variables = _shared_variables(model)
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        for key, variable in variables.items():
            found = arrays[key].shape if key in arrays else "no array"
            if found != tuple(variable.shape):
                raise ValueError(
                    f"Weights drawn: found {found} for {key}, expected {tuple(variable.shape)}; leave stacks and widths of "
                    f"{name} as they are, or use --weights none."
                )
        for key, variable in variables.items():
            variable.assign(arrays[key].astype(np.float32))
    for layer in model.layers:
        # Random numbers times features as large as these would be a loss of 60 that goes back into them.
        if model.find_head(layer.name) and f"{layer.name}/kernel" not in variables and not layer.name.endswith("_hidden"):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    backbone = trunk + sum(model.find_head(key.split("/")[0]) is None for key in variables)
    schema = model.schema
    fresh = dict.fromkeys(schema.class_names), dict.fromkeys(schema.keypoint_names)
    return TransferReport(backbone, 0, *fresh, source="drawn")


def pack(model: CenterNet, path: Path) -> Path:
    """Packs what a model has to give to any other of its backbone, as float16 in an `.npz` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: keras.ops.convert_to_numpy(v).astype(np.float16) for name, v in _shared_variables(model).items()}
    with replacing(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def _shared_variables(model: CenterNet) -> dict:
    """`{"layer/variable": variable}` to be packaged: of all that no class and no keypoint owns."""
    has_photographs = name_backbone(model.backbone) in FILES
    shared = {}
    for layer in model.layers:
        head = model.find_head(layer.name)
        is_trunk = has_photographs and is_within(layer.name, "stride32")
        if layer.name != "normalise" and not is_trunk and (not head or head[1] in WHOLE or layer.name.endswith("_hidden")):
            shared |= {f"{layer.name}/{variable.name}": variable for variable in layer.weights}
    return shared
