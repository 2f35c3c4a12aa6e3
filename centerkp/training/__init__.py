"""Settings and records -> a trained model in a run folder.

`TrainSettings` go in; `best.keras`, `last.keras`, the log, numbers and pictures come out.
"""
