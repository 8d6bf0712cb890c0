"""What a benchmark ran on: written above every table, because a figure without it says little."""

import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import torch

from polarseg.version import __version__

__all__ = ['available_cores', 'describe', 'lines']

# the same package under the names of its builds
MMCV = ('mmcv', 'onedl-mmcv', 'mmcv-lite')
PYCOCOTOOLS = ('pycocotools',)


def describe() -> dict:
    """CPU, GPU, operating system, versions and date, as text and numbers for JSON."""
    return dict(
        cpu=cpu_model(),
        cores=available_cores(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        os=f'{platform.system()} {platform.release()} ({platform.machine()})',
        versions=dict(
            polarseg=__version__,
            python=platform.python_version(),
            torch=torch.__version__,
            mmcv=version_of(MMCV),
            opencv=cv2.__version__,
            pycocotools=version_of(PYCOCOTOOLS),
            numpy=np.__version__,
        ),
        date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    )


def lines(machine: dict) -> list[str]:
    """The description as Markdown list items."""
    versions = ', '.join(f'{name} {number}' for name, number in machine['versions'].items())
    cores = machine['cores']
    return [
        f'- CPU: {machine["cpu"]}, {cores} core{"s" * (cores != 1)}',
        f'- GPU: {machine["gpu"] or "none"}',
        f'- OS: {machine["os"]}',
        f'- {versions}',
        f'- date: {machine["date"]}',
    ]


def available_cores() -> int:
    """The cores that this process may use."""
    if sys.platform == 'linux':
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    table = Path('/proc/cpuinfo')
    if table.is_file():
        for line in table.read_text(encoding='utf-8').splitlines():
            key, _, value = line.partition(':')
            if key.strip() == 'model name':
                return value.strip()
    return platform.processor() or platform.machine()


def version_of(distributions: tuple[str, ...]) -> str:
    """The version of the first of some distributions that is installed."""
    for name in distributions:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return found if name == distributions[0] else f'{found} ({name})'
    return 'absent'
