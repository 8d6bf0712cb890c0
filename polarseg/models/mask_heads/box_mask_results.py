"""From maps of probabilities over detected boxes to the final instances of a picture."""

from mmengine.structures import InstanceData
from torch import Tensor

from polarseg.structures import BoxMaskInstances

__all__ = ['place_box_masks']


def place_box_masks(
    found: InstanceData,
    probabilities: Tensor,
    meta: dict,
    rescale: bool,
    paste_rule: str = 'half_pixel',
    threshold: float = 0.5,
    clip_boxes: bool = True,
    inclusive_boxes: bool = False,
) -> InstanceData:
    """Scale the boxes of a picture to the output, clip them, and put the masks into them.

    Maps, though predicted for the whole box, are stretched over the clipped one, as in the
    published models (CenterMask2, BlendMask).

    Args:
        found: ``bboxes`` ``[K, 4]`` in pixels of the network's input and any other fields.
        probabilities: ``[K, R, R]`` float32 in [0, 1].
        meta: ``img_shape`` and, to rescale, ``ori_shape`` and ``scale_factor`` (x, y).
        rescale: results in pixels of the original picture instead of the network's input.
        paste_rule: see :class:`~polarseg.structures.BoxMaskInstances`.
        threshold: of the probabilities.
        clip_boxes: limit the boxes to the output and drop those of no width or height.
        inclusive_boxes: boxes name their last pixel (the published +1 convention).

    Returns:
        All fields of ``found``, ``bboxes`` in pixels of the output, and ``masks``
        (:class:`~polarseg.structures.BoxMaskInstances`), in the order of ``found``.
    """
    boxes = found.bboxes
    if rescale and 'scale_factor' in meta:
        boxes = boxes / boxes.new_tensor(list(meta['scale_factor'])[:2]).repeat(2)
    height, width = meta['ori_shape' if rescale else 'img_shape'][:2]
    edge = 1 if inclusive_boxes else 0
    if clip_boxes:
        extent = boxes.new_tensor([width, height]).repeat(2)
        boxes = boxes.clamp(min=0).minimum(extent - edge)
    masks = BoxMaskInstances(
        probabilities, boxes, height, width, rule=paste_rule, threshold=threshold
    )
    placed = InstanceData(**dict(found.items()) | dict(bboxes=boxes, masks=masks))
    if clip_boxes:
        sides = boxes[:, 2:] - boxes[:, :2] + edge
        placed = placed[(sides > 0).all(dim=1)]
    return placed
