"""Deep layer aggregation: trees of blocks whose outputs are joined at their roots."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmcv.cnn import ConvModule, build_norm_layer
from mmdet.models.backbones.resnet import BasicBlock as MMBasicBlock
from mmdet.models.backbones.resnet import Bottleneck as MMBottleneck
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from polarseg.models.backbones.staged import StagedBackbone, check_choice
from polarseg.registry import MODELS

__all__ = ['DLA', 'DLATree']


class _Basic(MMBasicBlock):
    """mmdet's block of two 3x3 convolutions, to which another tensor than the input is added."""

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """``[N, C, H, W]`` and what is added, ``[N, C', H', W']`` -> ``[N, C', H', W']``."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        return self.relu(out + residual)


class _Bottleneck(MMBottleneck):
    """mmdet's bottleneck, half as wide inside, to which another tensor than the input is added.

    The 3x3 convolution has the stride.
    """

    expansion = 2

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """``[N, C, H, W]`` and what is added, ``[N, C', H', W']`` -> ``[N, C', H', W']``."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        out = self.norm3(self.conv3(out))
        return self.relu(out + residual)


class _Arch(NamedTuple):
    """A row of the table of networks; tuples of four are levels 2 to 5."""

    block: type[nn.Module]
    tree_depths: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    residual_root: bool = False


_STEM = (16, 16, 32)
_WIDE = (128, 256, 512, 1024)
_ARCHS = {
    34: _Arch(_Basic, (1, 2, 2, 1), (64, 128, 256, 512)),
    60: _Arch(_Bottleneck, (1, 2, 3, 1), _WIDE),
    102: _Arch(_Bottleneck, (1, 3, 4, 1), _WIDE, residual_root=True),
    169: _Arch(_Bottleneck, (2, 3, 5, 1), _WIDE, residual_root=True),
}


class _Root(ConvModule):
    """Joins the outputs of a tree: a 1x1 convolution of all of them, norm, ReLU.

    Args:
        in_channels: of all tensors together.
        out_channels: C'.
        norm_cfg: of the norm.
        residual: whether the first tensor, of C' channels, is added before the ReLU.
    """

    def __init__(
        self, in_channels: int, out_channels: int, norm_cfg: dict, residual: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False, norm_cfg=norm_cfg, act_cfg=None)
        self.residual = residual

    def forward(self, joined: Sequence[Tensor]) -> Tensor:
        """``[N, C_i, H, W]`` of each tensor -> ``[N, C', H, W]``."""
        out = super().forward(torch.cat(list(joined), dim=1))
        if self.residual:
            out = out + joined[0]
        return out.relu()


class DLATree(BaseModule):
    """A tree of blocks: iterative and hierarchical aggregation in one.

    Section 3.2 and figure 2 of the DLA paper (arXiv 1707.06484). A tree of depth 1 is two blocks
    and a root that joins them with whatever the trees around it pass on; a deeper one is two trees
    of one depth less, the second of which receives the output of the first.

    Trees deeper than 1 that change the width own a ``project`` (1x1 convolution and norm) that
    nothing reads: published files have it, and every tree inside makes its own. In training it
    gets a gradient of 0, so that optimisers and distributed training find all parameters in use.

    Args:
        block: class of the blocks, whose ``forward`` takes the input and what is added to it.
        depth: of the tree.
        in_channels: C.
        out_channels: C'.
        norm_cfg: of all norms.
        stride: of the first block, 1 or 2.
        level_root: whether the (pooled) input is one of the tensors that the last root joins.
        joined_channels: of what the trees around pass on to the root.
        residual_root: whether roots add the output of their second block.
    """

    def __init__(
        self,
        block: type[nn.Module],
        depth: int,
        in_channels: int,
        out_channels: int,
        norm_cfg: dict,
        stride: int = 1,
        level_root: bool = False,
        joined_channels: int = 0,
        residual_root: bool = False,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.level_root = level_root
        # conv3x3 of stride 2 rounds odd sizes up, and so must the pool beside it
        self.pool = nn.MaxPool2d(stride, stride, ceil_mode=True) if stride > 1 else None
        self.project = None
        if in_channels != out_channels:
            self.project = Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                build_norm_layer(norm_cfg, out_channels)[1],
            )
        joined_channels += in_channels * level_root
        if depth == 1:
            width = out_channels // block.expansion
            self.tree1 = block(in_channels, width, stride, norm_cfg=norm_cfg)
            self.tree2 = block(out_channels, width, norm_cfg=norm_cfg)
            self.root = _Root(
                2 * out_channels + joined_channels, out_channels, norm_cfg, residual_root
            )
            return
        inner = dict(norm_cfg=norm_cfg, residual_root=residual_root)
        self.tree1 = DLATree(block, depth - 1, in_channels, out_channels, stride=stride, **inner)
        self.tree2 = DLATree(
            block,
            depth - 1,
            out_channels,
            out_channels,
            joined_channels=joined_channels + out_channels,
            **inner,
        )

    def forward(self, x: Tensor, joined: Sequence[Tensor] = ()) -> Tensor:
        """Aggregate.

        Args:
            x: ``[N, C, H, W]``.
            joined: tensors for the root, ``[N, C_i, H', W']``, in the order of their channels.

        Returns:
            ``[N, C', H', W']``; a stride of 2 halves sizes, odd ones rounded up.
        """
        pooled = x if self.pool is None else self.pool(x)
        if self.level_root:
            joined = (*joined, pooled)
        if self.depth == 1:
            first = self.tree1(x, pooled if self.project is None else self.project(pooled))
            second = self.tree2(first, first)
            return self.root((second, first, *joined))
        first = self.tree1(x)
        if self.project is not None and self.training:
            first = first + 0 * sum(parameter.sum() for parameter in self.project.parameters())
        return self.tree2(first, (*joined, first))


def _unit(
    in_channels: int, out_channels: int, kernel_size: int, norm_cfg: dict, stride: int = 1
) -> nn.Module:
    """Convolution, norm and ReLU under the published numbers."""
    return Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
        build_norm_layer(norm_cfg, out_channels)[1],
        nn.ReLU(inplace=True),
    )


@MODELS.register_module()
class DLA(StagedBackbone):
    """Deep layer aggregation (arXiv 1707.06484): a stem of stride 2 and four levels of trees.

    BlendMask (arXiv 2001.00309) uses DLA-34. Names of tensors are those of the published files.
    The published levels 2 to 5, of the strides 4 to 32, are the stages 0 to 3 of mmdet's
    ``ResNet``, by which outputs and frozen parts are counted; ``base_layer``, ``level0`` and
    ``level1`` are the stem. Levels after the last output are not built.

    Channels of the stages: 64, 128, 256, 512 in DLA-34; 128, 256, 512, 1024 in the others.

    Args:
        depth: 34 (basic blocks), 60, 102 or 169 (bottlenecks; 102 and 169 with residual roots).
        out_indices: stages whose features are returned; 0 has stride 4, 3 has stride 32.
        frozen_stages: -1: nothing; 0: the stem is frozen (no gradient, norms in evaluation mode);
            n: and stages 0 to n - 1.
        norm_cfg: of all norms, ``dict(type='SyncBN')`` by default.
        norm_eval: whether batch norms keep their statistics in training.
        with_cp: whether stages compute their activations again in the backward pass, to save
            memory. Norms that are not frozen then see each batch twice.
        init_cfg: mmengine's, such as ``dict(type='Pretrained', checkpoint=FILE)``; by default
            convolutions are drawn from normal(0, sqrt(2 / (k * k * C'))).

    Raises:
        ValueError: for values other than these.
    """

    def __init__(
        self,
        depth: int = 34,
        out_indices: Sequence[int] = (1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(out_indices, frozen_stages, norm_eval, init_cfg or self._default_init())
        check_choice('depth', depth, _ARCHS)
        self.depth = depth
        self.with_cp = with_cp
        norm_cfg = norm_cfg or dict(type='SyncBN')
        self.base_layer = _unit(3, _STEM[0], 7, norm_cfg)
        self.level0 = _unit(_STEM[0], _STEM[1], 3, norm_cfg)
        self.level1 = _unit(_STEM[1], _STEM[2], 3, norm_cfg, stride=2)
        settings = _ARCHS[depth]
        in_channels = _STEM[-1]
        for stage in range(max(out_indices) + 1):
            tree = DLATree(
                settings.block,
                settings.tree_depths[stage],
                in_channels,
                settings.channels[stage],
                norm_cfg,
                stride=2,
                level_root=stage > 0,
                residual_root=settings.residual_root,
            )
            self.add_module(f'level{stage + 2}', tree)
            in_channels = settings.channels[stage]
        self.freeze_stages()

    @staticmethod
    def _default_init() -> list[dict]:
        return [
            dict(type='Kaiming', layer='Conv2d'),
            dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
        ]

    def stem_modules(self) -> list[nn.Module]:
        """The convolutions before the first tree."""
        return [self.base_layer, self.level0, self.level1]

    def stages(self) -> list[nn.Module]:
        """``level2`` and those that follow it."""
        return [getattr(self, f'level{stage + 2}') for stage in range(max(self.out_indices) + 1)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Pictures ``[N, 3, H, W]`` -> ``[N, C_i, H_i, W_i]`` of the stages in ``out_indices``.

        Sizes are halved i + 2 times, odd ones rounded up.
        """
        for module in self.stem_modules():
            x = module(x)
        outputs = []
        for number, stage in enumerate(self.stages()):
            if self.with_cp and torch.is_grad_enabled():
                x = checkpoint(stage, x, use_reentrant=False)
            else:
                x = stage(x)
            if number in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
