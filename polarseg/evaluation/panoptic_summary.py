"""One line of figures for a panoptic model, as papers print it."""

from collections.abc import Mapping

__all__ = ['panoptic_summary']

COLUMNS = {
    'PQ': ('coco_panoptic/PQ', 1),
    'SQ': ('coco_panoptic/SQ', 1),
    'RQ': ('coco_panoptic/RQ', 1),
    'PQ things': ('coco_panoptic/PQ_th', 1),
    'PQ stuff': ('coco_panoptic/PQ_st', 1),
    'mIoU': ('coco_panoptic/mIoU', 1),
    'box AP': ('coco/bbox_mAP', 100),
    'thing AP': ('coco/segm_mAP', 100),
}
"""Heading: name of the figure in an evaluator's results, and what makes percent of it."""


def panoptic_summary(scores: Mapping[str, float]) -> str | None:
    """The table of the appendix of BlendMask (arXiv 2001.00309), one row in Markdown.

    Args:
        scores: results of :class:`~polarseg.evaluation.CocoPanopticQualityMetric` and, beside it,
            :class:`~polarseg.evaluation.CocoInstanceMetric`.

    Returns:
        Percentages with one decimal; ``-`` for what has not been evaluated, and for what has no
        figure (not a number, or COCO's -1) since nothing of it occurs. None without PQ.
    """
    if 'coco_panoptic/PQ' not in scores:
        return None
    cells = [
        f'{factor * scores[name]:.1f}' if scores.get(name, -1) >= 0 else '-'
        for name, factor in COLUMNS.values()
    ]
    rows = [list(COLUMNS), ['---'] * len(COLUMNS), cells]
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)
