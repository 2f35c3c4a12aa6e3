"""What a training is told, and what follows where it is told nothing.

`TrainSettings` has every setting with its help; texts are read as values, ranges and combinations checked, defaults found.
"""
