"""A trained model as OpenVINO's pair of files, `.xml` and `.bin`; the fastest way on Intel processors."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from centerkp.console import import_extra
from centerkp.export.fold import FoldedNetwork
from centerkp.export.int8 import quantize_openvino
from centerkp.export.onnx_file import write_onnx
from centerkp.runtimes.artefact import Description

OPENVINO_PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def write_openvino(
    network: FoldedNetwork,
    path: str | Path,
    *,
    precision: str = "fp32",
    batch: int | None = None,
    samples: Sequence[tuple[np.ndarray, tuple[int, int]]] = (),
) -> Path:
    """Writes the network with letterboxing and decoding as OpenVINO IR.

    Input and outputs are those of `write_onnx`. The model's runtime information holds `centerkp`, see `Description`.

    Args:
        network: from `fold`, in float32.
        path: of the `.xml`; the weights lie beside it in a `.bin` of the same name.
        precision: "fp32"; "fp16" stores weights in half the space and computes in float32; "bf16" is the same file with the
            note that `OpenVinoDetector` runs it in bfloat16; "int8" computes the convolutions in 8 bits.
        batch: images per call, None for any number.
        samples: letterboxed images (S_h, S_w, 3) uint8 with their (width, height) inside; int8 takes the ranges of its
            numbers from what the network computes on them.

    Raises:
        FileNotFoundError: a package that this needs is not installed.
    """
    openvino = import_extra("openvino", "openvino")
    path = Path(path)
    with TemporaryDirectory() as folder:
        # A product of matrices behind the decoder's first steps would have them computed in bfloat16 too.
        whole = precision == "bf16"
        model = openvino.Core().read_model(write_onnx(network, Path(folder) / "model.onnx", batch=batch, whole_maps=whole))
        _settle_constants(model)
        if precision == "int8":
            model = quantize_openvino(model, network, samples)
        description = Description.of(network, "openvino", precision, batch)
        model.set_rt_info(description.to_json(), "centerkp")
        openvino.save_model(model, path, compress_to_fp16=precision != "fp32")
    return path


def _settle_constants(model: Any) -> None:
    """Computes all of an OpenVINO model that no input changes, in place.

    Read from ONNX, biases and the kernels of depthwise convolutions are steps that turn a constant into its shape. NNCF takes
    only constants for weights: it left these biases uncorrected and gave such kernels ranges by column, not by channel.
    """
    passes = import_extra("openvino.passes", "openvino")
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
