"""Deterministic weights for the CenterNet checkpoints with ResNet and MobileNet backbones used as reference data.

Standalone: needs numpy only.  make_variable(key, shape, layer, model) gives the float32 array of one checkpoint variable.
`key` is the full checkpoint key with its suffix, `layer` the Keras layer's name as in the manifest ("layer" of the entry;
for heads it is not looked at), `model` one of mobilenetv2_fpn, resnet50_v1_fpn, resnet50_v2.  Random bits come from key and
shape, as in weights_recipe.py; only the scale looks at layer and model.
"""

import re
import zlib

import numpy as np

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
FIRST_GAIN = 4.0  # the first convolution of MobileNet V2, so that some activations pass 6
V2_RES_GAIN = 0.35  # the last convolution of a ResNet V2 branch, which no BN follows
CAFFE_FIRST_GAIN = 0.02  # the first convolution of ResNet V1, whose input is +-128 and not +-1


def role_of(key, layer=""):
    parts = key[: -len(SUFFIX)].split("/")
    leaf = parts[-1]
    if "_prediction_head_dict" in parts:
        last = parts[-2] == "layer_with_weights-1"
        return {
            "kernel": "head_out" if last else "head_hidden",
            "bias": "bias_out" if last else "bias_hidden",
            "depthwise_kernel": "sep_depthwise",
            "pointwise_kernel": "head_hidden",
        }[leaf]
    if leaf == "depthwise_kernel":
        return "sep_depthwise" if layer.startswith("separable") else "depthwise"
    if leaf == "pointwise_kernel":
        return "conv"
    if leaf in ("kernel", "gamma"):
        # the last convolution of a branch that is added to another, and its BN
        last_of_branch = bool(re.search(r"(_3_(conv|bn)|block_(2|4|5|7|8|9|11|12|14|15)_project(_BN)?)$", layer))
        linear = bool(re.search(r"_project$", layer))
        if leaf == "gamma":
            return "gamma_res" if last_of_branch else "gamma"
        if "_feature_extractor_model" in parts:
            return "transpose" if "transpose" in layer else "conv"  # 1x1: see kernel_gain
        if layer == "predictions":
            return "unused"
        if layer.endswith("_0_conv"):
            return "conv_skip"
        return "conv_res" if last_of_branch or linear else "conv"
    return {"beta": "beta", "moving_mean": "mean", "moving_variance": "var", "bias": "bias"}[leaf]


GAIN = {
    "conv": 1.4,
    "conv_res": 1.0,
    "conv_skip": 1.0,
    "head_hidden": 1.4,
    "depthwise": 1.4,
    "sep_depthwise": 1.0,
    "transpose": 1.4,
    "unused": 1.0,
}
HEAD_OUT = 0.25


def fan_in(role, shape):
    if role in ("depthwise", "sep_depthwise"):
        return shape[0] * shape[1]  # (kh, kw, channels, 1)
    if role == "transpose":
        return shape[0] * shape[1] * shape[3] / 4  # (kh, kw, out, in), stride 2: a quarter of the taps meet a pixel
    return int(np.prod(shape[:-1]))


def kernel_gain(key, shape, role, layer, model):
    if role == "head_out":
        head = key.split("/_prediction_head_dict/")[1].split("/")[0]
        if head.endswith("Soffset"):
            return HEAD_OUT * 0.3
        return HEAD_OUT * 0.5 if head == "object_center" else HEAD_OUT
    if layer == "conv1_conv" and model == "resnet50_v1_fpn":
        return CAFFE_FIRST_GAIN
    if role == "conv_res" and model == "resnet50_v2":
        return V2_RES_GAIN
    if layer == "Conv1":
        return FIRST_GAIN
    if role == "conv" and "_feature_extractor_model" in key and tuple(shape[:2]) == (1, 1):
        return 1.0  # lateral and top 1x1 of a pyramid
    return GAIN[role]


def bias_base(key):
    head = key.split("/_prediction_head_dict/")[1].split("/")[0]
    if head == "object_center" or head.endswith(".Sheatmap"):
        return -2.19
    if head == "box.Sscale":
        return 10.0
    if head.endswith("Soffset"):
        return 0.5
    return 0.0


def make_variable(key, shape, layer, model):
    rng = np.random.default_rng(zlib.crc32(key.encode("utf-8")))
    shape = tuple(shape)
    role = role_of(key, layer)
    f = np.float32
    if role in GAIN or role == "head_out":
        scale = f(kernel_gain(key, shape, role, layer, model) / np.sqrt(fan_in(role, shape)))
        return rng.standard_normal(shape, dtype=f) * scale
    u = rng.random(shape, dtype=f)  # uniform in [0, 1)
    if role == "gamma":
        return f(0.9) + f(0.2) * u
    if role == "gamma_res":
        return f(0.3) + f(0.2) * u
    if role == "var":
        return f(0.5) + u
    if role in ("beta", "mean", "bias", "bias_hidden"):
        return f(0.2) * (u - f(0.5))
    if role == "bias_out":
        b = f(bias_base(key)) + f(0.4) * (u - f(0.5))
        if "/object_center/" in key and shape[0] == 90:
            b[0] += f(4.0)
        return b
    raise ValueError(role)
