"""What backbones of a stem and four stages have in common: outputs and freezing."""

from collections.abc import Iterable, Sequence

from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ['StagedBackbone', 'check_choice']


def check_choice(name: str, value: object, choices: Iterable) -> None:
    """Refuse values that are not among the choices.

    Raises:
        ValueError: naming the argument, the choices and the value.
    """
    if value not in choices:
        raise ValueError(f'{name} must be one of {[*choices]}, got {value!r}')


class StagedBackbone(BaseModule):
    """A stem and up to four stages, counted 0 to 3 as in mmdet's ``ResNet``: strides 4 to 32.

    Subclasses build the stem and the stages, return them from :meth:`stem_modules` and
    :meth:`stages`, and call :meth:`freeze_stages` at the end of their constructors.

    Args:
        out_indices: stages whose features are returned; 0 has stride 4, 3 has stride 32. Stages
            after the last one are not built.
        frozen_stages: -1: nothing; 0: the stem is frozen (no gradient, norms in evaluation mode);
            n: and stages 0 to n - 1.
        norm_eval: whether batch norms keep their statistics in training.
        init_cfg: mmengine's.

    Raises:
        ValueError: for other stages than these.
    """

    def __init__(
        self,
        out_indices: Sequence[int],
        frozen_stages: int,
        norm_eval: bool,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(init_cfg)
        check_choice('frozen_stages', frozen_stages, range(-1, 5))
        if not out_indices or not set(out_indices) <= set(range(4)):
            raise ValueError(f'out_indices must be of 0, 1, 2 and 3, got {out_indices!r}')
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

    def stem_modules(self) -> list[nn.Module]:
        """What stands before stage 0."""
        raise NotImplementedError(f'{type(self).__name__} must name the modules of its stem')

    def stages(self) -> list[nn.Module]:
        """The stages that were built, stage 0 first."""
        raise NotImplementedError(f'{type(self).__name__} must name its stages')

    def freeze_stages(self) -> None:
        """Take gradients and new statistics from the stem and the stages to be frozen."""
        if self.frozen_stages < 0:
            return
        for module in (*self.stem_modules(), *self.stages()[: self.frozen_stages]):
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad = False

    def train(self, mode: bool = True) -> nn.Module:
        """Training mode, in which frozen stages and, if ``norm_eval``, batch norms take no part."""
        super().train(mode)
        self.freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
