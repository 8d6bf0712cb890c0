"""Mean IoU of semantic maps."""

import math

import numpy as np

__all__ = ['MeanIoU', 'confusion_counts']


def confusion_counts(
    prediction: np.ndarray, truth: np.ndarray, num_classes: int, ignored: int = 255
) -> np.ndarray:
    """How often each pair of labels meets in a picture.

    Args:
        prediction: ``[H, W]`` integer labels in 0 .. ``num_classes`` - 1.
        truth: ``[H, W]`` integer labels, or ``ignored``.
        num_classes: C.
        ignored: label of true pixels that do not count.

    Returns:
        ``[C, C]`` int64: row the true, column the predicted label.

    Raises:
        ValueError: if the sizes differ or a label is out of range.
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f'maps must be of one size, got {list(prediction.shape)} and {list(truth.shape)}'
        )
    counted = truth != ignored
    truth, prediction = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, labels in (('predicted', prediction), ('true', truth)):
        if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
            raise ValueError(
                f'{name} labels must be in 0 .. {num_classes - 1}, '
                f'got {labels.min()} .. {labels.max()}'
            )
    pairs = np.bincount(truth * num_classes + prediction, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


class MeanIoU:
    """IoU of every class over all pixels of a data set.

    Args:
        num_classes: C.
        ignored: label of true pixels that do not count.
    """

    def __init__(self, num_classes: int, ignored: int = 255) -> None:
        self.num_classes = num_classes
        self.ignored = ignored
        self.confusion = np.zeros((num_classes, num_classes), np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Take in a picture; see :func:`confusion_counts`."""
        self.confusion += confusion_counts(prediction, truth, self.num_classes, self.ignored)

    def merge(self, other: 'MeanIoU') -> None:
        """Take in the pictures of another.

        Raises:
            ValueError: if its number of classes is another.
        """
        if other.num_classes != self.num_classes:
            raise ValueError(f'{self.num_classes} classes cannot take in {other.num_classes}')
        self.confusion += other.confusion

    def per_class(self) -> np.ndarray:
        """``[C]`` float64 IoU; not a number where a class is neither true nor predicted."""
        hits = np.diag(self.confusion)
        unions = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - hits
        return np.divide(hits, unions, out=np.full(len(hits), math.nan), where=unions > 0)

    def mean(self) -> float:
        """Over the classes that occur in truth or predictions; not a number without any."""
        ious = self.per_class()
        ious = ious[~np.isnan(ious)]
        return float(ious.mean()) if ious.size else math.nan
