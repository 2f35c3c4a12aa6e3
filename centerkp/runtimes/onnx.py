"""An exported `.onnx` file as a detector, run by ONNX Runtime."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.console import import_extra
from centerkp.runtimes.artefact import CANVAS, LETTERBOX, TO_SOURCE, VALID_SIZE, AnySizeDetector, Description


class OnnxDetector(AnySizeDetector):
    """Runs an `.onnx` file written by `centerkp export`; see `ArtefactDetector`.

    Raises:
        FileNotFoundError: ONNX Runtime is not installed.
        ValueError: not an ONNX file, or not one of centerkp's.
    """

    def __init__(self, path: str | Path):
        runtime = import_extra("onnxruntime", "onnx")
        runtime.disable_telemetry_events()  # also where it was imported before centerkp
        path = Path(path)
        try:
            # Only what the installed runtime offers by itself, best first.
            self._open = partial(runtime.InferenceSession, providers=runtime.get_available_providers())
            self._session = self._open(str(path))
        except Exception as error:
            raise ValueError(
                f"{path}: found a file that ONNX Runtime does not load ({error}), expected one written by centerkp export; "
                "export again."
            ) from None
        text = self._session.get_modelmeta().custom_metadata_map.get("centerkp", "")
        self._outputs = [one.name for one in self._session.get_outputs()]
        super().__init__(path, Description.from_json(text, path))
        self._canvases: Any = None  # the session behind the letterbox, made when canvases come; False where there is none

    def run_canvas(self, image: np.ndarray, valid_size: np.ndarray) -> dict[str, np.ndarray]:
        """Runs ONNX Runtime on canvases (B, S_h, S_w, 3) from where they are letterboxed on -> objects in their pixels."""
        if self._canvases is None:
            content = read_from_canvas(self.path, self.image_size)
            self._canvases = bool(content) and self._open(content)
        if not self._canvases:
            return super().run_canvas(image, valid_size)
        feed = {"image": image, VALID_SIZE: valid_size}
        return dict(zip(self._outputs, self._canvases.run(None, feed), strict=True))

    def run_images(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the ONNX Runtime session on images (B, H, W, 3) of any size -> objects in their pixels."""
        return dict(zip(self._outputs, self._session.run(None, {"image": image}), strict=True))


def read_from_canvas(path: Path, size: tuple[int, int]) -> bytes:
    """The part of an `.onnx` file behind its letterbox, for canvases of (width, height); nothing where it has no such part.

    It takes `image` (B, S_h, S_w, 3) uint8 and `letterbox/valid_size` (B, 2). There is none in files of earlier versions, in
    those with weights beside them, and where the package `onnx` is not installed, which takes files apart.
    """
    if find_spec("onnx") is None:
        return b""
    import onnx

    model = onnx.load(path, load_external_data=False)
    graph, types, make = model.graph, onnx.TensorProto, onnx.helper
    made = {name for node in graph.node for name in node.output}
    beside = any(one.data_location == types.EXTERNAL for one in graph.initializer)
    if beside or not {CANVAS, VALID_SIZE, TO_SOURCE} <= made:
        return b""
    kept = [node for node in graph.node if not node.name.startswith(f"{LETTERBOX}/")]
    rows = graph.input[0].type.tensor_type.shape.dim[0]
    batch = rows.dim_value or rows.dim_param
    inputs = [
        make.make_tensor_value_info("image", types.UINT8, [batch, size[1], size[0], 3]),
        make.make_tensor_value_info(VALID_SIZE, types.FLOAT, [batch, 2]),
    ]
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), TO_SOURCE))
    for field, values in (
        (graph.node, [make.make_node("Cast", ["image"], [CANVAS], name=CANVAS, to=types.FLOAT), *kept]),
        (graph.input, inputs),
    ):
        del field[:]
        field.extend(values)
    read = {name for node in graph.node for name in node.input}
    constants = [one for one in graph.initializer if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    return model.SerializeToString()
