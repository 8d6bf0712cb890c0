"""Detectors whose test batches give each picture what it would get alone."""

from typing import Any

from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import DetDataSample
from torch import Tensor

__all__ = ['IndependentPictures']


class IndependentPictures(SingleStageDetector):
    """mmdet's ``SingleStageDetector``; pictures of a test batch do not influence each other.

    A batch is padded to its largest picture. What is added reaches the features of the others
    through the convolutions near their edges and, through the group normalisation of the towers,
    everywhere, so that a detection would depend on which pictures happen to be in the batch. Here
    the padding beyond a picture's own multiple of ``pad_size_divisor`` is cut off again, and
    pictures that are then of the same size go through the network together. Nothing is computed for
    padding.

    Args:
        split_batches: False leaves a test batch as it is padded, as the published models do.
        args, kwargs: mmdet's.
    """

    def __init__(self, *args: Any, split_batches: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.split_batches = split_batches

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """Predictions of a batch; see mmdet's ``BaseDetector.predict``.

        Args:
            batch_inputs: ``[B, 3, H, W]``, normalised and padded.
            batch_data_samples: with the preprocessor's ``pad_shape``, (height, width) of each
                picture padded by itself. A sample without one is taken to fill the batch.
            rescale: results in pixels of the original pictures.

        Returns:
            The samples with ``pred_instances``.
        """
        whole = tuple(batch_inputs.shape[-2:])
        sizes = [whole] * len(batch_data_samples)
        if self.split_batches:
            sizes = [tuple(sample.get('pad_shape', whole)[:2]) for sample in batch_data_samples]
        for size in dict.fromkeys(sizes):
            rows = [row for row, other in enumerate(sizes) if other == size]
            inputs = batch_inputs if len(rows) == len(sizes) else batch_inputs[rows]
            self.predict_group(
                inputs[..., : size[0], : size[1]],
                [batch_data_samples[row] for row in rows],
                rescale,
            )
        return batch_data_samples

    def predict_group(
        self, inputs: Tensor, data_samples: list[DetDataSample], rescale: bool
    ) -> None:
        """Set ``pred_instances`` of pictures that fill their batch, up to their own padding."""
        super().predict(inputs, data_samples, rescale=rescale)
