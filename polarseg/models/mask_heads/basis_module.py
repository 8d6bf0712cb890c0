"""BlendMask's bottom modules: the bases of a whole picture.

BlendMask (arXiv 2001.00309), section 3.1.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule, caffe2_xavier_init
from torch import Tensor, nn
from torch.nn import functional as F

from polarseg.models.layers.tower import build_tower
from polarseg.registry import MODELS

__all__ = ['ASPP', 'BasisModule', 'DeepLabBasis', 'ProtoNet']


class BasisModule(BaseModule):
    """What bottom modules share: their tower and the auxiliary head.

    The auxiliary head tells on the finest feature map, in training only, which class of things each
    position shows. It always has plain batch norms.

    Args:
        in_channels: of the feature maps that are used, one number or one for each.
        in_indices: which of the given feature maps are used, the finest first.
        channels: of the convolutions.
        num_convs: 3 x 3 convolutions of the tower before the upsampling.
        num_bases: K.
        norm_cfg: mmcv's, or the name of a norm that needs no options. None for no norm, with biases
            instead; ``''`` for neither, as the published option of that name.
        num_classes: of things, without background. None for no auxiliary head.
        sem_stride: of the finest feature map that is used, pixels, a multiple of ``base_stride``.
        base_stride: of the bases, pixels.
        loss_weight: of the auxiliary loss.
        init_cfg: of mmengine, instead of the published initialisation.

    Raises:
        ValueError: if channels and indices differ in number or the strides do not fit.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int] = 256,
        in_indices: Sequence[int] = (0, 1, 2),
        channels: int = 128,
        num_convs: int = 3,
        num_bases: int = 4,
        norm_cfg: dict | str | None = 'SyncBN',
        num_classes: int | None = 80,
        sem_stride: int = 8,
        base_stride: int = 4,
        loss_weight: float = 0.3,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if isinstance(in_channels, int):
            in_channels = [in_channels] * len(in_indices)
        if len(in_channels) != len(in_indices):
            raise ValueError(
                f'in_channels must be of {len(in_indices)} maps, as in_indices, got '
                f'{len(in_channels)}'
            )
        if sem_stride % base_stride:
            raise ValueError(
                f'sem_stride must be a multiple of base_stride, got {sem_stride}, {base_stride}'
            )
        self.in_channels = tuple(in_channels)
        self.in_indices = tuple(in_indices)
        self.channels = channels
        self.num_convs = num_convs
        self.num_bases = num_bases
        norm = dict(type=norm_cfg) if isinstance(norm_cfg, str) and norm_cfg else norm_cfg
        self.conv_options = dict(norm_cfg=norm or None, bias=norm_cfg is None)
        self.num_classes = num_classes
        self.sem_stride = sem_stride
        self.base_stride = base_stride
        self.scale = sem_stride // base_stride
        self.loss_weight = loss_weight
        self.seg_head = None
        if num_classes is not None:
            self.seg_head = nn.Sequential(
                *build_tower(self.in_channels[0], channels, 2, norm_cfg=dict(type='BN')),
                nn.Conv2d(channels, num_classes + 1, 1),
            )

    def _build_tower(self, in_channels: int) -> nn.Sequential:
        """Convolutions, upsampling to the bases' stride, one more convolution, predictor."""
        before = build_tower(in_channels, self.channels, self.num_convs, **self.conv_options)
        width = self.channels if self.num_convs else in_channels
        return nn.Sequential(
            *before,
            nn.Upsample(scale_factor=self.scale, mode='bilinear'),
            *build_tower(width, self.channels, 1, **self.conv_options),
            nn.Conv2d(self.channels, self.num_bases, 1),
        )

    def init_weights(self) -> None:
        """Kaiming uniform with a = 1, unless there is an ``init_cfg``.

        The predictors keep torch's default.
        """
        super().init_weights()
        if self.init_cfg:
            return
        for module in self.modules():
            if isinstance(module, ConvModule):
                caffe2_xavier_init(module.conv)

    @abstractmethod
    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """The bases.

        Args:
            feats: feature maps of the backbone or the pyramid, ``[B, C, H, W]`` each, those of
                ``in_indices`` among them.

        Returns:
            ``[B, K, H, W]``, of any sign and size.
        """

    def semantic(self, feats: Sequence[Tensor]) -> Tensor:
        """Class logits of the auxiliary head.

        Args:
            feats: as for :meth:`forward`.

        Returns:
            ``[B, 1 + num_classes, H, W]`` at the size of the finest map; 0 is the background.

        Raises:
            ValueError: if there is no auxiliary head.
        """
        if self.seg_head is None:
            raise ValueError('there is no auxiliary head: num_classes is None')
        return self.seg_head(feats[self.in_indices[0]])

    def loss(
        self, feats: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The bases, and the auxiliary loss.

        The loss is the cross-entropy, mean over all positions of the batch, background and padding
        included.

        Args:
            feats: as for :meth:`forward`.
            batch_data_samples: with ``gt_sem_seg.sem_seg`` ``[1, H, W]`` integer, 0 for the
                background and class + 1 for things, padded with 0 to the size of the batch.

        Returns:
            Bases ``[B, K, H, W]``, and ``loss_basis_sem`` unless there is no auxiliary head.

        Raises:
            ValueError: if a label map is missing, of another size than the features, or has labels
                above ``num_classes``.
        """
        bases = self(feats)
        if self.seg_head is None:
            return bases, {}
        logits = self.semantic(feats)
        labels = self._labels(batch_data_samples, logits.shape[2:])
        loss = F.cross_entropy(logits.float(), labels.to(logits.device))
        return bases, dict(loss_basis_sem=self.loss_weight * loss)

    def _labels(self, batch_data_samples: Sequence[DetDataSample], size: tuple[int, int]) -> Tensor:
        """``[B, h, w]`` int64 for a size (h, w), the top left pixel of every block.

        A block that the map cuts off counts, as the feature maps' sizes are rounded up.
        """
        missing = [number for number, s in enumerate(batch_data_samples) if 'gt_sem_seg' not in s]
        if missing:
            raise ValueError(
                f'the auxiliary loss needs gt_sem_seg, which the transform LoadThingSemantic '
                f'makes, got samples without it: {missing}'
            )
        step = self.sem_stride
        maps = [sample.gt_sem_seg.sem_seg[0, ::step, ::step] for sample in batch_data_samples]
        wrong = [list(own.shape) for own in maps if own.shape != size]
        if wrong:
            raise ValueError(
                'thing-semantic maps must have the size of the batch (pad_seg=True and '
                f'seg_pad_value=0 of the DetDataPreprocessor pad them), at stride {step} '
                f'{list(size)}, got {wrong[0]}'
            )
        labels = torch.stack(maps).long()
        # on a GPU, the loss would end in a device-side assertion
        largest = int(labels.max())
        if largest > self.num_classes:
            raise ValueError(
                f'thing-semantic maps must have labels up to num_classes of the basis module, '
                f'{self.num_classes}, got {largest}'
            )
        return labels


@MODELS.register_module()
class ProtoNet(BasisModule):
    """The published bottom module, after YOLACT's (arXiv 1904.02689).

    Every feature map is refined by a 3 x 3 convolution; the sum of all, stretched bilinearly to the
    finest, passes the tower.

    Args:
        kwargs: those of :class:`BasisModule`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.refine = nn.ModuleList(
            ConvModule(own, self.channels, 3, padding=1, **self.conv_options)
            for own in self.in_channels
        )
        self.tower = self._build_tower(self.channels)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """See :meth:`BasisModule.forward`."""
        refined = [conv(feats[index]) for conv, index in zip(self.refine, self.in_indices)]
        total = refined[0]
        for coarse in refined[1:]:
            total = total + _stretch(coarse, total)
        return self.tower(total)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabV3, arXiv 1706.05587, section 3.3).

    A 1 x 1 convolution, dilated 3 x 3 convolutions and the mean of the whole map, projected.

    Args:
        in_channels: of the feature map.
        channels: of every branch and of the result.
        dilations: of the 3 x 3 convolutions.
        conv_options: ``norm_cfg`` and ``bias`` of the convolutions.
    """

    def __init__(
        self, in_channels: int, channels: int, dilations: Sequence[int], conv_options: dict
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvModule(in_channels, channels, 1, **conv_options)])
        for dilation in dilations:
            self.branches.append(
                ConvModule(
                    in_channels, channels, 3, padding=dilation, dilation=dilation, **conv_options
                )
            )
        # no norm: of a batch of one picture there is but one value for each channel
        self.image_pooling = ConvModule(in_channels, channels, 1)
        self.project = ConvModule((2 + len(dilations)) * channels, channels, 1, **conv_options)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_channels, H, W]`` to ``[B, channels, H, W]``."""
        found = [branch(x) for branch in self.branches]
        found.append(self.image_pooling(x.mean(dim=(2, 3), keepdim=True)).expand_as(found[0]))
        return self.project(torch.cat(found, dim=1))


@MODELS.register_module()
class DeepLabBasis(BasisModule):
    """The decoder of DeepLabV3+ (arXiv 1802.02611) as bottom module, of the paper's ablation.

    :class:`ASPP` of the coarsest map, stretched bilinearly to the finest, and a 1 x 1 convolution
    of the finest pass the tower together.

    Args:
        in_indices: the finest and the coarsest map.
        num_convs: as for :class:`BasisModule`; with that behind the upsampling, 1 makes the two
            3 x 3 convolutions of DeepLabV3+.
        dilations: of ASPP. Those of the paper are for stride 16.
        low_channels: to which the finest map is reduced.
        kwargs: the others of :class:`BasisModule`.

    Raises:
        ValueError: if there are not two maps.
    """

    def __init__(
        self,
        in_indices: Sequence[int] = (0, 2),
        num_convs: int = 1,
        dilations: Sequence[int] = (6, 12, 18),
        low_channels: int = 48,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_indices=in_indices, num_convs=num_convs, **kwargs)
        if len(in_indices) != 2:
            raise ValueError(f'in_indices must be the finest and the coarsest, got {in_indices}')
        self.aspp = ASPP(self.in_channels[1], self.channels, dilations, self.conv_options)
        self.low_level = ConvModule(self.in_channels[0], low_channels, 1, **self.conv_options)
        self.tower = self._build_tower(self.channels + low_channels)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """See :meth:`BasisModule.forward`."""
        finest, coarsest = (feats[index] for index in self.in_indices)
        low = self.low_level(finest)
        return self.tower(torch.cat([_stretch(self.aspp(coarsest), low), low], dim=1))


def _stretch(maps: Tensor, like: Tensor) -> Tensor:
    """Bilinearly, corners not aligned, to the height and width of others."""
    return F.interpolate(maps, size=like.shape[2:], mode='bilinear', align_corners=False)
