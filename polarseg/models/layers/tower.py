"""The stack of convolutions that stands before the predictors of a dense head."""

from mmcv.cnn import ConvModule, build_norm_layer
from torch import Tensor, nn

__all__ = ['GROUP_NORM', 'ConvLevelNorm', 'Tower', 'build_tower']

GROUP_NORM = dict(type='GN', num_groups=32)
"""The normalisation of the published towers."""


class ConvLevelNorm(nn.Module):
    """A 3x3 convolution shared by the levels, a normalisation for each of them, ReLU.

    The statistics of a batch norm belong to one level: features of different strides differ.

    Args:
        in_channels: of the feature maps.
        channels: of the result.
        num_levels: how many normalisations there are.
        norm_cfg: mmcv's, such as ``dict(type='SyncBN')``.
        conv_cfg: mmcv's.
        bias: whether the convolution has one; 'auto' is no.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_levels: int,
        norm_cfg: dict,
        conv_cfg: dict | None = None,
        bias: bool | str = 'auto',
    ) -> None:
        super().__init__()
        bias = False if bias == 'auto' else bias
        block = ConvModule(
            in_channels, channels, 3, padding=1, conv_cfg=conv_cfg, act_cfg=None, bias=bias
        )
        self.conv = block.conv
        self.norms = nn.ModuleList(
            build_norm_layer(norm_cfg, channels)[1] for _ in range(num_levels)
        )

    def forward(self, feat: Tensor, level: int) -> Tensor:
        """``[B, in_channels, H, W]`` of a level -> ``[B, channels, H, W]``."""
        return self.norms[level](self.conv(feat)).relu()


class Tower(nn.Sequential):
    """Blocks one after the other; those that tell the levels apart are told the level."""

    def forward(self, feat: Tensor, level: int = 0) -> Tensor:
        """``[B, in_channels, H, W]`` -> ``[B, channels, H, W]``; an empty tower is the identity."""
        for block in self:
            feat = block(feat, level) if isinstance(block, ConvLevelNorm) else block(feat)
        return feat


def build_tower(
    in_channels: int,
    channels: int,
    num_convs: int,
    norm_cfg: dict | None = None,
    conv_cfg: dict | None = None,
    bias: bool | str = 'auto',
    last_conv_cfg: dict | None = None,
    norm_levels: int = 0,
) -> Tower:
    """``num_convs`` times 3x3 convolution, normalisation, ReLU.

    Args:
        in_channels: of the feature maps.
        channels: of every convolution.
        num_convs: length; 0 gives an empty tower, which is the identity.
        norm_cfg: mmcv's, such as ``dict(type='GN', num_groups=32)``.
        conv_cfg: mmcv's, such as ``dict(type='DCNv2', deform_groups=1)``.
        bias: whether the convolutions have one; 'auto' is only without normalisation.
        last_conv_cfg: ``conv_cfg`` of the last convolution, if it is another.
        norm_levels: each of so many levels has normalisations of its own. 0: they share them.

    Raises:
        ValueError: for normalisations of the levels without ``norm_cfg``.
    """
    if norm_levels and norm_cfg is None:
        raise ValueError(f'norm_levels={norm_levels} needs a norm_cfg, got None')
    blocks = []
    for index in range(num_convs):
        options = dict(norm_cfg=norm_cfg, conv_cfg=conv_cfg, bias=bias)
        if index == num_convs - 1 and last_conv_cfg is not None:
            options['conv_cfg'] = last_conv_cfg
        source = in_channels if index == 0 else channels
        if norm_levels:
            blocks.append(ConvLevelNorm(source, channels, norm_levels, **options))
        else:
            blocks.append(ConvModule(source, channels, 3, padding=1, **options))
    return Tower(*blocks)
