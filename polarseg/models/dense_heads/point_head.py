"""What heads that predict at every location of a feature pyramid have in common."""

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmdet.utils import reduce_mean
from torch import Tensor

from polarseg.models.task_modules import PointAssigner, PointPostprocessor
from polarseg.registry import MODELS, TASK_UTILS

__all__ = ['PointHead']


class PointHead(BaseDenseHead):
    """Locations, their assignment and selection, class and centerness loss, and averages.

    Args:
        num_classes: C, without background.
        strides: of the levels, pixels.
        classifier: name of the layer that gives the class logits, whose bias starts at the class
            prior of 0.01.
        inclusive_boxes: whether boxes name their last pixel, in assignment and NMS.
        sync_avg_factor: whether numbers that divide a loss are averaged over all processes.
        assigner: config of the :class:`~polarseg.models.task_modules.PointAssigner`.
        loss_cls, loss_centerness: configs of the losses; focal and binary cross-entropy by default.
        train_cfg: unused, kept for mmdet's interface.
        test_cfg: arguments of the :class:`~polarseg.models.task_modules.PointPostprocessor`.
        init_cfg: initialisation; the default is N(0, 0.01) with the class prior.
    """

    candidates = 'location'
    """What the post-processor counts, unless ``test_cfg`` says otherwise."""

    def __init__(
        self,
        num_classes: int,
        strides: Sequence[int],
        classifier: str,
        inclusive_boxes: bool,
        sync_avg_factor: bool,
        assigner: dict,
        loss_cls: dict | None,
        loss_centerness: dict | None,
        train_cfg: dict | None,
        test_cfg: dict | None,
        init_cfg: dict | None,
    ) -> None:
        prior = dict(type='Normal', name=classifier, std=0.01, bias_prob=0.01)
        default_init = dict(type='Normal', layer='Conv2d', std=0.01, override=prior)
        super().__init__(init_cfg=init_cfg or default_init)
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.inclusive_boxes = inclusive_boxes
        self.sync_avg_factor = sync_avg_factor
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.point_generator = MlvlPointGenerator(self.strides, offset=0.5)
        self.assigner: PointAssigner = TASK_UTILS.build(
            dict(type='PointAssigner') | dict(assigner) | dict(inclusive_boxes=inclusive_boxes)
        )
        self.loss_cls = MODELS.build(loss_cls or dict(type='FocalLoss', use_sigmoid=True))
        self.loss_centerness = MODELS.build(
            loss_centerness or dict(type='CrossEntropyLoss', use_sigmoid=True)
        )

    def locations(
        self, sizes: Sequence[tuple[int, int]], device: torch.device | str
    ) -> list[Tensor]:
        """``[H_l * W_l, 2]`` float32 x, y of each level, row by row, pixels of the network input.

        Args:
            sizes: (height, width) of the levels' feature maps.
            device: where they live.
        """
        return self.point_generator.grid_priors(sizes, dtype=torch.float32, device=device)

    def postprocessor(self, cfg: dict | None) -> PointPostprocessor:
        """The post-processor with the arguments ``cfg``, or those of ``test_cfg``."""
        return TASK_UTILS.build(
            dict(type='PointPostprocessor', candidates=self.candidates)
            | dict(cfg or self.test_cfg or {})
            | dict(inclusive_boxes=self.inclusive_boxes)
        )

    def averaged(self, value: float | Tensor, like: Tensor) -> Tensor:
        """A float32 number on the device of ``like``, averaged over processes if asked for."""
        value = torch.as_tensor(value, dtype=torch.float32, device=like.device)
        return reduce_mean(value) if self.sync_avg_factor else value
