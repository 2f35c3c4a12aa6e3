"""Images, videos and streams -> objects in pixels of the source.

A detector and sources go in; results come out, as Python objects (`predict`, `detect`) or as pictures, videos and tables
(`stream`).
"""
