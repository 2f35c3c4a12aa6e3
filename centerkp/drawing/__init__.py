"""Pictures of what was labelled, what was found, and what is to be learned.

Pixels with records, detections or targets go in; annotated pixels come out.
"""
