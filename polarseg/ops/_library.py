"""Finds and loads the compiled operators (``polarseg/_C*.so``)."""

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

BUILD_HINT = (
    'Build the operators with `pip install --no-build-isolation -e .` in the root of the source '
    'tree, using the Python and the torch that are to run them.'
)


def find_library(package: Path) -> Path:
    """Path of the compiled library inside a package folder.

    Args:
        package: folder of the ``polarseg`` package.

    Returns:
        The library. The suffix of a build for every Python (``.abi3.so``), the one that setup.py
        produces, goes before the others.

    Raises:
        ImportError: if there is none.
    """
    for suffix in sorted(EXTENSION_SUFFIXES, key=lambda suffix: 'abi3' not in suffix):
        path = package / f'_C{suffix}'
        if path.is_file():
            return path
    raise ImportError(
        f'The compiled operators of polarseg are missing: no _C*.so in {package}. {BUILD_HINT}'
    )


def load_library(package: Path) -> Path:
    """Load the compiled library of a package folder, which registers ``torch.ops.polarseg``.

    Args:
        package: folder of the ``polarseg`` package.

    Returns:
        The path that was loaded.

    Raises:
        ImportError: if the library is missing, or was built for another torch.
    """
    path = find_library(package)
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise ImportError(
            f'{path} cannot be loaded beside torch {torch.__version__}; most likely it was built '
            f'for another one ({error}). {BUILD_HINT}'
        ) from error
    return path
