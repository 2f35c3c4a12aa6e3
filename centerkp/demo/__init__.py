"""Drawn scenes with exact labels: the demonstration dataset.

A seed and a size go in; pictures of tools on a bench with their boxes and keypoints come out. `cli/demo.py` trains on them.
"""
