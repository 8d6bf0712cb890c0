"""The arrays of a picture that hold one entry for each instance."""

import numpy as np

__all__ = ['INSTANCE_KEYS', 'keep_instances']

INSTANCE_KEYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks')


def keep_instances(results: dict, keep: np.ndarray) -> None:
    """Keep the instances of a picture at the (K,) int64 indices ``keep``, in all their arrays."""
    for key in INSTANCE_KEYS:
        if key in results:
            results[key] = results[key][keep]
