"""The module form of losses that have one weight for each row."""

from typing import Any

from torch import Tensor, nn

__all__ = ['RowLoss']


class RowLoss(nn.Module):
    """Reduction and weights of a loss of rows, such as the rays or the box sides of a location.

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor of the result.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        self.reduction = reduction
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The weighted loss.

        Args:
            pred: ``[N, D]`` predicted distances. N = 0 gives 0 with a graph.
            target: ``[N, D]`` target distances, in the same unit.
            weight: ``[N]`` weights of the rows.
            avg_factor: divides the weighted sum (published: the sum of the weights).
        """
        loss = self._loss(pred, target, weight, reduction=self.reduction, avg_factor=avg_factor)
        return self.loss_weight * loss

    def _loss(self, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError
