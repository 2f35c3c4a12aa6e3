"""What to start from: zoo checkpoints, `.keras` files, random numbers -> a model.

A schema and the name of weights go in; a `CenterNet` with these weights comes out, with a report of what moved.
"""
