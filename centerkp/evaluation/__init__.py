"""Objects -> numbers: average precision, keypoint errors, curves, confusion, speed.

Records and detections go in; an `Evaluation` comes out, and tables of it.
"""
