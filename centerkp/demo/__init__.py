"""Drawn scenes with exact labels: the demonstration dataset, and pictures without end.

A seed and a size go in; pictures of tools on a bench with their boxes and keypoints come out, on which `cli/demo.py` trains.
Many kinds of things on any ground (`endless.py`) are what `benchmarks/pretrain.py` trains light networks on.
"""
