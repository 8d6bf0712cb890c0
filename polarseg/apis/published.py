"""Published checkpoints: which layout a file has, and its tensors under our names.

The layouts themselves are in :mod:`polarseg.apis.layouts`.
"""

from collections.abc import Iterable

import numpy as np
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
    if not tensors and any(isinstance(value, np.ndarray) for value in checkpoint.values()):
        raise LayoutError(
            'the file holds numpy arrays; expected tensors. Convert it once: '
            "torch.save({'model': {name: torch.from_numpy(array) for name, array in ...}}, NEW)"
        )
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
