"""Records -> batches.

A record and a seed go in; one augmented picture with its points comes out (`sample`), and batches of them (`pipeline`).
"""
