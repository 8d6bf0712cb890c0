"""VoVNet V1 and V2: one-shot aggregation of a row of convolutions."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmdet.models.layers import SELayer
from mmdet.models.layers.se_layer import ChannelAttention
from mmengine.model import BaseModule, Sequential
from mmengine.model.weight_init import constant_init
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from polarseg.models.backbones.staged import StagedBackbone, check_choice
from polarseg.registry import MODELS

__all__ = ['OSABlock', 'VoVNet']


class _Arch(NamedTuple):
    """A row of the table of networks; tuples of four are stages 2 to 5."""

    stem: tuple[int, int, int]
    widths: tuple[int, int, int, int]
    outputs: tuple[int, int, int, int]
    layers: int
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1)
    depthwise: bool = False


_STEM, _STEM_DW = (64, 64, 128), (64, 64, 64)
_WIDTHS, _OUTPUTS = (128, 160, 192, 224), (256, 512, 768, 1024)
_SLIM_WIDTHS, _SLIM_OUTPUTS = (64, 80, 96, 112), (112, 256, 384, 512)
_ARCHS = {
    'V-19-slim-dw': _Arch(_STEM_DW, _SLIM_WIDTHS, _SLIM_OUTPUTS, 3, depthwise=True),
    'V-19-dw': _Arch(_STEM_DW, _WIDTHS, _OUTPUTS, 3, depthwise=True),
    'V-19-slim': _Arch(_STEM, _SLIM_WIDTHS, _SLIM_OUTPUTS, 3),
    'V-19': _Arch(_STEM, _WIDTHS, _OUTPUTS, 3),
    'V-39': _Arch(_STEM, _WIDTHS, _OUTPUTS, 5, (1, 1, 2, 2)),
    'V-57': _Arch(_STEM, _WIDTHS, _OUTPUTS, 5, (1, 1, 4, 3)),
    'V-99': _Arch(_STEM, _WIDTHS, _OUTPUTS, 5, (1, 3, 9, 3)),
}
_ATTENTIONS = ('eSE', 'SE', None)


def _attention(kind: str | None, channels: int) -> nn.Module | None:
    """Attention over channels; both kinds end in the hard sigmoid relu6(x + 3) / 6."""
    if kind is None:
        return None
    if kind == 'eSE':
        return ChannelAttention(channels)
    with warnings.catch_warnings():
        # mmcv tells of its old defaults even where both numbers are given
        warnings.filterwarnings('ignore', message='In MMCV v1.4.4')
        gate = dict(type='HSigmoid', bias=3.0, divisor=6.0)
        return SELayer(channels, ratio=4, act_cfg=(dict(type='ReLU'), gate))


def _unit(
    in_channels: int,
    out_channels: int,
    stride: int = 1,
    depthwise: bool = False,
    conv_cfg: dict | None = None,
    norm_cfg: dict | None = None,
) -> nn.Module:
    """A 3x3 convolution, its norm and a ReLU.

    If ``depthwise``, a depthwise 3x3 and a pointwise 1x1 convolution without norm or ReLU between.
    """
    common = dict(stride=stride, padding=1, bias=False, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
    if depthwise:
        return DepthwiseSeparableConvModule(
            in_channels, out_channels, 3, dw_norm_cfg=None, dw_act_cfg=None, **common
        )
    return ConvModule(in_channels, out_channels, 3, **common)


class OSABlock(BaseModule):
    """One-shot aggregation: a row of layers, all of whose outputs one 1x1 convolution joins.

    Section 3.2 of the VoVNet paper (arXiv 1904.09730), with the identity mapping and the eSE of
    VoVNetV2 (arXiv 1911.06667, section 2.3).

    Args:
        in_channels: C.
        width: channels of each of the layers.
        out_channels: C'.
        num_layers: how many 3x3 layers there are.
        identity: whether the input is added at the end, after the attention; needs C = C'.
        depthwise: depthwise separable layers. Where C is not ``width``, a 1x1 convolution
            (``reduction``) leads to the first one; what is aggregated is the unreduced input.
        attention: 'eSE', 'SE' (reduction 4) or None.
        conv_cfg: of all convolutions.
        dcn: config of a deformable layer in place of the 3x3 convolutions, or None.
        norm_cfg: of all norms.
        with_cp: whether activations are computed again in the backward pass, to save memory.
            Norms that are not frozen then see each batch twice.

    Raises:
        ValueError: for an identity between different widths, or deformable depthwise layers.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        num_layers: int,
        identity: bool = False,
        depthwise: bool = False,
        attention: str | None = 'eSE',
        conv_cfg: dict | None = None,
        dcn: dict | None = None,
        norm_cfg: dict | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        if identity and in_channels != out_channels:
            raise ValueError(
                f'identity needs as many input as output channels, got {in_channels} and '
                f'{out_channels}'
            )
        if depthwise and dcn is not None:
            raise ValueError('depthwise layers cannot be deformable: choose another arch or no dcn')
        norm_cfg = norm_cfg or dict(type='BN')
        self.identity = identity
        self.with_cp = with_cp
        self.reduction = None
        width_in = in_channels
        if depthwise and in_channels != width:
            self.reduction = ConvModule(
                in_channels, width, 1, bias=False, conv_cfg=conv_cfg, norm_cfg=norm_cfg
            )
            width_in = width
        layer_cfg = dict(depthwise=depthwise, conv_cfg=dcn or conv_cfg, norm_cfg=norm_cfg)
        self.layers = nn.ModuleList(
            _unit(width if number else width_in, width, **layer_cfg) for number in range(num_layers)
        )
        self.concat = ConvModule(
            in_channels + num_layers * width,
            out_channels,
            1,
            bias=False,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
        )
        self.attention = _attention(attention, out_channels)

    def init_weights(self) -> None:
        """As mmengine does it; convolutions of offsets start at zero."""
        super().init_weights()
        for module in self.modules():
            # the network's Kaiming initialisation has been there before
            if hasattr(module, 'conv_offset'):
                constant_init(module.conv_offset, 0)

    def _aggregate(self, x: Tensor) -> Tensor:
        outputs = [x]
        features = x if self.reduction is None else self.reduction(x)
        for layer in self.layers:
            features = layer(features)
            outputs.append(features)
        features = self.concat(torch.cat(outputs, dim=1))
        if self.attention is not None:
            features = self.attention(features)
        return features + x if self.identity else features

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C', H, W]``."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self._aggregate, x, use_reentrant=False)
        return self._aggregate(x)


@MODELS.register_module()
class VoVNet(StagedBackbone):
    """VoVNet: a stem of stride 4 and four stages of one-shot aggregation blocks.

    VoVNetV2 (arXiv 1911.06667, section 2.3) has ``attention='eSE'`` and ``identity=True``; VoVNetV1
    (arXiv 1904.09730) ``attention=None`` and ``identity=False``, with the same stages.

    Stages are counted 0 to 3, as mmdet's ``ResNet`` does; the papers call them 2 to 5, and so do
    the modules ``stage2`` to ``stage5``. Stages after the last output are not built.

    Args:
        arch: 'V-19-slim-dw', 'V-19-dw', 'V-19-slim', 'V-19', 'V-39', 'V-57' or 'V-99'.
        out_indices: stages whose features are returned; 0 has stride 4, 3 has stride 32.
        attention: 'eSE', 'SE' (squeeze-excitation with reduction 4, for ablations) or None.
        attention_blocks: 'all' blocks of a stage, as published, or its 'last' alone, as timm's.
        identity: whether all blocks of a stage but the first add their input.
        frozen_stages: -1: nothing; 0: the stem is frozen (no gradient, norms in evaluation mode);
            n: and stages 0 to n - 1. The published freeze value is ``frozen_stages + 1``.
        conv_cfg: of all convolutions.
        dcn: config of a deformable layer in place of the 3x3 layers of the stages that
            ``stage_with_dcn`` flags, such as ``dict(type='DCNv2', deform_groups=1)``.
            ``fallback_on_stride``, which mmdet's ResNet takes here, has no effect: no layer of a
            stage has a stride.
        stage_with_dcn: four flags.
        norm_cfg: of all norms. Frozen batch norms by default: affine parameters without gradient.
        norm_eval: whether batch norms keep their statistics in training.
        with_cp: whether blocks compute their activations again in the backward pass, to save
            memory. Norms that are not frozen then see each batch twice.
        init_cfg: mmengine's, such as ``dict(type='Pretrained', checkpoint=FILE)``; Kaiming normal
            by default.

    Raises:
        ValueError: for values other than these, and for depthwise networks with deformable stages.
    """

    def __init__(
        self,
        arch: str,
        out_indices: Sequence[int] = (1, 2, 3),
        attention: str | None = 'eSE',
        attention_blocks: str = 'all',
        identity: bool = True,
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        dcn: dict | None = None,
        stage_with_dcn: Sequence[bool] = (False, False, False, False),
        norm_cfg: dict | None = None,
        norm_eval: bool = True,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(out_indices, frozen_stages, norm_eval, init_cfg or self._default_init())
        check_choice('arch', arch, _ARCHS)
        check_choice('attention', attention, _ATTENTIONS)
        check_choice('attention_blocks', attention_blocks, ('all', 'last'))
        if len(stage_with_dcn) != 4:
            raise ValueError(f'stage_with_dcn must have four flags, got {stage_with_dcn!r}')
        self.arch = arch
        self._layer_cfg = dict(
            conv_cfg=conv_cfg, norm_cfg=norm_cfg or dict(type='BN', requires_grad=False)
        )
        self._block_cfg = dict(identity=identity, attention=attention, with_cp=with_cp)
        self._attention_blocks = attention_blocks
        settings = _ARCHS[arch]
        if dcn is None:
            stage_with_dcn = (False,) * 4
        elif settings.depthwise and any(stage_with_dcn):
            raise ValueError(
                f'{arch} has depthwise layers, which cannot be deformable: choose another arch or '
                'leave dcn out'
            )
        else:
            dcn = {key: value for key, value in dcn.items() if key != 'fallback_on_stride'}
        self.stem = self._make_stem(settings)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        for stage in range(max(out_indices) + 1):
            blocks = self._make_stage(settings, stage, dcn if stage_with_dcn[stage] else None)
            self.add_module(f'stage{stage + 2}', blocks)
        self.freeze_stages()

    @staticmethod
    def _default_init() -> list[dict]:
        convolutions = ['Conv2d', 'DeformConv2dPack', 'ModulatedDeformConv2dPack']
        return [
            dict(type='Kaiming', layer=convolutions),
            dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
        ]

    def _make_stem(self, settings: _Arch) -> nn.Module:
        """Three units with strides 2, 1 and 2, the first always an ordinary convolution."""
        channels = (3, *settings.stem)
        return Sequential(
            *(
                _unit(
                    channels[number],
                    channels[number + 1],
                    stride=stride,
                    depthwise=settings.depthwise and number > 0,
                    **self._layer_cfg,
                )
                for number, stride in enumerate((2, 1, 2))
            )
        )

    def _make_stage(self, settings: _Arch, stage: int, dcn: dict | None) -> nn.Module:
        """The blocks of a stage; the first one leads from the stage before and has no identity."""
        count = settings.blocks[stage]
        out_channels = settings.outputs[stage]
        first_in = settings.outputs[stage - 1] if stage else settings.stem[-1]
        blocks = []
        for number in range(count):
            options = dict(self._block_cfg)
            options['identity'] &= number > 0
            if self._attention_blocks == 'last' and number < count - 1:
                options['attention'] = None
            blocks.append(
                OSABlock(
                    out_channels if number else first_in,
                    settings.widths[stage],
                    out_channels,
                    settings.layers,
                    depthwise=settings.depthwise,
                    dcn=dcn,
                    **options,
                    **self._layer_cfg,
                )
            )
        return Sequential(*blocks)

    def stem_modules(self) -> list[nn.Module]:
        """The stem."""
        return [self.stem]

    def stages(self) -> list[nn.Module]:
        """``stage2`` and those that follow it."""
        return [getattr(self, f'stage{stage + 2}') for stage in range(max(self.out_indices) + 1)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Pictures ``[N, 3, H, W]`` -> ``[N, C_i, H_i, W_i]`` of the stages in ``out_indices``.

        Sizes are halved i + 2 times: by the stem's two strides from n to (n + 1) // 2, by the pools
        before stages 1 to 3 from n to n // 2.
        """
        x = self.stem(x)
        outputs = []
        for number, stage in enumerate(self.stages()):
            x = stage(self.pool(x) if number else x)
            if number in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
