"""mmengine's checkpoint loaders, replaced by safe ones.

Importing this module makes ``Runner.load_checkpoint``, ``Runner.resume``, ``init_cfg`` and
everything else that goes through mmengine's ``CheckpointLoader`` read files with
``load_checkpoint_file``. mmengine's own loaders un-pickle downloads without restriction, and some
versions do so with local files too.
"""

import io
import os
from collections import OrderedDict
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlparse

import mmengine
import torch
from mmengine.dist import barrier, get_world_size
from mmengine.fileio import get as read_bytes
from mmengine.runner import checkpoint as mm_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from polarseg.apis.checkpoint import MapLocation, _load_safely, load_checkpoint_file

__all__ = ['download_checkpoint']


def download_checkpoint(url: str) -> str:
    """Download a file once into torch's cache (``$TORCH_HOME/hub/checkpoints``).

    In distributed runs the first process of every machine downloads and the others wait.

    Args:
        url: an ``http://`` or ``https://`` address.

    Returns:
        Path of the local file.

    Raises:
        urllib.error.URLError: the download failed.
    """
    target = Path(torch.hub.get_dir()) / 'checkpoints' / os.path.basename(urlparse(url).path)
    is_first = int(os.environ.get('LOCAL_RANK', '0')) == 0
    if is_first and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), progress=os.isatty(0))
    if get_world_size() > 1:
        barrier()
    return str(target)


def _known(table: dict, name: str, scheme: str) -> str:
    if name not in table:
        raise KeyError(f'{scheme}{name}: mmengine knows no checkpoint of that name')
    return table[name]


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: MapLocation = None) -> dict:
    """Read a local file."""
    return load_checkpoint_file(filename, map_location)


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(filename: str, map_location: MapLocation = None) -> dict:
    """Download a file and read it."""
    return load_checkpoint_file(download_checkpoint(filename), map_location)


@CheckpointLoader.register_scheme(prefixes=('modelzoo://', 'torchvision://'), force=True)
def load_from_torchvision(filename: str, map_location: MapLocation = None) -> dict:
    """Read torchvision's ImageNet weights by model name.

    The old names (``torchvision://resnet50``) come from mmengine's own table, so torchvision need
    not be installed for them.
    """
    name = filename.split('://', 1)[1]
    table = mmengine.load(os.path.join(mmengine.__path__[0], 'hub', 'torchvision_0.12.json'))
    if name not in table:
        table = mm_checkpoint.get_torchvision_models()
    return load_from_http(_known(table, name, 'torchvision://'), map_location)


@CheckpointLoader.register_scheme(prefixes=('open-mmlab://', 'openmmlab://'), force=True)
def load_from_openmmlab(filename: str, map_location: MapLocation = None) -> dict:
    """Read OpenMMLab's pretrained weights by name."""
    name = filename.split('://', 1)[1]
    name = mm_checkpoint.get_deprecated_model_names().get(name, name)
    address = _known(mm_checkpoint.get_external_models(), name, 'open-mmlab://')
    if address.startswith(('http://', 'https://')):
        return load_from_http(address, map_location)
    return load_checkpoint_file(
        os.path.join(mm_checkpoint._get_mmengine_home(), address), map_location
    )


@CheckpointLoader.register_scheme(prefixes='mmcls://', force=True)
def load_from_mmcls(filename: str, map_location: MapLocation = None) -> dict:
    """Read the backbone of a classification model by name."""
    name = filename.split('://', 1)[1]
    checkpoint = load_from_http(
        _known(mm_checkpoint.get_mmcls_models(), name, 'mmcls://'), map_location
    )
    state_dict = checkpoint.get('state_dict', checkpoint)
    prefix = 'backbone.'
    backbone = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
    return {'state_dict': OrderedDict(backbone)}


@CheckpointLoader.register_scheme(prefixes=[r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], force=True)
def load_from_ceph(filename: str, map_location: MapLocation = None) -> dict:
    """Read a file of a ceph storage through mmengine's petrel backend."""
    data = read_bytes(filename, backend_args={'backend': 'petrel'})
    return _load_safely(io.BytesIO(data), filename, map_location)


@CheckpointLoader.register_scheme(prefixes='pavi://', force=True)
def load_from_pavi(filename: str, map_location: MapLocation = None) -> NoReturn:
    """Refuse ``pavi://``: its client is not public, so a safe reader could not be tested."""
    raise NotImplementedError(f'{filename}: download the file and give its local path instead')
