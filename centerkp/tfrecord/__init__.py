"""TFRecords of the Object Detection API, written and read without it.

Records go in and sharded files with their images come out; or a pattern of such files goes in, and the `Dataset` that a COCO
JSON would give comes out, whose images stay where they are until they are needed.
"""
