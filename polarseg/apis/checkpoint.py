"""Checkpoints: safe reading of files, and which file ``latest.pth`` means.

A ``.pth`` file is a pickle, and un-pickling runs whatever code its author put there. Every file
that polarseg reads goes through ``torch.load(weights_only=True)`` with a short list of the harmless
types that mmengine's own training checkpoints hold. There is no fall-back to full un-pickling: a
file that holds anything else is refused by name.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

__all__ = [
    'CheckpointError',
    'UnsafeCheckpointError',
    'find_newest_checkpoint',
    'load_checkpoint_file',
    'resolve_checkpoint',
]

MapLocation = str | torch.device | Callable | dict[str, str] | None


class CheckpointError(RuntimeError):
    """A file is no checkpoint that can be read; the message names the file."""


class UnsafeCheckpointError(CheckpointError):
    """A file holds objects other than tensors and plain data and was not loaded.

    Attributes:
        path: the file.
        refused: full name of the type or function that was refused, or torch's reason.
    """

    def __init__(self, path: str, refused: str) -> None:
        self.path = path
        self.refused = refused
        super().__init__(
            f'{path}: refused to load, because it holds "{refused}", which no checkpoint of '
            'weights or of a training run of polarseg needs. Loading it could run code of whoever '
            'made the file. If you trust the file, either allow that one type before loading with '
            'torch.serialization.add_safe_globals([...]), or convert the file once, apart from '
            'other work: '
            "torch.save({'state_dict': torch.load(FILE, weights_only=False)['state_dict']}, NEW)."
        )


_UNREADABLE = 'cannot be read as a checkpoint of torch.save'

_NUMPY_PICKLE = (
    'is a plain pickle of numpy arrays, as the .pkl files of model zoos are, and not a checkpoint '
    'of torch.save. It is not read, because un-pickling could run code of whoever made the file. '
    'If you trust it, convert it once, apart from other work: python -c "import pickle, torch; '
    "d = pickle.load(open('FILE', 'rb'), encoding='latin1'); "
    "torch.save({'model': {k: torch.from_numpy(v) for k, v in d.get('model', d).items()}}, "
    "'NEW.pth')\". Backbones of ResNet need no file: checkpoint="
    "'open-mmlab://detectron2/resnet50_caffe' (resnet101_caffe, resnext101_32x8d)."
)

# What torch's readers and restricted un-pickler raise for files with random bytes.
_BROKEN_FILE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

# Methods that stand in checkpoints as getattr(class, name): HistoryBuffer saves its table of
# statistics, the one-cycle schedulers their annealing curve.
_METHODS: dict[type, frozenset[str]] = {
    HistoryBuffer: frozenset({'min', 'max', 'current', 'mean'}),
    OneCycleParamScheduler: frozenset({'_annealing_cos', '_annealing_linear'}),
}


def _method_of(owner: Any, name: str) -> Callable:
    """Stand-in for ``getattr`` in pickles; the real one would reach any attribute of anything."""
    if not isinstance(owner, type) or name not in _METHODS.get(owner, ()):
        raise UnpicklingError(f'Unsupported global: GLOBAL getattr({owner!r}, {name!r}) was not')
    return getattr(owner, name)


def _safe_types() -> list:
    """What mmengine's training checkpoints hold besides what torch allows by itself.

    numpy's two rebuilding functions are taken from real values, because their module moved between
    numpy 1 and 2 (files name either); the element types do not include ``object``.
    """
    rebuild_array = np.zeros(0).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    moved = [
        (function, f'numpy.{core}.multiarray.{name}')
        for core in ('core', '_core')
        for function, name in ((rebuild_array, '_reconstruct'), (rebuild_scalar, 'scalar'))
    ]
    element_types = {type(np.dtype(code)) for code in '?bBhHiIlLqQefdFDSU'}
    return [
        HistoryBuffer,
        OneCycleParamScheduler,
        (_method_of, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        *moved,
        *element_types,
    ]


def _refused_type(message: str) -> str:
    """The type's name out of the sentence that torch's restricted un-pickler gives."""
    match = re.search(r'GLOBAL (.+?) (?:was not|whose module)', message)
    if match is None:
        match = re.search(r'(?:unrecognized function|but got) (.+)', message)
    return match.group(1) if match else message.splitlines()[0]


def _load_safely(file: str | IO[bytes], name: str, map_location: MapLocation) -> dict:
    """``load_checkpoint_file`` for an open file or a path; ``name`` is for messages."""
    known = torch.serialization.get_safe_globals()
    # Leaving the context removes what it added, so what the user allowed must not be in it.
    ours = [item for item in _safe_types() if item not in known]
    try:
        with torch.serialization.safe_globals(ours):
            checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        message = str(error)
        if 'invalid load key' in message or 'Unsupported operand' in message:
            raise CheckpointError(f'{name}: {_UNREADABLE} ({message})') from error
        raise UnsafeCheckpointError(name, _refused_type(message)) from error
    except torch.OutOfMemoryError:
        raise
    except _BROKEN_FILE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f'{name}: {_UNREADABLE} ({reason})') from error
    if not isinstance(checkpoint, Mapping):
        kind = type(checkpoint).__name__
        raise CheckpointError(f'{name}: holds a {kind}, expected a dictionary of weights')
    return checkpoint


def _is_numpy_pickle(path: str) -> bool:
    """Whether a file is a pickle (of protocol 2 or above) that names numpy near its beginning."""
    with open(path, 'rb') as file:
        start = file.read(1 << 16)
    return start.startswith(b'\x80') and b'numpy' in start


def load_checkpoint_file(path: str | os.PathLike, map_location: MapLocation = 'cpu') -> dict:
    """Read a checkpoint file without running any code that it may hold.

    Reads what mmengine's ``Runner`` writes (weights, optimizer, schedulers, logged history), bare
    state dictionaries, and files of older versions of mmcv and torch.

    Args:
        path: a local file.
        map_location: where tensors go, as in ``torch.load``; the CPU by default.

    Returns:
        The dictionary that was saved.

    Raises:
        FileNotFoundError: there is no such file.
        UnsafeCheckpointError: it holds a type that is not on the list; nothing of it was run.
        CheckpointError: it is damaged, holds something else than a dictionary, or is a plain
            pickle of numpy arrays.
    """
    path = os.path.expanduser(os.fspath(path))
    if not os.path.isfile(path):
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    try:
        return _load_safely(path, path, map_location)
    except UnsafeCheckpointError:
        raise
    except CheckpointError as error:
        if _is_numpy_pickle(path):
            raise CheckpointError(f'{path}: {_NUMPY_PICKLE}') from error
        raise


def _numbered(folder: Path, kind: str) -> Path | None:
    """The file ``<kind>_<number>.pth`` with the highest number."""
    found = {}
    for file in folder.glob(f'{kind}_*.pth'):
        match = re.fullmatch(rf'{kind}_(\d+)\.pth', file.name)
        if match:
            found[int(match.group(1))] = file
    return found[max(found)] if found else None


def _recorded(folder: Path) -> Path | None:
    """The file that mmengine's ``last_checkpoint`` names, also after the folder was moved."""
    record = folder / 'last_checkpoint'
    if not record.is_file():
        return None
    name = record.read_text().strip()
    if not name:
        return None
    for file in (folder / Path(name).name, Path(name)):
        if file.is_file():
            return file
    return None


def find_newest_checkpoint(folder: str | os.PathLike) -> str | None:
    """The newest checkpoint of a training run.

    Order: what ``last_checkpoint`` in the folder names; else the highest ``epoch_N.pth`` or
    ``iter_N.pth`` (the newer file where both exist); else the ``.pth`` file written last.

    Args:
        folder: the run's ``work_dir``.

    Returns:
        Path of the file, or None if the folder has none (or does not exist).
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        return None
    recorded = _recorded(folder)
    if recorded is not None:
        return str(recorded)
    candidates = [file for kind in ('epoch', 'iter') if (file := _numbered(folder, kind))]
    candidates = candidates or [file for file in folder.glob('*.pth') if file.is_file()]
    if not candidates:
        return None
    return str(max(candidates, key=lambda file: (file.stat().st_mtime_ns, file.name)))


def resolve_checkpoint(path: str | os.PathLike) -> str:
    """Turn what a user gives as a checkpoint into a file or URL to load.

    ``DIR/latest.pth`` that is no file, and a folder, mean the folder's newest checkpoint: mmengine
    keeps no link of that name, but the commands in use for PolarMask (arXiv 1909.13226) name it.

    Args:
        path: a file, ``DIR/latest.pth``, a folder, or a URL (anything with ``://``), which is
            returned as it is.

    Returns:
        The path of an existing file, or the URL.

    Raises:
        FileNotFoundError: no such file, or no checkpoint in the folder, which is named.
    """
    path = os.fspath(path)
    if '://' in path:
        return path
    path = os.path.expanduser(path)
    if os.path.isfile(path):
        return path
    is_latest = os.path.basename(path) == 'latest.pth'
    if not is_latest and not os.path.isdir(path):
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    folder = os.path.dirname(path) if is_latest else path
    newest = find_newest_checkpoint(folder or '.')
    if newest is None:
        where = os.path.abspath(folder or '.')
        raise FileNotFoundError(f'{path}: there is no checkpoint (*.pth) in the folder {where}')
    return newest
