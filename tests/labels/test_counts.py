"""What there is to learn from, counted by hand."""

import pytest
from coco_files import make_record

from centerkp.labels.counts import count_labels, require_labels
from centerkp.schema import Schema

CATEGORIES = [{"id": 15, "name": "tool", "keypoints": ["tip", "left_grip", "right_grip"]}, {"id": 3, "name": "bolt"}]


class TestLabels:
    schema = Schema.from_coco({"categories": CATEGORIES})  # bolt without keypoints, tool with three

    def test_counts_by_hand(self):
        records = [
            make_record(1, [1, 1], [[1, 2, 0], [2, 2, 0]]),
            make_record(2, [0, 1], [[0, 0, 0], [2, 2, 2]], is_crowd=[False, True]),
            make_record(3, []),
        ]
        counts = count_labels(records, self.schema)
        assert counts.objects.tolist() == [1, 2]
        assert counts.crowds.tolist() == [0, 1]
        assert counts.images.tolist() == [1, 2]
        assert counts.occluded.tolist() == [1, 0, 0]
        assert counts.visible.tolist() == [1, 2, 0]
        assert counts.labelled.tolist() == [2, 2, 0]

    def test_refuses_a_keypoint_class_without_labelled_points(self):
        with pytest.raises(ValueError, match=r"'tool' \(category id 15: 1 object, all keypoints with visibility 0\)"):
            require_labels([make_record(1, [1])], self.schema)
        with pytest.raises(ValueError, match=r"'tool' \(category id 15: no objects\)"):
            require_labels([make_record(1, [0])], self.schema)

    def test_passes_with_one_labelled_point_and_without_keypoint_names(self):
        require_labels([make_record(1, [1], [[0, 1, 0]])], self.schema)
        require_labels([], Schema.generic(2))
