"""COCO bbox and segm AP over every form in which our detectors hold masks."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCOeval
from mmdet.evaluation.metrics import CocoMetric
from mmengine.fileio import dump, load
from mmengine.logging import MMLogger

from polarseg.registry import METRICS
from polarseg.structures import masks_to_rle
from polarseg.structures.coco_format import ordered_category_ids
from polarseg.structures.panoptic import thing_classes

__all__ = ['CocoInstanceMetric']

COCO_MAX_DETS = 100
NO_DETECTION_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@METRICS.register_module()
class CocoInstanceMetric(CocoMetric):
    """mmdet's ``CocoMetric`` for masks held as polygons, RLE or pixels.

    Masks with a ``to_rle`` method become RLE when the results of a picture are taken in, so that no
    full-size picture outlives its batch. Labels follow the order of the data set's classes, as in
    :class:`~polarseg.datasets.CocoInstanceDataset`; of mmdet's panoptic data sets, that of their
    things.

    Where a model gives its masks scores of their own (``mask_scores``: CenterMask), box AP uses
    ``scores`` and mask AP ``mask_scores``. Mask results that are written to a file carry no box,
    so that whoever evaluates it takes the areas of the masks, as is done here.

    Args:
        inclusive_boxes: boxes name their last pixel (the published +1 convention): their COCO width
            is ``x2 - x1 + 1``.
        max_dets: detections of a picture that count. COCO's 100 is too few for pictures with
            hundreds of objects; raise ``max_per_img`` of the model with it. pycocotools fixes the
            overall AP to 100, so any other number costs a second evaluation.

    Raises:
        ValueError: if ``max_dets`` is below 100.
    """

    def __init__(
        self,
        *args: Any,
        inclusive_boxes: bool = False,
        max_dets: int = COCO_MAX_DETS,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault('proposal_nums', (10, COCO_MAX_DETS, max_dets))
        super().__init__(*args, **kwargs)
        if max_dets < COCO_MAX_DETS:
            raise ValueError(f'max_dets must be at least {COCO_MAX_DETS}, got {max_dets}')
        self.max_dets = max_dets
        self.inclusive_boxes = inclusive_boxes

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Take in one batch; see ``CocoMetric.process``."""
        for sample in data_samples:
            if 'masks' in sample['pred_instances']:
                masks = sample['pred_instances']['masks']
                sample['pred_instances']['masks'] = masks_to_rle(masks)
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """AP of the collected results; see ``CocoMetric.compute_metrics``."""
        if self._coco_api is not None:
            self.cat_ids = ordered_category_ids(self._coco_api, thing_classes(self.dataset_meta))
        scores = super().compute_metrics(results)
        if self.outfile_prefix is not None:
            _remove_boxes(f'{self.outfile_prefix}.segm.json')
        if not scores and not self.format_only:
            # mmdet gives nothing where there is no detection at all
            return {f'{kind}_{item}': 0.0 for kind in self.metrics for item in NO_DETECTION_ITEMS}
        if self.max_dets != COCO_MAX_DETS:
            for kind in set(self.metrics) & {'bbox', 'segm'}:
                if f'{kind}_mAP' in scores:
                    predictions = [prediction for _, prediction in results]
                    scores[f'{kind}_mAP'] = self._overall_ap(predictions, kind)
        return scores

    def _overall_ap(self, predictions: Sequence[dict], kind: str) -> float:
        """AP over all IoU thresholds, classes and sizes at ``max_dets`` detections a picture."""
        with tempfile.TemporaryDirectory() as folder:
            found = load(self.results2json(predictions, f'{folder}/results')[kind])
        evaluator = COCOeval(self._coco_api, self._coco_api.loadRes(found), kind)
        evaluator.params.catIds = self.cat_ids
        evaluator.params.imgIds = self.img_ids
        evaluator.params.maxDets = [self.max_dets]
        evaluator.params.iouThrs = self.iou_thrs
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluator.evaluate()
        evaluator.accumulate()
        precision = evaluator.eval['precision']
        valid = precision[precision > -1]
        score = round(float(valid.mean()), 3) if valid.size else -1.0
        MMLogger.get_current_instance().info(
            f'{kind}_mAP with up to {self.max_dets} detections a picture: {score:.3f}'
        )
        return score

    def gt_to_coco_json(self, gt_dicts: Sequence[dict], outfile_prefix: str) -> str:
        """Ground truth of the samples as a COCO file, where ``ann_file`` is not given."""
        if self.inclusive_boxes:
            gt_dicts = [dict(gt, anns=list(map(_to_continuous, gt['anns']))) for gt in gt_dicts]
        return super().gt_to_coco_json(gt_dicts, outfile_prefix)

    def xyxy2xywh(self, bbox: np.ndarray) -> list[float]:
        """x1, y1, x2, y2 in the convention in force to COCO's x, y, width, height."""
        x, y, width, height = super().xyxy2xywh(bbox)
        edge = 1 if self.inclusive_boxes else 0
        return [x, y, width + edge, height + edge]


def _remove_boxes(path: str) -> None:
    """Take the boxes out of a file of mask results, if there is one.

    pycocotools would take their areas, in place of those of the masks, for an object's size. While
    it computes, mmdet's metric removes them by itself.
    """
    if not Path(path).is_file():
        return
    found = load(path)
    for entry in found:
        entry.pop('bbox', None)
    dump(found, path)


def _to_continuous(annotation: dict) -> dict:
    x1, y1, x2, y2 = annotation['bbox']
    return dict(annotation, bbox=[x1, y1, x2 + 1, y2 + 1])
