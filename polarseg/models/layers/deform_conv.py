"""Deformable convolutions as layers, on the operator of ``polarseg.ops``.

They are mmcv's layers with another operator: constructors, parameters, state dictionaries and what
mmengine's optimiser constructor does to offset convolutions are theirs, so checkpoints fit both
ways.

``conv_cfg=dict(type='DCN')`` and ``'DCNv2'`` are these layers where the default scope is
``polarseg``; ``'polarseg.DCNv2'`` is this one, and ``'mmengine.DCNv2'`` mmcv's, under every scope.
"""

import torch
from mmcv.ops import DeformConv2dPack as MMDeformConv2dPack
from mmcv.ops import ModulatedDeformConv2dPack as MMModulatedDeformConv2dPack
from torch import Tensor

from polarseg.ops import deform_conv2d
from polarseg.registry import MODELS

__all__ = ['DeformConv2dPack', 'ModulatedDeformConv2dPack']


@MODELS.register_module('DCN')
class DeformConv2dPack(MMDeformConv2dPack):
    """Deformable convolution v1 (arXiv 1703.06211) with the convolution that gives its offsets.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size, stride, padding, dilation, groups: as ``nn.Conv2d``'s.
        deform_groups: parts of the channels with offsets of their own.
        bias: must be False.
        im2col_step: accepted for the sake of mmcv's configs, without effect. Any batch size works.
    """

    def init_weights(self) -> None:
        """Fresh weight, zero offsets.

        mmcv has no such method, so that the initialisation of the network around the layer, such as
        a ``ResNet``'s, leaves it with random offsets.
        """
        self.reset_parameters()
        self.init_offset()

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C', H', W']``."""
        offset = self.conv_offset(x)
        return deform_conv2d(
            x,
            offset,
            self.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            deform_groups=self.deform_groups,
        )


@MODELS.register_module('DCNv2')
class ModulatedDeformConv2dPack(MMModulatedDeformConv2dPack):
    """Deformable convolution v2 (arXiv 1811.11168) with the convolution of its offsets and mask.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size, stride, padding, dilation, groups: as ``nn.Conv2d``'s.
        deform_groups: parts of the channels with offsets and masks of their own.
        bias: whether there is one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C', H', W']``."""
        # The first two thirds are offsets, dy and dx alternating.
        first, second, mask = torch.chunk(self.conv_offset(x), 3, dim=1)
        return deform_conv2d(
            x,
            torch.cat((first, second), dim=1),
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            mask=torch.sigmoid(mask),
            groups=self.groups,
            deform_groups=self.deform_groups,
        )
