"""Objects of a video, frame by frame -> numbers that they keep, and places that do not tremble.

`tracker.Tracker` takes each frame's detections with the frame's time, and needs no pictures.
"""
