"""Published checkpoints: which layout a file has, and its tensors under our names.

The layouts are facts of the published files: names, shapes and, for the oldest PolarMask models,
another order of the rays.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

__all__ = [
    'LAYOUTS',
    'Layout',
    'LayoutError',
    'convert_state_dict',
    'detect_layout',
    'load_exactly',
    'unwrap_state_dict',
]

StateDict = dict[str, Tensor]


class LayoutError(ValueError):
    """A file that has no known layout, or whose tensors do not fit the model."""


def roll_rays(tensor: Tensor) -> Tensor:
    """Channels of the legacy ray order (ray 0 left) in the current one (ray 0 down).

    ``current[j] = legacy[(j + R / 4) % R]``: the legacy direction of ray k is (-cos a, sin a), the
    current one (sin a, cos a), a quarter turn apart.

    Raises:
        LayoutError: if R is no multiple of 4, so that no ray lies a quarter turn from another.
    """
    if tensor.dim() == 0 or tensor.shape[0] % 4:
        raise LayoutError(
            f'rays of the legacy order cannot be turned by a quarter: shape {list(tensor.shape)}'
        )
    return torch.roll(tensor, -(tensor.shape[0] // 4), dims=0)


def _tower_entry(match: re.Match) -> str:
    """Entry 3 i of a deformable tower's list is a convolution, 3 i + 1 its normalisation."""
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
        licence: note that goes into the converted file.
    """

    name: str
    marks: tuple[str, ...]
    renames: tuple[tuple[str, str | Callable[[re.Match], str]], ...] = ()
    changes: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = field(default=())
    licence: str = ''

    def rename(self, name: str) -> str:
        """Our name of a published tensor."""
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name

    def convert(self, state_dict: StateDict) -> StateDict:
        """All tensors under our names, changed where the layout says so.

        Raises:
            LayoutError: if two published tensors would get the same name, or one cannot be changed
                as the layout says.
        """
        converted: StateDict = {}
        for published, tensor in state_dict.items():
            name = self.rename(published)
            if name in converted:
                raise LayoutError(f'two tensors of the file would become {name!r}')
            try:
                converted[name] = self._changed(name, tensor)
            except LayoutError as error:
                raise LayoutError(f'{published}: {error}') from error
        return converted

    def _changed(self, name: str, tensor: Tensor) -> Tensor:
        for pattern, change in self.changes:
            if re.search(pattern, name):
                tensor = change(tensor)
        return tensor


_POLARMASK_RENAMES = (
    (r'^(backbone\..*conv2)_offset\.', r'\1.conv_offset.'),
    (
        r'^(bbox_head\.(?:cls|reg|mask)_convs)\.(\d+)\.((?:conv_offset_mask\.)?(?:weight|bias))$',
        _tower_entry,
    ),
)
_POLARMASK_LICENCE = (
    'Converted from a checkpoint published by the authors of PolarMask, who allow use for '
    'non-commercial purposes only; the weights stay under their terms.'
)

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name='polarmask',
        marks=('bbox_head.polar_mask.weight',),
        renames=_POLARMASK_RENAMES,
        licence=_POLARMASK_LICENCE,
    ),
    Layout(
        name='polarmask-legacy',
        marks=('bbox_head.fcos_mask.weight',),
        renames=((r'^bbox_head\.fcos_', 'bbox_head.polar_'), *_POLARMASK_RENAMES),
        changes=((r'^bbox_head\.polar_mask\.(weight|bias)$', roll_rays),),
        licence=_POLARMASK_LICENCE,
    ),
    # fcos_* names with the rays of today: trained between the two switches; chosen by hand only
    Layout(
        name='polarmask-legacy-names',
        marks=('bbox_head.fcos_mask.weight',),
        renames=((r'^bbox_head\.fcos_', 'bbox_head.polar_'), *_POLARMASK_RENAMES),
        licence=_POLARMASK_LICENCE,
    ),
)


def unwrap_state_dict(checkpoint: dict) -> StateDict:
    """The tensors of a checkpoint file, without wrappers and ``module.`` prefix.

    Args:
        checkpoint: a state dict, or a dict that holds one under 'state_dict' or 'model'.

    Raises:
        LayoutError: if there are no tensors.
    """
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
    tensors = {str(name): value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    if not tensors:
        raise LayoutError(f'the file holds no tensors; its keys are {[*map(str, checkpoint)][:10]}')
    if all(name.startswith('module.') for name in tensors):
        tensors = {name.removeprefix('module.'): value for name, value in tensors.items()}
    return tensors


def detect_layout(names: Iterable[str]) -> Layout:
    """The first layout all of whose marks are among the names.

    Raises:
        LayoutError: if none fits.
    """
    known = set(names)
    for layout in LAYOUTS:
        if known.issuperset(layout.marks):
            return layout
    raise LayoutError(
        f'no known layout fits: looked for {[layout.marks for layout in LAYOUTS]} '
        f'among {len(known)} tensors such as {sorted(known)[:5]}'
    )


def convert_state_dict(checkpoint: dict, layout: str | None = None) -> tuple[StateDict, Layout]:
    """A published checkpoint's tensors under our names.

    Args:
        checkpoint: as loaded from the file.
        layout: name of the layout; None detects it.

    Returns:
        The tensors and the layout used.

    Raises:
        LayoutError: if no layout fits or the named one does not exist.
    """
    tensors = unwrap_state_dict(checkpoint)
    if layout is None:
        chosen = detect_layout(tensors)
    else:
        by_name = {known.name: known for known in LAYOUTS}
        if layout not in by_name:
            raise LayoutError(f'no layout is named {layout!r}; there are {sorted(by_name)}')
        chosen = by_name[layout]
    return chosen.convert(tensors), chosen


def load_exactly(model: nn.Module, state_dict: StateDict) -> None:
    """Load tensors that must be exactly the model's.

    Raises:
        LayoutError: naming every missing and unexpected tensor and every wrong shape.
    """
    own = model.state_dict()
    problems = [f'missing: {name}' for name in own if name not in state_dict]
    problems += [f'unexpected: {name}' for name in state_dict if name not in own]
    problems += [
        f'shape of {name}: {list(tensor.shape)} in the file, {list(own[name].shape)} in the model'
        for name, tensor in state_dict.items()
        if name in own and own[name].shape != tensor.shape
    ]
    if problems:
        raise LayoutError('the file does not fit the model:\n  ' + '\n  '.join(problems))
    model.load_state_dict(state_dict)
