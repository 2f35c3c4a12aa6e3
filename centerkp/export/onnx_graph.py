"""The network as ONNX nodes, written layer by layer from the folded Keras graph.

A converter that traces the framework's own graph needs many times the weights' memory; the network is nothing but
convolutions, ReLU, additions and nearest upsampling, and those are written directly: one copy of the weights.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from centerkp.export.fold import FoldedNetwork
from centerkp.runtimes.extras import import_extra

OPSET = 17  # of 2022; nothing newer is needed, and runtimes in the field are older than this package


class Graph:
    """Collects nodes and constants; every call adds a node and returns the name of its output.

    Inputs are names of tensors, or numbers and arrays, which become constants (Python's float as float32, int as int64).
    """

    def __init__(self) -> None:
        onnx = import_extra("onnx", "onnx")
        self._helper, self._numpy_helper, self._types = onnx.helper, onnx.numpy_helper, onnx.TensorProto
        self.nodes, self.constants = [], []
        self.scope = "graph"

    def __call__(self, operation: str, *inputs: Any, name: str | None = None, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node of the current scope; returns its output's name, or a tuple of them for `outputs` > 1."""
        name = f"{self.scope}/{name or f'{operation}_{len(self.nodes)}'}"
        made = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        inputs = [one if isinstance(one, str) else self.constant(one, f"{name}_in{i}") for i, one in enumerate(inputs)]
        self.nodes.append(self._helper.make_node(operation, inputs, made, name=name, **attributes))
        return made[0] if outputs == 1 else tuple(made)

    def constant(self, values: Any, name: str) -> str:
        """Adds an initializer and returns its name."""
        if isinstance(values, float):
            values = np.float32(values)
        self.constants.append(self._numpy_helper.from_array(np.ascontiguousarray(values).reshape(np.shape(values)), name))
        return name

    def output(self, tensor: str, name: str) -> None:
        """Gives a tensor the name under which the graph returns it."""
        self.nodes.append(self._helper.make_node("Identity", [tensor], [name], name=name))

    def cast(self, tensor: str, dtype: str) -> str:
        """The tensor as "float", "float16", "double", "int32", "int64" or "uint8"."""
        return self("Cast", tensor, to=getattr(self._types, dtype.upper()))


def write_network(graph: Graph, network: FoldedNetwork, image: str, half: bool = False) -> dict[str, str]:
    """Writes the layers of a functional Keras model and returns the names of its outputs, `{head: name}`.

    Args:
        network: from `centerkp.export.fold`.
        image: name of the float32 tensor (B, 3, H, W) that goes in; the maps come out as (B, channels, H, W), float32.
        half: float16 for everything between the normalisation and the last convolution of each head.

    Raises:
        ValueError: a layer that has no counterpart here.
    """
    graph.scope = "network"
    return _NetworkWriter(graph, half, network.output).write(network.inputs[0], image)


class _NetworkWriter:
    """One method per kind of layer; tensors are known by their names, and `types` says which are not float32."""

    def __init__(self, graph: Graph, half: bool, heads: Mapping):
        self.graph, self.heads = graph, heads
        self.dtype = "float16" if half else "float32"
        self.last_layers = {tensor._keras_history.operation.name for tensor in heads.values()}
        self.types: dict[str, str] = {}
        self.padded: dict[str, tuple[str, list[int]]] = {}  # what a convolution is to pad: the tensor without it, and how much

    def write(self, start: Any, image: str) -> dict[str, str]:
        written = {id(start): image}  # Keras tensor -> name
        for layer, inputs, output, key in _in_order(list(self.heads.values()), start):
            write = getattr(self, f"_write_{type(layer).__name__}", None)
            if write is None:
                raise ValueError(
                    f"layer '{layer.name}': found a {type(layer).__name__}, expected one of the hourglass's own layers; "
                    "export this model as a SavedModel instead."
                )
            names = [written[id(tensor)] for tensor in inputs]
            name = write(layer, *names, *key)
            self.types.setdefault(name, self.types.get(names[0], "float32"))
            written[id(output)] = name
        return {head: written[id(tensor)] for head, tensor in self.heads.items()}

    def _write_Normalization(self, layer: Any, x: str) -> str:
        mean, variance = (ops.convert_to_numpy(v).reshape(1, -1, 1, 1) for v in (layer.mean, layer.variance))
        return self.graph("Div", self.graph("Sub", x, mean), np.sqrt(variance), name=layer.name)

    def _write_ZeroPadding2D(self, layer: Any, x: str) -> str:
        (top, bottom), (left, right) = layer.padding
        self.padded[f"{x}/{layer.name}"] = x, [top, left, bottom, right]
        return f"{x}/{layer.name}"

    def _write_Conv2D(self, layer: Any, x: str) -> str:
        dtype = "float32" if layer.name in self.last_layers else self.dtype
        kernel = ops.convert_to_numpy(layer.kernel).transpose(3, 2, 0, 1).astype(dtype)
        same = [side // 2 for side in layer.kernel_size] * 2
        x, pads = self.padded.get(x, (x, same if layer.padding == "same" else [0, 0, 0, 0]))
        y = self.graph(
            "Conv",
            x if self.types.get(x, "float32") == dtype else self.graph.cast(x, dtype.replace("32", "")),
            self.graph.constant(kernel, f"{layer.name}/kernel"),
            self.graph.constant(ops.convert_to_numpy(layer.bias).astype(dtype), f"{layer.name}/bias"),
            name=layer.name,
            kernel_shape=layer.kernel_size,
            strides=layer.strides,
            pads=pads,
        )
        y = self.graph("Relu", y) if layer.activation.__name__ == "relu" else y
        self.types[y] = dtype
        return y

    def _write_ReLU(self, layer: Any, x: str) -> str:
        return self.graph("Relu", x, name=layer.name)

    def _write_Add(self, layer: Any, one: str, other: str) -> str:
        return self.graph("Add", one, other, name=layer.name)

    def _write_UpSampling2D(self, layer: Any, x: str) -> str:
        scales = np.array([1, 1, *layer.size], np.float32)
        how: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.graph("Resize", x, "", scales, name=layer.name, **how)

    def _write_GetItem(self, operation: Any, x: str, key: tuple[slice, ...]) -> str:
        steps = np.array([one.step for one in key[1:3]])
        return self.graph("Slice", x, np.zeros(2, int), np.full(2, 2**31), np.array([2, 3]), steps, name=operation.name)


def _in_order(ends: list, start: Any) -> list[tuple]:
    """(layer, input tensors, output tensor, index of a slice or nothing) of all layers from `start` to `ends`, inputs first."""
    ordered, done, waiting = [], {id(start)}, [*ends]
    while waiting:
        tensor = waiting[-1]
        layer, node_index, _ = tensor._keras_history
        node = layer._inbound_nodes[node_index]
        missing = [one for one in node.input_tensors if id(one) not in done]
        if missing and id(tensor) not in done:
            waiting += missing
            continue
        waiting.pop()
        if id(tensor) not in done:
            done.add(id(tensor))
            ordered.append((layer, node.input_tensors, tensor, node.arguments.args[1:]))
    return ordered
