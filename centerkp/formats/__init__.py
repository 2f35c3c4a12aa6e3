"""Other tools' label files: what they seem to be, and what stands in them.

A file or folder as another tool writes it goes in; the words of a COCO dataset come out, unchecked: `labels` judges them. It
lies below `labels`, which takes every such file where it takes a COCO JSON.
"""
