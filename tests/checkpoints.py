"""Checkpoints for tests: written with TensorFlow, packed as the model zoo packs them, and served as it serves them."""

import hashlib
import io
import json
import re
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import reference
import weights_recipe
import weights_recipe_more

SUFFIX = weights_recipe.SUFFIX
HEADS = "model/_prediction_head_dict"
PIPELINE = """
# A pipeline.config as it lies in the zoo's archives, as far as a conversion reads it.
model {
  center_net {
    num_classes: 90
    feature_extractor { type: "hourglass_104" bgr_ordering: true channel_means: [104.01362025, 114.03422265, 119.9165958] }
    image_resizer { keep_aspect_ratio_resizer { min_dimension: 512 max_dimension: 512 pad_to_max_dimension: true } }
    keypoint_label_map_path: "PATH_TO_BE_CONFIGURED"
    keypoint_estimation_task {
      task_name: "human_pose" task_loss_weight: 1.0
      keypoint_class_name: "/m/01g317"
      keypoint_label_to_std { key: "left_ankle" value: 0.89 }
    }
  }
}
train_config: { batch_size: 128, num_steps: 250000 }
"""


def write_checkpoint(prefix: Path, variables: dict[str, np.ndarray], *, graph: bytes = b"", suffix: str = SUFFIX) -> Path:
    """Writes `{key without suffix: value}` as an object-based checkpoint; `graph` is the serialised graph of objects."""
    import tensorflow as tf

    prefix.parent.mkdir(parents=True, exist_ok=True)
    named = {key + suffix: tf.constant(value) for key, value in variables.items()}
    named |= {"_CHECKPOINTABLE_OBJECT_GRAPH": tf.constant(graph), f"save_counter{suffix}": tf.constant(1, tf.int64)}
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=list(named), shape_and_slices=[""] * len(named), tensors=list(named.values())
    )
    return prefix


def make_variables(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The recipe's weights for `{key without suffix: shape}`."""
    return {key: weights_recipe.make_variable(key + SUFFIX, shape) for key, shape in shapes.items()}


def hg104_shapes() -> dict[str, tuple[int, ...]]:
    manifest = json.loads((reference.GOLDEN / "hg104_manifest.json").read_text())
    return {key: tuple(shape) for key, (shape, _) in manifest.items()}


def zoo_manifest(name: str) -> dict[str, tuple[tuple[int, ...], str, int | None]]:
    """`{key without suffix: (shape, Keras layer, check sum)}` of a model of the zoo, and what its archive holds besides."""
    manifest = json.loads((reference.GOLDEN / f"{name}_manifest.json").read_text())
    return {key: (tuple(shape), layer, crc) for key, (shape, layer, crc) in manifest.items()}


def make_zoo_variables(name: str) -> dict[str, np.ndarray]:
    manifest = zoo_manifest(name)
    return {key: weights_recipe_more.make_variable(key + SUFFIX, *entry[:2], name) for key, entry in manifest.items()}


def make_graph(places: dict[str, str]) -> bytes:
    """The graph of objects of a checkpoint: `{way from the root to a variable: its key in the file}`, both without suffix."""
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    graph, numbers = TrackableObjectGraph(), {"": 0}
    graph.nodes.add()
    for way, key in places.items():
        parts = way.split("/")
        for depth, part in enumerate(parts, start=1):
            name, parent = "/".join(parts[:depth]), "/".join(parts[: depth - 1])
            if name not in numbers:
                numbers[name] = len(graph.nodes)
                graph.nodes.add()
                local = part.replace(".S", "/").replace("..", ".")
                graph.nodes[numbers[parent]].children.add(node_id=numbers[name], local_name=local)
        graph.nodes[numbers[way]].attributes.add(name="VARIABLE_VALUE", checkpoint_key=key + SUFFIX)
    return graph.SerializeToString()


def small_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """`{key without suffix: shape}` of small_hg10 or small_tiny2."""
    golden = reference.load(name)
    named = zip(golden["checkpoint/keys"], golden["checkpoint/shapes"], strict=True)
    return {key.removesuffix(SUFFIX): tuple(json.loads(shape)) for key, shape in named if key.startswith("model/")}


def coco_shapes(name: str = "small_hg10") -> dict[str, tuple[int, ...]]:
    """The keys of a small network with the heads of the zoo's COCO model."""
    points = "human_pose.Skeypoint.S"
    channels = {"object_center": 90, f"{points}heatmap": 17, f"{points}offset": 34, f"{points}regression": 34}
    shapes = {}
    for key, shape in small_shapes(name).items():
        key = key.replace("task_a", "human_pose")
        if key.startswith(HEADS) and "layer_with_weights-1" in key:
            shape = (*shape[:-1], channels.get(key.split("/")[2], shape[-1]))
        if "task_b" not in key:
            shapes[key] = shape
    return shapes


def write_small(name: str, folder: Path) -> Path:
    """small_hg10 or small_tiny2 as TensorFlow wrote it, bit for bit; returns the prefix.

    The recipe's weights cut to 5 bits of mantissa, in the order of the graph of objects, which stands behind them.
    """
    golden = reference.load(name)
    parts = []
    for key, shape in zip(golden["checkpoint/keys"], golden["checkpoint/shapes"], strict=True):
        if key.startswith("model/"):
            bits = weights_recipe.make_variable(str(key), json.loads(shape)).view(np.uint32)
            parts.append(((bits + np.uint32(0x20000)) & np.uint32(0xFFFC0000)).tobytes())
        else:
            parts.append(np.int64(1).tobytes())
    data = b"".join(parts) + golden["checkpoint/tail"].tobytes()
    assert hashlib.sha256(data).hexdigest() == str(golden["checkpoint/data_sha256"])
    prefix = folder / "checkpoint" / "ckpt-0"
    prefix.parent.mkdir(parents=True)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    Path(f"{prefix}.index").write_bytes(golden["checkpoint/index"].tobytes())
    return prefix


def pack(folder: Path, archive: Path, pipeline: str = PIPELINE, level: int = 1) -> Path:
    """`folder` with its `checkpoint/` as NAME.tar.gz of the zoo: NAME/checkpoint, NAME/pipeline.config, NAME/saved_model."""
    (folder / "pipeline.config").write_text(pipeline)
    (folder / "saved_model" / "variables").mkdir(parents=True, exist_ok=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(b"not needed")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=level) as tar:
        tar.add(folder, archive.name.split(".")[0])
    return archive


class Server(ThreadingHTTPServer):
    """Serves `files` {path: bytes or Path}. `cut` bytes into an answer the connection ends, as often as `cuts` says."""

    def __init__(self, files: dict, *, ranges: bool = True, cut: int = 0, cuts: int = 0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.ranges, self.cut, self.cuts, self.seen = files, ranges, cut, cuts, []

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, span = self.server, self.headers.get("Range")
        server.seen.append(span)
        content = server.files.get(self.path.lstrip("/"))
        if content is None:
            return self.send_error(404)
        total = content.stat().st_size if isinstance(content, Path) else len(content)
        start = int(re.fullmatch(r"bytes=(\d+)-", span)[1]) if span and server.ranges else 0
        if start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            return self.end_headers()
        self.send_response(206 if span and server.ranges else 200)
        if span and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        left = total - start
        if server.cuts:
            server.cuts -= 1
            left = min(left, server.cut)
        with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
            file.seek(start)
            while left > 0 and (chunk := file.read(min(left, 1 << 20))):
                self.wfile.write(chunk)
                left -= len(chunk)

    def log_message(self, *arguments):
        pass


@contextmanager
def serve(files: dict, **faults):
    """A server on this machine for the time of a test."""
    server = Server(files, **faults)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
