"""The stack of convolutions that stands before the predictors of a dense head."""

from mmcv.cnn import ConvModule
from torch import nn

__all__ = ['build_tower']


def build_tower(
    in_channels: int,
    channels: int,
    num_convs: int,
    norm_cfg: dict | None = None,
    conv_cfg: dict | None = None,
    bias: bool | str = 'auto',
) -> nn.Sequential:
    """``num_convs`` times 3x3 convolution, normalisation, ReLU.

    Args:
        in_channels: of the feature maps.
        channels: of every convolution.
        num_convs: length; 0 gives an empty tower, which is the identity.
        norm_cfg: mmcv's, such as ``dict(type='GN', num_groups=32)``.
        conv_cfg: mmcv's, such as ``dict(type='DCNv2', deform_groups=1)``.
        bias: whether the convolutions have one; 'auto' is only without normalisation.
    """
    return nn.Sequential(
        *(
            ConvModule(
                in_channels if index == 0 else channels,
                channels,
                3,
                padding=1,
                norm_cfg=norm_cfg,
                conv_cfg=conv_cfg,
                bias=bias,
            )
            for index in range(num_convs)
        )
    )
