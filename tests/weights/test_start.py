from centerkp.model.backbones import find_backbone
from centerkp.schema import Schema
from centerkp.weights.start import build_from_weights, build_model


def test_training_goes_on_from_a_model_that_has_no_stacks(tmp_path):
    """Other backbones than hourglasses do not know the word."""
    stages = [[3, 1, 8, 1, 1], [3, 2, 12, 3, 2], [5, 2, 12, 2, 2], [3, 1, 16, 2, 2]]
    widths = {"stem_channels": 8, "last_channels": 24, "pyramid_channels": [16, 12, 8], "head_channels": 8}
    backbone = find_backbone({"kind": "mobilenet", "stages": stages, "taps": [1, 2]} | widths)
    first = build_model(Schema.generic(1, 2), backbone=backbone, image_size=64)
    first.save(tmp_path / "best.keras")
    model, _ = build_from_weights(first.schema, tmp_path / "best.keras", backbone=backbone, image_size=64)
    assert model.backbone == backbone
    for ours, theirs in zip(model.weights, first.weights, strict=True):
        assert ours.path == theirs.path and (ours.numpy() == theirs.numpy()).all(), ours.path
