"""Models -> artefacts, each compared with Keras before it is called done.

A trained model and a format go in; a file that `runtimes` can run comes out, with the report of the comparison.
"""
