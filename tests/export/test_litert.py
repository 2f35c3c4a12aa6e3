import json
import zipfile

import numpy as np
import pytest

from centerkp.export.fold import fold
from centerkp.export.litert import write_litert
from centerkp.inference.model_loading import load_detector
from centerkp.runtimes.artefact import OUTPUTS

PIXELS = {"fp32": 1e-2, "fp16": 0.5, "int8": 8.0}


@pytest.mark.parametrize("precision", PIXELS)
def test_best_object_equals_keras(precision, tiny_model, inputs, tmp_path):
    samples = list(zip(*inputs.values(), strict=True)) if precision == "int8" else ()
    path = write_litert(fold(tiny_model), tmp_path / "m.tflite", precision=precision, samples=samples)
    detector = load_detector(path)
    ours, theirs = detector.predict_on_batch(inputs), tiny_model.predict_on_batch(inputs)
    assert set(ours) == set(OUTPUTS) and ours["class_ids"].dtype == np.int32 and ours["boxes"].shape == (4, 20, 4)
    for i in range(4):
        nearest = np.abs(ours["boxes"][i] - np.asarray(theirs["boxes"])[i, 0]).max(axis=1)
        nearest[ours["class_ids"][i] != np.asarray(theirs["class_ids"])[i, 0]] = np.inf
        assert nearest.min() < PIXELS[precision]
        if precision == "fp32":
            np.testing.assert_allclose(ours["keypoints"][i, 0], np.asarray(theirs["keypoints"])[i, 0], atol=1e-2)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("schema.json"))["precision"] == precision
    assert detector.schema == tiny_model.schema
    assert detector.thresholds == tiny_model.thresholds and detector.thresholds.objects == (40, 25, 0)
    if precision == "int8":
        check_types(path)


def check_types(path):
    """Convolutions in 8 bits but for the heads' last ones, and nothing of the decoder."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    operators = schema.BuiltinOperator
    kinds = {operators.CONV_2D: "conv", operators.LOGISTIC: "decode", operators.TOPK_V2: "decode", operators.GATHER: "decode"}
    types = {"conv": [], "decode": []}
    for i in range(graph.OperatorsLength()):
        operation = graph.Operators(i)
        kind = kinds.get(model.OperatorCodes(operation.OpcodeIndex()).BuiltinCode())
        if kind:
            types[kind].append(graph.Tensors(operation.Inputs(0)).Type())
    assert types["conv"].count(schema.TensorType.FLOAT32) == 6
    assert types["conv"].count(schema.TensorType.INT8) == len(types["conv"]) - 6 > 10
    assert types["decode"] and schema.TensorType.INT8 not in types["decode"]
