"""Published checkpoints: which layout a file has, and its tensors under our names.

The layouts themselves are in :mod:`polarseg.apis.layouts`.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from polarseg.apis.layouts import LAYOUTS, Layout, LayoutError, StateDict

__all__ = [
    'LAYOUTS',
    'Layout',
    'LayoutError',
    'backbone_tensors',
    'convert_state_dict',
    'detect_layout',
    'load_exactly',
    'unwrap_state_dict',
]


def _is_tensor(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in 'biuf'  # truth values and real numbers
    return isinstance(value, Tensor)


def _as_tensor(value: Tensor | np.ndarray) -> Tensor:
    if isinstance(value, Tensor):
        return value
    # torch knows no numbers of foreign byte order
    return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder('=')))


def unwrap_state_dict(checkpoint: dict) -> StateDict:
    """The tensors of a checkpoint file, without wrappers and ``module.`` prefix.

    Args:
        checkpoint: a state dict, or a dict that holds one under 'state_dict' or 'model'. Arrays of
            numbers count as tensors; what else stands there is left out.

    Raises:
        LayoutError: if there are no tensors.
    """
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
    tensors = {
        str(name): _as_tensor(value) for name, value in checkpoint.items() if _is_tensor(value)
    }
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
        if layout.fits(known):
            return layout
    raise LayoutError(
        f'no known layout fits: looked for {[layout.marks for layout in LAYOUTS]} '
        f'among {len(known)} tensors such as {sorted(known)[:5]}'
    )


def convert_state_dict(
    checkpoint: dict, layout: str | None = None, model: nn.Module | None = None
) -> tuple[StateDict, Layout]:
    """A published checkpoint's tensors under our names.

    Args:
        checkpoint: as loaded from the file.
        layout: name of the layout; None detects it.
        model: where they are to go. Of a detected layout and its relatives, the one that fits this
            model best is taken.

    Returns:
        The tensors and the layout used.

    Raises:
        LayoutError: if no layout fits or the named one does not exist.
    """
    tensors = unwrap_state_dict(checkpoint)
    by_name = {known.name: known for known in LAYOUTS}
    if layout is not None and layout not in by_name:
        raise LayoutError(f'no layout is named {layout!r}; there are {sorted(by_name)}')
    chosen = detect_layout(tensors) if layout is None else by_name[layout]
    converted = chosen.convert(tensors)
    if layout is not None or model is None:
        return converted, chosen
    for relative in (by_name[name] for name in chosen.relatives):
        other = relative.convert(tensors)
        if len(_problems(model, other)) < len(_problems(model, converted)):
            converted, chosen = other, relative
    return converted, chosen


def backbone_tensors(state_dict: StateDict) -> StateDict:
    """A detector's tensors (under our names) that belong to its backbone, without prefix.

    Raises:
        LayoutError: if there is none.
    """
    prefix = 'backbone.'
    found = {
        name.removeprefix(prefix): tensor
        for name, tensor in state_dict.items()
        if name.startswith(prefix)
    }
    if not found:
        raise LayoutError(f'the file holds no tensor of a backbone, but {sorted(state_dict)[:5]}')
    return found


def _problems(model: nn.Module, state_dict: StateDict) -> list[str]:
    """A line for each missing and unexpected tensor and each wrong shape."""
    own = model.state_dict()
    problems = [f'missing: {name}' for name in own if name not in state_dict]
    problems += [f'unexpected: {name}' for name in state_dict if name not in own]
    problems += [
        f'shape of {name}: {list(tensor.shape)} in the file, {list(own[name].shape)} in the model'
        for name, tensor in state_dict.items()
        if name in own and own[name].shape != tensor.shape
    ]
    return problems


def _absent_parts(model: nn.Module, state_dict: StateDict) -> str:
    """A sentence on the parts of the model (such as a head) of which the file has no tensor."""
    present = {name.split('.')[0] for name in state_dict}
    counts = Counter(name.split('.')[0] for name in model.state_dict())
    absent = [f'{part} ({count})' for part, count in counts.items() if part not in present]
    if not absent:
        return ''
    return (
        f'. It has nothing of these parts of the model (number of tensors): {", ".join(absent)}; '
        'one by one'
    )


def load_exactly(model: nn.Module, state_dict: StateDict) -> None:
    """Load tensors that must be exactly the model's.

    Raises:
        LayoutError: naming every part of the model without a tensor, every missing and unexpected
            tensor and every wrong shape.
    """
    problems = _problems(model, state_dict)
    if problems:
        absent = _absent_parts(model, state_dict)
        raise LayoutError(f'the file does not fit the model{absent}:\n  ' + '\n  '.join(problems))
    model.load_state_dict(state_dict)
