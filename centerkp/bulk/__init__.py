"""Millions of pictures, on the disk or in an object store -> Parquet, a row for each, by a pool of workers that Ray runs.

The address of a source and a model go in; parts come out, each whole or not there. A run that was killed goes on with the parts
that are missing.
"""
