"""mmdet's loading of panoptic annotations, without a package that no index has."""

from typing import Any

from mmdet.datasets.transforms import LoadAnnotations
from mmdet.datasets.transforms import LoadPanopticAnnotations as _LoadPanopticAnnotations

from polarseg.registry import TRANSFORMS
from polarseg.structures.panoptic_files import colors_to_ids

__all__ = ['LoadPanopticAnnotations']


@TRANSFORMS.register_module()
class LoadPanopticAnnotations(_LoadPanopticAnnotations):
    """mmdet's ``LoadPanopticAnnotations``, for mmdet's panoptic models and data sets.

    Boxes, masks without overlaps and the semantic map (classes in contiguous numbers, 255 void) all
    come from the panoptic PNG. mmdet's refuses to be built without panopticapi, of which it needs
    one line: from colours to ids.

    Args:
        kwargs: mmdet's: ``with_bbox``, ``with_label``, ``with_mask``, ``with_seg``, ``box_type``,
            ``imdecode_backend``, ``backend_args``.
    """

    def __init__(self, *, with_mask: bool = True, with_seg: bool = True, **kwargs: Any) -> None:
        # not mmdet's own, which imports panopticapi
        LoadAnnotations.__init__(self, with_mask=with_mask, with_seg=with_seg, **kwargs)
        self.rgb2id = colors_to_ids
