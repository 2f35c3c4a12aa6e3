"""Settings -> several trainings, and what they come to together.

`TrainSettings` go in; run folders inside of one come out, with numbers over all of them.
"""
