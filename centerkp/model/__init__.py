"""Images -> maps: the network, its losses, its cost, and its `.keras` file.

A schema and the name of a backbone go in; a `CenterNet` comes out. It knows neither label files nor checkpoints.
"""
