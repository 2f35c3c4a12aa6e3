"""What the places of keypoints say about left and right, whatever the keypoints are called.

Labelled objects go in; whether their mirror images occur comes out, which keypoints swap in a mirror, and a sentence about it.
"""
