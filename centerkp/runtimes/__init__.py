"""Whatever can stand where a model stands: exported artefacts, with one runner for each format.

The path of an artefact goes in; a detector comes out that answers `predict_on_batch` as a `CenterNet` does.
"""
