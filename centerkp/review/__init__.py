"""Labels and what a model found -> the labels that are probably wrong, worst first, and corrected label files.

Records and detections go in; suspects come out, as a page, as a COCO JSON for a labelling tool, and as corrections of it.
"""
