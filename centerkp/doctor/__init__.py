"""What is wrong with a dataset, and its mending.

A label file and its images go in; findings, numbers of the dataset and a mended copy come out. It listens to the reader in
`labels`, and so never disagrees with it.
"""
