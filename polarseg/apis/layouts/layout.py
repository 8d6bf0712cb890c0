"""What a layout is: names, marks and changes of the tensors in one family of published files."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ['Layout', 'LayoutError', 'Rename', 'StateDict', 'counted', 'rename_tower_entry']

StateDict = dict[str, Tensor]
Rename = tuple[str, str | Callable[[re.Match], str]]
Change = tuple[str, Callable[[Tensor], Tensor]]


class LayoutError(ValueError):
    """A file that has no known layout, or whose tensors do not fit the model."""


def counted(form: str, first: int) -> Callable[[re.Match], str]:
    """A replacement in which ``#`` is the number in the match's last group, counted from 0.

    Args:
        form: as for ``re.Match.expand``, with ``#`` for the number.
        first: what the published names count from.
    """
    return lambda match: match.expand(form).replace('#', str(int(match[match.lastindex]) - first))


def rename_tower_entry(match: re.Match) -> str:
    """Our name of a tensor in a published tower, a flat list of layers.

    Entry 3 i of the list is a convolution, 3 i + 1 its normalisation.

    Args:
        match: with our name of the tower, the entry and the rest of the name.
    """
    layer, part = divmod(int(match[2]), 3)
    if part == 2:
        return match[0]  # a ReLU has no tensors: let the strict loading name this one
    rest = match[3].replace('conv_offset_mask', 'conv_offset')
    return f'{match[1]}.{layer}.{("conv", "gn")[part]}.{rest}'


@dataclass(frozen=True)
class Layout:
    """How the tensors of one family of published files map to ours.

    Attributes:
        name: shown to users.
        marks: tensor names that tell this layout from the others; all must be there.
        renames: pairs of regular expression and replacement, applied one after the other.
        changes: pairs of regular expression (on our name) and a function of the tensor.
        ignores: regular expressions of published names that are left out, such as a classifier's.
        fills_counters: whether ``num_batches_tracked`` of norms, which files of frozen norms lack,
            becomes 0. Nothing reads it: our norms have a fixed momentum.
        backbone_only: a backbone's file: the marks may have any prefix, and our names have none.
        licence: note that goes into the converted file.
        hint: what to try where the tensors do not fit.
        relatives: names of layouts that may fit a model better, such as one whose models have more
            parts and therefore other numbers: they tell what such a model lacks.
    """

    name: str
    marks: tuple[str, ...]
    renames: tuple[Rename, ...] = ()
    changes: tuple[Change, ...] = ()
    ignores: tuple[str, ...] = ()
    fills_counters: bool = False
    backbone_only: bool = False
    licence: str = ''
    hint: str = ''
    relatives: tuple[str, ...] = ()

    def fits(self, names: Collection[str]) -> bool:
        """Whether all marks are among the published names."""
        if not self.backbone_only:
            return set(names).issuperset(self.marks)
        return all(any(f'.{name}'.endswith(f'.{mark}') for name in names) for mark in self.marks)

    def rename(self, name: str) -> str:
        """Our name of a published tensor."""
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name

    def ignored(self, name: str) -> bool:
        """Whether a published tensor is left out."""
        return any(re.search(pattern, name) for pattern in self.ignores)

    def convert(self, state_dict: StateDict) -> StateDict:
        """All tensors under our names, changed where the layout says so.

        Raises:
            LayoutError: if two published tensors would get the same name, or one cannot be changed
                as the layout says.
        """
        converted: StateDict = {}
        for published, tensor in state_dict.items():
            if self.ignored(published):
                continue
            name = self.rename(published)
            if name in converted:
                raise LayoutError(f'two tensors of the file would become {name!r}')
            try:
                converted[name] = self._changed(name, tensor)
            except LayoutError as error:
                raise LayoutError(f'{published}: {error}') from error
        if self.fills_counters:
            self._fill_counters(converted)
        return converted

    def _changed(self, name: str, tensor: Tensor) -> Tensor:
        for pattern, change in self.changes:
            if re.search(pattern, name):
                tensor = change(tensor)
        return tensor

    @staticmethod
    def _fill_counters(converted: StateDict) -> None:
        norms = [name for name in converted if name.endswith('.running_var')]
        for name in norms:
            counter = name.removesuffix('running_var') + 'num_batches_tracked'
            converted.setdefault(counter, torch.zeros((), dtype=torch.int64))
