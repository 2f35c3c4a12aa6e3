"""Deterministic weights for the CenterNet-Hourglass checkpoints used as reference data.

Standalone: needs numpy only.  make_variable(key, shape) gives the float32
array of one checkpoint variable from its checkpoint key and its shape alone.
The key is the full key as listed in the manifest, with the suffix
'/.ATTRIBUTES/VARIABLE_VALUE'.
"""

import zlib

import numpy as np

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def role_of(key):
    """One of: conv, conv_res2, conv_skip, head_hidden, head_out (kernels);
    gamma, gamma_res2, beta, mean, var; bias_hidden, bias_out."""
    parts = key[: -len(SUFFIX)].split("/")
    leaf = parts[-1]
    if "_prediction_head_dict" in parts:
        last = parts[-2] == "layer_with_weights-1"
        if leaf == "kernel":
            return "head_out" if last else "head_hidden"
        return "bias_out" if last else "bias_hidden"
    # backbone: .../<owner>/{conv,norm}/<leaf>
    owner = parts[-3]
    plain_conv_block = owner in ("conv_block", "skip") or parts[-4] in (
        "output_conv",
        "intermediate_conv1",
        "intermediate_conv2",
    )
    if leaf == "kernel":
        if owner == "skip":
            return "conv_skip"
        return "conv" if plain_conv_block else "conv_res2"
    if leaf == "gamma":
        return "gamma" if plain_conv_block else "gamma_res2"
    return {"beta": "beta", "moving_mean": "mean", "moving_variance": "var"}[leaf]


KERNEL_GAIN = {"conv": 1.4, "conv_res2": 1.0, "conv_skip": 1.0, "head_hidden": 1.4}


def kernel_gain(key, role):
    if role != "head_out":
        return KERNEL_GAIN[role]
    # last 1x1 convolution of a head: smaller for the second stack (its
    # features are larger), smaller again for the offset and centre heads
    head, stack = key.split("/_prediction_head_dict/")[1].split("/")[:2]
    gain = 0.5 if stack == "0" else 0.15
    if head.endswith("Soffset"):
        return gain * 0.3
    return gain * 0.5 if head == "object_center" else gain


def bias_base(key):
    """Centre of the last bias of a head, from the head's name."""
    head = key.split("/_prediction_head_dict/")[1].split("/")[0]
    if head == "object_center" or head.endswith(".Sheatmap"):
        return -2.19
    if head == "box.Sscale":
        return 10.0
    if head.endswith("Soffset"):
        return 0.5
    return 0.0


def make_variable(key, shape):
    rng = np.random.default_rng(zlib.crc32(key.encode("utf-8")))
    shape = tuple(shape)
    role = role_of(key)
    f = np.float32
    if role in KERNEL_GAIN or role == "head_out":
        fan_in = int(np.prod(shape[:-1]))
        scale = f(kernel_gain(key, role) / np.sqrt(fan_in))
        return rng.standard_normal(shape, dtype=f) * scale
    u = rng.random(shape, dtype=f)  # uniform in [0, 1)
    if role == "gamma":
        return f(0.9) + f(0.2) * u
    if role == "gamma_res2":
        return f(0.3) + f(0.2) * u
    if role == "var":
        return f(0.5) + u
    if role in ("beta", "mean", "bias_hidden"):
        return f(0.2) * (u - f(0.5))
    if role == "bias_out":
        b = f(bias_base(key)) + f(0.4) * (u - f(0.5))
        if "/object_center/" in key and shape[0] == 90:
            b[0] += f(4.0)  # let the class with keypoints be detected
        return b
    raise ValueError(role)
