"""MobileNetV2 as a detector's backbone: mmdet's, without the layers that only classify."""

from collections.abc import Sequence

from mmdet.models.backbones import MobileNetV2 as MMMobileNetV2
from torch import Tensor, nn

from polarseg.registry import MODELS

__all__ = ['MobileNetV2']

# the last of mmdet's layers with each of the strides 4, 8, 16 and 32
_LAST_LAYERS = (2, 3, 5, 7)


@MODELS.register_module()
class MobileNetV2(MMMobileNetV2):
    """MobileNetV2 (arXiv 1801.04381) up to its 320 channels.

    mmdet's network and names, with stages counted as in its ``ResNet``: the last features of the
    strides 4, 8, 16 and 32, of 24, 32, 96 and 320 channels (at width 1). mmdet counts seven layers
    and the 1280 channels of the classifier instead. Layers after the last output are not built.

    Args:
        widen_factor: multiplies all widths.
        out_indices: stages whose features are returned; 0 has stride 4, 3 has stride 32.
        frozen_stages: -1: nothing; 0: the first convolution is frozen (no gradient, norms in
            evaluation mode); n: and stages 0 to n - 1.
        conv_cfg, with_cp, init_cfg: mmdet's.
        norm_cfg: of all norms. Frozen batch norms by default: affine parameters without gradient.
        act_cfg: of all activations, ReLU6 by default.
        norm_eval: whether batch norms keep their statistics in training.

    Raises:
        ValueError: for values other than these.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (1, 2, 3),
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        norm_eval: bool = True,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if not out_indices or not set(out_indices) <= set(range(4)):
            raise ValueError(
                'out_indices must be of 0, 1, 2 and 3 (strides 4 to 32; mmdet counts layers '
                f'instead), got {out_indices!r}'
            )
        if frozen_stages not in range(-1, 5):
            raise ValueError(f'frozen_stages must be of -1 to 4, got {frozen_stages!r}')
        super().__init__(
            widen_factor=widen_factor,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg or dict(type='BN', requires_grad=False),
            act_cfg=act_cfg or dict(type='ReLU6'),
            norm_eval=norm_eval,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        depth = _LAST_LAYERS[max(out_indices)]
        for name in self.layers[depth:]:
            delattr(self, name)
        self.layers = self.layers[:depth]
        self._freeze_stages()

    def _freeze_stages(self) -> None:
        """Called by mmdet's ``train`` too."""
        if self.frozen_stages < 0:
            return
        depth = (0, *_LAST_LAYERS)[self.frozen_stages]
        for name in ('conv1', *self.layers[:depth]):
            module = getattr(self, name)
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad = False

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Pictures ``[N, 3, H, W]`` -> ``[N, C_i, H_i, W_i]`` of the stages in ``out_indices``."""
        x = self.conv1(x)
        wanted = {_LAST_LAYERS[stage] for stage in self.out_indices}
        outputs = []
        for number, name in enumerate(self.layers, start=1):
            x = getattr(self, name)(x)
            if number in wanted:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> nn.Module:
        """Training mode, in which frozen stages and, if ``norm_eval``, batch norms take no part."""
        super().train(mode)
        return self
