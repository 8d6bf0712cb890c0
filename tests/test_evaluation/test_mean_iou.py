import math

import numpy as np
import pytest

from polarseg.evaluation import MeanIoU
from polarseg.evaluation.mean_iou import confusion_counts

TRUTH = np.array([[0, 0, 0, 1], [1, 1, 255, 255]], np.uint8)
PREDICTION = np.array([[0, 0, 1, 1], [1, 0, 0, 3]], np.int64)


def test_by_hand():
    """Class 0: 2 of 4 pixels, class 1: 2 of 4; 2 and 3 do not occur where the truth counts."""
    matrix = confusion_counts(PREDICTION, TRUTH, 4)
    assert matrix[:2, :2].tolist() == [[2, 1], [1, 2]]
    assert matrix.sum() == 6
    iou = MeanIoU(4)
    iou.add(PREDICTION, TRUTH)
    assert iou.per_class()[:2].tolist() == [0.5, 0.5]
    assert np.isnan(iou.per_class()[2:]).all()
    assert iou.mean() == 0.5


def test_a_class_that_is_only_predicted_counts_as_0():
    iou = MeanIoU(4)
    iou.add(np.array([[0, 2]]), np.array([[0, 0]]))
    assert iou.per_class()[[0, 2]].tolist() == [0.5, 0.0]
    assert iou.mean() == 0.25


def test_nothing_counts():
    iou = MeanIoU(2)
    iou.add(np.zeros((2, 2), int), np.full((2, 2), 255))
    iou.add(np.zeros((0, 2), int), np.zeros((0, 2), int))
    assert math.isnan(iou.mean())


def test_pictures_add_up_as_masks_do():
    random = np.random.default_rng(0)
    truth = random.choice([0, 1, 2, 3, 9], (6, 8, 10))
    prediction = random.integers(0, 4, (6, 8, 10))
    whole, part = MeanIoU(5, ignored=9), MeanIoU(5, ignored=9)
    for index in range(6):
        (whole if index % 2 else part).add(prediction[index], truth[index])
    whole.merge(part)
    kept = truth != 9
    for label in range(4):
        mine, true = (prediction == label) & kept, truth == label
        assert whole.per_class()[label] == (mine & true).sum() / (mine | true).sum()
    with pytest.raises(ValueError, match='5 classes cannot take in 4'):
        whole.merge(MeanIoU(4))


@pytest.mark.parametrize(
    ('prediction', 'truth', 'said'),
    [
        ([[0, 4]], [[0, 1]], r'predicted labels must be in 0 \.\. 3, got 0 \.\. 4'),
        ([[-1, 0]], [[0, 1]], r'predicted labels .* got -1'),
        ([[0, 1]], [[0, 254]], r'true labels .* got 0 \.\. 254'),
        ([[0, 1]], [[0]], r'one size, got \[1, 2\] and \[1, 1\]'),
    ],
)
def test_labels_that_do_not_fit(prediction, truth, said):
    with pytest.raises(ValueError, match=said):
        confusion_counts(np.array(prediction), np.array(truth), 4)
