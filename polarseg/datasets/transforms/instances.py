"""The arrays of a picture that hold one entry for each instance."""

import numpy as np

from polarseg.datasets.skip_log import SkipLog

__all__ = ['INSTANCE_KEYS', 'keep_instances', 'leave_out']

INSTANCE_KEYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks')


def keep_instances(results: dict, keep: np.ndarray) -> None:
    """Keep the instances of a picture at the (K,) int64 indices ``keep``, in all their arrays."""
    for key in INSTANCE_KEYS:
        if key in results:
            results[key] = results[key][keep]


def leave_out(results: dict, left: np.ndarray, skips: SkipLog, reason: str) -> None:
    """Keep the instances of a picture where ``left`` is True; the others are logged and counted.

    Args:
        results: of a pipeline; changed in place.
        left: (G,) bool.
        skips: log of the transform that asks.
        reason: what is said of each instance that goes.
    """
    for index in np.flatnonzero(~left):
        skips.add(reason, f'instance {index} of image {results.get("img_id")}')
    if not left.all():
        keep_instances(results, np.flatnonzero(left))
