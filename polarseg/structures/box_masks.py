"""Instances held as maps of probabilities over boxes until somebody asks for pixels."""

from torch import Tensor

from polarseg.ops import paste_masks_to_rle
from polarseg.structures.compact_masks import CompactMasks

__all__ = ['BoxMaskInstances']

PASTE_RULES = ('half_pixel', 'integer_box')


class BoxMaskInstances(CompactMasks):
    """The masks of N instances of one picture, one map of probabilities over a box each.

    Stands as ``masks`` in an ``InstanceData``: it is indexed by instance and moves between devices
    like a tensor. Pixels and RLE are made on request, see
    :func:`polarseg.ops.paste_masks_to_rle`.

    Args:
        probabilities: ``[N, R, S]`` float in [0, 1].
        boxes: ``[N, 4]`` float x1, y1, x2, y2 in pixels of a picture of ``height`` x ``width``.
        height: of the picture.
        width: of the picture.
        rule: 'half_pixel' (CenterMask2, BlendMask, mmdet: at least the threshold is foreground) or
            'integer_box' (original CenterMask: above it).
        threshold: of the probabilities.

    Raises:
        ValueError: if shapes do not fit together or the rule is none.
    """

    def __init__(
        self,
        probabilities: Tensor,
        boxes: Tensor,
        height: int,
        width: int,
        rule: str = 'half_pixel',
        threshold: float = 0.5,
    ) -> None:
        super().__init__(height, width)
        if probabilities.dim() != 3:
            raise ValueError(f'probabilities must be [N, R, S], got {list(probabilities.shape)}')
        if boxes.shape != (len(probabilities), 4):
            raise ValueError(f'boxes must be [{len(probabilities)}, 4], got {list(boxes.shape)}')
        if rule not in PASTE_RULES:
            raise ValueError(f'rule must be one of {PASTE_RULES}, got {rule!r}')
        self.probabilities = probabilities
        self.boxes = boxes
        self.rule = rule
        self.threshold = float(threshold)

    def __repr__(self) -> str:
        count, rows, columns = self.probabilities.shape
        name = type(self).__name__
        return f'{name}({count} maps of {rows}x{columns}, {self.height}x{self.width})'

    @property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        return self.probabilities, self.boxes

    def _with(self, probabilities: Tensor, boxes: Tensor) -> 'BoxMaskInstances':
        return BoxMaskInstances(
            probabilities, boxes, self.height, self.width, self.rule, self.threshold
        )

    def to_rle(self) -> list[dict]:
        """COCO RLE of every mask: ``{'size': [height, width], 'counts': bytes}``."""
        return paste_masks_to_rle(
            self.probabilities.detach().float(),
            self.boxes.detach().float(),
            self.height,
            self.width,
            self.threshold,
            self.rule,
        )
