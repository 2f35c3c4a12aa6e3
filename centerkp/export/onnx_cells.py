"""What a head says at a few cells of an ONNX file's maps: taken from its map, or computed there alone.

Of all heads but the heat maps the decoder reads a hundred cells, or that many for every keypoint; the maps have thousands.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from keras import layers, ops

from centerkp.codec.decode import FAR
from centerkp.export.fold import FoldedNetwork
from centerkp.export.onnx_layers import Graph
from centerkp.heads import HEATMAP_HEADS, map_size

FEW = 8  # times fewer cells than the map has are cheaper to compute by themselves
FEATURES = "features"  # name among the maps of what the hidden layers of the heads read


class MappedCells:
    """Takes what the heads say at cells, numbered row by row, out of their maps (B, channels, H, W) of `{head: name}`."""

    def __init__(self, graph: Graph, maps: dict[str, str], sides: tuple[int, int], keypoints: int) -> None:
        self.graph, self.maps, self.keypoints = graph, maps, keypoints
        self.count = sides[0] * sides[1]
        self._flat: dict[str, str] = {}

    def read(self, head: str, index: str) -> str:
        """ONNX nodes that gather a head's map at cells `index` (B, N): (B, N, channels)."""
        return self.graph("GatherND", self._flatten(head), unsqueeze(self.graph, index, 2), batch_dims=1)

    def read_own(self, head: str, index: str) -> str:
        """ONNX nodes that gather each keypoint's two channels of a map at its cells `index` (B, K, P): (B, K, P, 2)."""
        g = self.graph
        pairs = g("Reshape", self._flatten(head), np.array([0, self.count * self.keypoints, 2]))
        own = g("Add", g("Mul", index, np.array(self.keypoints)), np.arange(self.keypoints).reshape(1, -1, 1))
        return g("GatherND", pairs, unsqueeze(g, own, 3), batch_dims=1)

    def _flatten(self, head: str) -> str:
        """ONNX nodes for a head's map with its channels last: (B, cells, channels)."""
        g = self.graph
        if head not in self._flat:
            # The bounds mean nothing but to OpenVINO, which rounds what a convolution returns to bfloat16 unless a step in
            # float32, as the decoder's are, belongs to the convolution.
            bounded = g("Clip", self.maps[head], 0.0 if head == "box_size" else -FAR, FAR)
            last = g("Transpose", bounded, perm=[0, 2, 3, 1])
            channels = 2 * self.keypoints if head.startswith("keypoint") else 2
            self._flat[head] = g("Reshape", last, np.array([0, self.count, channels]))
        return self._flat[head]


class ComputedCells(MappedCells):
    """Computes what heads without a map say at cells from the features around those cells alone, by the heads' own weights.

    Sums of the same products as in the maps, in another order: equal to the last digits of a float32. Products of matrices are
    named `heads/...`.

    Args:
        maps: names of the maps that there are, and of the `FEATURES` (B, channels, H, W).
    """

    def __init__(self, graph: Graph, maps: dict[str, str], sides: tuple[int, int], network: FoldedNetwork) -> None:
        super().__init__(graph, maps, sides, network.schema.num_keypoints)
        self.network, (self.height, self.width) = network, sides
        self.channels = find_features(network).shape[-1]
        last = graph("Transpose", maps[FEATURES], perm=[0, 2, 3, 1])
        self.features = graph("Reshape", last, np.array([0, self.count, self.channels]))
        self._patches: dict[str, str] = {}
        self._inside: dict[str, str] = {}

    def read(self, head: str, index: str) -> str:
        """ONNX nodes that compute a head at cells `index` (B, N): (B, N, channels)."""
        if head in self.maps:
            return super().read(head, index)
        last = self._last_layer(head)
        kernel = ops.convert_to_numpy(last.kernel)[0, 0]
        return self._multiply(self._compute_hidden(head, index), kernel, ops.convert_to_numpy(last.bias), last.name)

    def read_own(self, head: str, index: str) -> str:
        """ONNX nodes that compute each keypoint's two channels of a head at its cells `index` (B, K, P): (B, K, P, 2)."""
        if head in self.maps:
            return super().read_own(head, index)
        g, last = self.graph, self._last_layer(head)
        hidden = self._compute_hidden(head, g("Reshape", index, np.array([0, -1])))
        kernel, bias = (ops.convert_to_numpy(one) for one in (last.kernel, last.bias))
        kernel = kernel[0, 0].reshape(-1, self.keypoints, 2).transpose(1, 0, 2)
        by_keypoint = g("Reshape", hidden, np.array([0, self.keypoints, -1, kernel.shape[1]]))
        return self._multiply(by_keypoint, kernel, bias.reshape(self.keypoints, 1, 2), last.name)

    def _last_layer(self, head: str) -> Any:
        """The Keras layer of the network that gives a head's map."""
        return self.network.output[head]._keras_history.operation

    def _compute_hidden(self, head: str, index: str) -> str:
        """ONNX nodes for a head's hidden layer at cells `index` (B, N): (B, N, hidden channels)."""
        g, layer = self.graph, self.network.get_layer(f"{self._last_layer(head).name}_hidden")
        patches, bias = self._take_patches(index, layer.kernel_size[0]), ops.convert_to_numpy(layer.bias)
        if isinstance(layer, layers.SeparableConv2D) and layer.depth_multiplier == 1:
            own, across = (ops.convert_to_numpy(kernel) for kernel in (layer.depthwise_kernel, layer.pointwise_kernel))
            summed = self._sum_by_channel(patches, own.reshape(-1, self.channels), f"{layer.name}/depthwise")
            return g("Relu", self._multiply(summed, across[0, 0], bias, layer.name))
        kernel = dense_kernel(layer)
        flat = g("Reshape", patches, np.array([0, -1, len(kernel) ** 2 * self.channels]))
        return g("Relu", self._multiply(flat, kernel.reshape(-1, kernel.shape[-1]), bias, layer.name))

    def _sum_by_channel(self, patches: str, kernel: np.ndarray, name: str) -> str:
        """ONNX nodes that weigh the cells of patches (B, N, cells, channels) by channel and add them up: (B, N, channels)."""
        with self._as_heads() as g:
            weighed = g("Mul", patches, kernel, name=f"{name}/weighed")
            return g("ReduceSum", weighed, np.array([2]), keepdims=0, name=name)

    def _multiply(self, x: str, kernel: np.ndarray, bias: np.ndarray, name: str) -> str:
        """ONNX nodes that multiply a layer's input (..., channels) with its matrix and add its bias."""
        with self._as_heads() as g:
            return g("Add", g("MatMul", x, np.ascontiguousarray(kernel), name=f"{name}/product"), bias, name=name)

    def _take_patches(self, index: str, side: int) -> str:
        """ONNX nodes for the features around cells `index` (B, N), zeros beyond the map: (B, N, side * side, channels)."""
        key = f"{index}/{side}"
        if key not in self._patches:
            steps = np.arange(side) - (side - 1) // 2
            near = (steps[:, None] * self.width + steps).reshape(-1)
            with self._as_heads() as g:
                place = g("Add", unsqueeze(g, index, 2), near)  # (B, N, side * side); beyond an end of a row in another row
                # As TensorRT has it for whole numbers.
                place = g("Max", g("Min", place, np.array(self.count - 1)), np.array(0))
                found = g("GatherND", self.features, unsqueeze(g, place, 3), batch_dims=1)
                inside = g.cast(g("Gather", self._find_inside(side), index), "float")
                self._patches[key] = g("Mul", found, unsqueeze(g, inside, 3))
        return self._patches[key]

    @contextmanager
    def _as_heads(self) -> Iterator[Graph]:
        """The graph, which names what is written meanwhile after the heads."""
        scope, self.graph.scope = self.graph.scope, "heads"
        yield self.graph
        self.graph.scope = scope

    def _find_inside(self, side: int) -> str:
        """An ONNX constant (cells, side * side) bool that says which of the cells around a cell are of the map."""
        name = f"{FEATURES}/inside{side}"
        if name not in self._inside:
            steps = np.arange(side) - (side - 1) // 2
            rows, columns = (
                (near >= 0) & (near < end)
                for near, end in ((np.arange(end)[:, None] + steps, end) for end in (self.height, self.width))
            )
            inside = rows[:, None, :, None] & columns[None, :, None, :]
            self._inside[name] = self.graph.constant(inside.reshape(self.count, -1), name)
        return name


def find_features(network: FoldedNetwork) -> Any:
    """The Keras tensor that the hidden layers of all heads of a network read."""
    return network.output["box_size"]._keras_history.operation.input._keras_history.operation.input


def find_computable(network: FoldedNetwork) -> set[str]:
    """The heads of a network that are cheaper to compute at the cells that decoding reads than in whole.

    Those whose hidden layer is one convolution over the features that all heads share, and of which decoding reads few cells.
    """
    options, (height, width) = network.decode_options, map_size(network.image_size)
    found = set()
    for head, output in network.output.items():
        hidden = output._keras_history.operation.input._keras_history.operation
        known = isinstance(hidden, layers.Conv2D | layers.SeparableConv2D) and hidden.activation.__name__ == "relu"
        plain = known and hidden.strides == (1, 1) and hidden.padding == "same" and hidden.input is find_features(network)
        cells = options.candidates * network.schema.num_keypoints if head == "keypoint_offset" else options.max_objects
        if plain and head not in HEATMAP_HEADS and cells * FEW <= height * width:
            found.add(head)
    return found


def dense_kernel(layer: Any) -> np.ndarray:
    """The kernel (h, w, channels, filters) of a convolution, or of the one that a separable convolution comes to."""
    if not isinstance(layer, layers.SeparableConv2D):
        return ops.convert_to_numpy(layer.kernel)
    kernels = layer.depthwise_kernel, layer.pointwise_kernel
    depthwise, pointwise = (ops.convert_to_numpy(kernel).astype(np.float64) for kernel in kernels)
    by_channel = pointwise[0, 0].reshape(*depthwise.shape[2:], -1)  # (channels, filters each, filters)
    return np.einsum("hwcm,cmf->hwcf", depthwise, by_channel).astype(np.float32)


def unsqueeze(graph: Graph, tensor: str, axis: int) -> str:
    """Adds an ONNX node: the tensor with a new axis of one."""
    return graph("Unsqueeze", tensor, np.array([axis]))
