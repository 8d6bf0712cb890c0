"""mmdet's loading of panoptic annotations, without a package that no index has."""

from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.datasets.transforms import LoadPanopticAnnotations as _LoadPanopticAnnotations
from mmdet.structures.mask import BitmapMasks
from mmengine.fileio import get

from polarseg.registry import TRANSFORMS
from polarseg.structures.label_maps import UNLABELLED
from polarseg.structures.panoptic_png import read_panoptic_map

__all__ = ['LoadPanopticAnnotations']


@TRANSFORMS.register_module()
class LoadPanopticAnnotations(_LoadPanopticAnnotations):
    """mmdet's ``LoadPanopticAnnotations``, for mmdet's panoptic models and data sets.

    Boxes, masks without overlaps and the semantic map (classes in contiguous numbers, 255 void) all
    come from the panoptic PNG. mmdet's refuses to be built without panopticapi, and where a PNG is
    not what the annotation says it goes on with empty masks.

    Args:
        kwargs: mmdet's: ``with_bbox``, ``with_label``, ``with_mask``, ``with_seg``, ``box_type``,
            ``backend_args``.
    """

    def __init__(self, *, with_mask: bool = True, with_seg: bool = True, **kwargs: Any) -> None:
        # not mmdet's own, which imports panopticapi
        LoadAnnotations.__init__(self, with_mask=with_mask, with_seg=with_seg, **kwargs)

    def _load_masks_and_semantic_segs(self, results: dict) -> None:
        """Add ``gt_masks`` and ``gt_seg_map``, ``[H, W]`` int32; nothing without a PNG.

        Raises:
            OSError: if the PNG cannot be read.
            PanopticFileError: if it is no panoptic PNG, is of another size than the picture, or has
                an id that no segment has.
        """
        path = results.get('seg_map_path')
        if path is None:
            return
        infos = results['segments_info']
        segments = [
            dict(id=info['id'], category_id=info['category'], isthing=info['is_thing'])
            for info in infos
        ]
        size = tuple(results['ori_shape'])
        content = get(path, backend_args=self.backend_args)
        panoptic = read_panoptic_map(path, segments, size, content)
        if self.with_mask:
            things = [info['id'] for info in infos if info['is_thing']]
            masks = [(panoptic.ids == number).astype(np.uint8) for number in things]
            results['gt_masks'] = BitmapMasks(masks, *size)
        if self.with_seg:
            classes = {info['category']: info['category'] for info in infos}
            labels = panoptic.semantic(classes, void=UNLABELLED)
            results['gt_seg_map'] = labels.astype(np.int32)
