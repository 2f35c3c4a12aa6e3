"""Label files -> records, and label files -> label files.

A COCO JSON, or what `formats` makes one, and the folder of the images go in; `Record`s that everything after trusts come out,
with a note for all that was mended. Splitting, merging and sigmas write files of the same kinds.
"""
