"""The network as ONNX nodes, written layer by layer from the folded Keras graph.

A converter that traces the framework's own graph needs many times the weights' memory; the network is nothing but
convolutions, ReLU, additions, maxima and nearest upsampling, and those are written directly: one copy of the weights.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import layers, ops

from centerkp.console import import_extra
from centerkp.export.fold import FoldedNetwork, scale_and_shift

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
        """Adds an initializer to the ONNX graph and returns its name."""
        if isinstance(values, float):
            values = np.float32(values)
        self.constants.append(self._numpy_helper.from_array(np.ascontiguousarray(values).reshape(np.shape(values)), name))
        return name

    def output(self, tensor: str, name: str) -> None:
        """Gives a tensor the name under which the ONNX graph returns it."""
        self.nodes.append(self._helper.make_node("Identity", [tensor], [name], name=name))

    def cast(self, tensor: str, dtype: str) -> str:
        """Adds an ONNX node: the tensor as "float", "float16", "double", "int32", "int64" or "uint8"."""
        return self("Cast", tensor, to=getattr(self._types, dtype.upper()))


def write_network(
    graph: Graph, network: FoldedNetwork, image: str, half: bool = False, wanted: Mapping | None = None
) -> dict[str, str]:
    """Writes the layers of a folded Keras model as ONNX nodes and returns the names of its outputs, `{head: name}`.

    Args:
        network: from `centerkp.export.fold`.
        image: name of the float32 tensor (B, H, W, 3) that goes in; the maps come out as (B, channels, H, W), float32.
        half: float16 for everything between the normalisation and the last convolution of each head.
        wanted: the Keras tensors to be computed, by name; by default the network's outputs.

    Raises:
        ValueError: a layer that has no counterpart here.
    """
    graph.scope = "network"
    return _NetworkWriter(graph, half, network, wanted or network.output).write(network.inputs[0], image)


class _NetworkWriter:
    """One method per kind of layer; tensors are known by their names, and `types` says which are not float32."""

    def __init__(self, graph: Graph, half: bool, network: FoldedNetwork, heads: Mapping) -> None:
        self.graph, self.heads = graph, heads
        self.dtype = "float16" if half else "float32"
        self.last_layers = {tensor._keras_history.operation.name for tensor in network.output.values()}
        self.types: dict[str, str] = {}
        self.padded: dict[str, tuple[str, list[int]]] = {}  # what a convolution is to pad: the tensor without it, and how much

    def write(self, start: Any, image: str) -> dict[str, str]:
        """Writes every layer between `start` and the heads as ONNX nodes, by the method of its kind; returns `{head: name}`."""
        written = {id(start): image}  # Keras tensor -> name
        for layer, inputs, output, key in _list_layers_in_order(list(self.heads.values()), start):
            write = getattr(self, f"_write_{type(layer).__name__}", None)
            if write is None:
                raise ValueError(
                    f"layer '{layer.name}': found a {type(layer).__name__}, expected one of the backbones' own layers; "
                    "export this model as a SavedModel instead."
                )
            names = [written[id(tensor)] for tensor in inputs]
            name = write(layer, *names, *key)
            self.types.setdefault(name, self.types.get(names[0], "float32"))
            written[id(output)] = name
        return {head: written[id(tensor)] for head, tensor in self.heads.items()}

    def _write_Normalization(self, layer: Any, x: str) -> str:
        """The ONNX nodes of the input's normalisation: minus mean, divided by the deviation, channels to the front."""
        mean, variance = (ops.convert_to_numpy(v).reshape(-1) for v in (layer.mean, layer.variance))
        # While the channels are last, as in the picture's bytes: convolutions on processors read them so, and nothing is moved.
        # By rows of bytes, which fill a processor's registers; three channels do not.
        height, width, channels = layer.input.shape[1:]
        rows = self.graph("Reshape", x, np.array([0, height, width * channels]))
        normal = self.graph("Sub", rows, np.tile(mean, width))
        normal = self.graph("Div", normal, np.tile(np.sqrt(variance), width), name=layer.name)
        normal = self.graph("Reshape", normal, np.array([0, height, width, channels]))
        return self.graph("Transpose", normal, name=f"{layer.name}/channels", perm=[0, 3, 1, 2])

    def _write_ZeroPadding2D(self, layer: Any, x: str) -> str:
        """No ONNX node: the padding is noted, for the convolution or pooling behind it to do."""
        (top, bottom), (left, right) = layer.padding
        self.padded[f"{x}/{layer.name}"] = x, [top, left, bottom, right]
        return f"{x}/{layer.name}"

    def _write_Conv2D(self, layer: Any, x: str) -> str:
        """The ONNX Conv of a Keras convolution, with its padding, bias and ReLU; returns its output's name."""
        x, pads = self._find_pads(layer, x)
        kernel = ops.convert_to_numpy(layer.kernel).transpose(3, 2, 0, 1)
        return self._convolve(layer, x, kernel, layer.bias, pads=pads, strides=layer.strides)

    def _write_DepthwiseConv2D(self, layer: Any, x: str) -> str:
        """The ONNX Conv, one group a channel, of a Keras depthwise convolution."""
        x, pads = self._find_pads(layer, x)
        return self._convolve_depthwise(layer, x, layer.kernel, layer.bias, pads=pads, strides=layer.strides)

    def _write_SeparableConv2D(self, layer: Any, x: str) -> str:
        """The two ONNX Convs of a Keras separable convolution: by channel, then across channels."""
        x, pads = self._find_pads(layer, x)
        y = self._convolve_depthwise(layer, x, layer.depthwise_kernel, None, pads=pads, strides=layer.strides)
        return self._convolve(layer, y, ops.convert_to_numpy(layer.pointwise_kernel).transpose(3, 2, 0, 1), layer.bias)

    def _write_Conv2DTranspose(self, layer: Any, x: str) -> str:
        """The ONNX ConvTranspose of a Keras layer; what "same" cuts off, as TensorFlow has it."""
        kernel = ops.convert_to_numpy(layer.kernel).transpose(3, 2, 0, 1)  # (input, output, h, w)
        spare = [side - stride for side, stride in zip(layer.kernel_size, layer.strides, strict=True)]
        pads = [one // 2 for one in spare] + [one - one // 2 for one in spare]
        return self._convolve(layer, x, kernel, layer.bias, "ConvTranspose", pads=pads, strides=layer.strides)

    def _convolve_depthwise(self, layer: Any, x: str, kernel: Any, bias: Any, **how: Any) -> str:
        """An ONNX Conv with one group a channel, from a Keras kernel (h, w, channels, filters)."""
        kernel = ops.convert_to_numpy(kernel)
        rows, columns, channels, filters = kernel.shape
        kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * filters, 1, rows, columns)
        name = f"{layer.name}{'' if bias is not None else '/depthwise'}"
        return self._convolve(layer, x, kernel, bias, name=name, group=channels, **how)

    def _convolve(
        self, layer: Any, x: str, kernel: np.ndarray, bias: Any, operation: str = "Conv", name: str | None = None, **how: Any
    ) -> str:
        """The ONNX node of a convolution with its constants, cast to its type, and its activation where it has a bias."""
        dtype, name = "float32" if layer.name in self.last_layers else self.dtype, name or layer.name
        constants = [self.graph.constant(kernel.astype(dtype), f"{name}/kernel")]
        if bias is not None:
            constants.append(self.graph.constant(ops.convert_to_numpy(bias).astype(dtype), f"{name}/bias"))
        x = x if self.types.get(x, "float32") == dtype else self.graph.cast(x, dtype.replace("32", ""))
        y = self.graph(operation, x, *constants, name=name, kernel_shape=kernel.shape[2:], **how)
        self.types[y] = dtype
        if bias is not None and layer.activation.__name__ == "relu":
            y = self.graph("Relu", y)
            self.types[y] = dtype
        return y

    def _find_pads(self, layer: Any, x: str) -> tuple[str, list[int]]:
        """The ONNX tensor without a padding that the convolution does itself, and how much it pads on each side."""
        if layer.padding == "valid":
            return self.padded.get(x, (x, [0, 0, 0, 0]))
        spare = [
            max((-(-size // stride) - 1) * stride + side - size, 0)
            for size, side, stride in zip(layer.input.shape[1:3], layer.kernel_size, layer.strides, strict=True)
        ]
        return x, [one // 2 for one in spare] + [one - one // 2 for one in spare]

    def _write_MaxPooling2D(self, layer: Any, x: str) -> str:
        """The ONNX MaxPool of a Keras layer, behind a Pad of zeros where values below zero could win."""
        x, pads = self.padded.get(x, (x, [0, 0, 0, 0]))
        dtype = self.types.get(x, "float32")
        if any(pads) and not self._is_relu(layer.input):
            # The padding is of zeros, and they count where values are below: the operator's own never wins.
            top, left, bottom, right = pads
            x = self.graph(
                "Pad", x, np.array([0, 0, top, left, 0, 0, bottom, right]), np.zeros((), dtype), name=f"{layer.name}/pad"
            )
            pads = [0, 0, 0, 0]
        y = self.graph("MaxPool", x, name=layer.name, kernel_shape=layer.pool_size, strides=layer.strides, pads=pads)
        self.types[y] = dtype
        return y

    @staticmethod
    def _is_relu(padded: Any) -> bool:
        """Whether what was padded with zeros comes from a ReLU layer, and has nothing below them."""
        source = padded._keras_history.operation.input
        return isinstance(source._keras_history.operation, layers.ReLU)

    def _write_BatchNormalization(self, layer: Any, x: str) -> str:
        """The ONNX Mul and Add of a BatchNormalization that could not be folded into a convolution."""
        dtype = self.types.get(x, "float32")
        factor, shift = (one.reshape(1, -1, 1, 1).astype(dtype) for one in scale_and_shift(layer))
        scaled = self.graph("Mul", x, factor, name=f"{layer.name}/scale")
        return self.graph("Add", scaled, shift, name=layer.name)

    def _write_ReLU(self, layer: Any, x: str) -> str:
        """The ONNX Relu of a Keras layer, or a Clip where it has a maximum, as ReLU6."""
        if layer.max_value is None:
            return self.graph("Relu", x, name=layer.name)
        limits = np.array([0, layer.max_value], self.types.get(x, "float32"))
        return self.graph("Clip", x, limits[0], limits[1], name=layer.name)

    def _write_Add(self, layer: Any, one: str, other: str) -> str:
        """The ONNX Add of two tensors that a Keras layer sums."""
        return self.graph("Add", one, other, name=layer.name)

    def _write_UpSampling2D(self, layer: Any, x: str) -> str:
        """The ONNX Resize of a Keras layer that repeats pixels."""
        scales = np.array([1, 1, *layer.size], np.float32)
        how: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.graph("Resize", x, "", scales, name=layer.name, **how)

    def _write_GetItem(self, operation: Any, x: str, key: tuple[slice, ...]) -> str:
        """The ONNX Slice of a Keras tensor's rows and columns at a step, such as x[:, ::2, ::2]."""
        steps = np.array([one.step for one in key[1:3]])
        return self.graph("Slice", x, np.zeros(2, int), np.full(2, 2**31), np.array([2, 3]), steps, name=operation.name)


def _list_layers_in_order(ends: list, start: Any) -> list[tuple]:
    """Keras layers to write as ONNX, inputs first: (layer, input tensors, output tensor, index of a slice or nothing)."""
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
