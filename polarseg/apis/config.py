"""From a config file and command line options to the config of a run."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device

from polarseg.apis.checkpoint import find_newest_checkpoint, resolve_checkpoint

__all__ = [
    'apply_inclusive_boxes',
    'draw_predictions',
    'enable_amp',
    'enable_lr_scaling',
    'prepare_config',
    'relocate_data_root',
    'set_evaluation',
    'set_randomness',
    'set_resume',
]

# Metrics that take metric, format_only and outfile_prefix, also where a config leaves them out.
_COCO_STYLE = ('CocoMetric', 'CocoInstanceMetric', 'LVISMetric')
# Metrics that take format_only and outfile_prefix, but know one measure only.
_PANOPTIC_STYLE = ('CocoPanopticQualityMetric',)


def _dicts(node: Any) -> Iterator[dict]:
    """Every dictionary inside a config, the node itself first."""
    if isinstance(node, dict):
        yield node
        children = list(node.values())
    else:
        children = list(node) if isinstance(node, (list, tuple)) else []
    for child in children:
        yield from _dicts(child)


def _as_list(value: Any) -> list:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def apply_inclusive_boxes(cfg: Config) -> None:
    """Carry the top-level ``inclusive_boxes`` to every component that has a key of that name.

    PolarMask's (arXiv 1909.13226) published models count the last pixel of a box in (width =
    x2 - x1 + 1) in several places: annotations, flips, areas, NMS, results. All of them follow one
    switch, ``--cfg-options inclusive_boxes=False``. Without the top-level key nothing is changed.

    Args:
        cfg: changed in place.

    Raises:
        TypeError: the top-level value is not a bool.
    """
    if 'inclusive_boxes' not in cfg:
        return
    value = cfg.inclusive_boxes
    if not isinstance(value, bool):
        raise TypeError(f'inclusive_boxes must be True or False, got {value!r}')
    for node in _dicts(cfg._cfg_dict):
        if 'inclusive_boxes' in node:
            node['inclusive_boxes'] = value


def _moved(path: Any, old: str, new: str) -> Any:
    """``path`` below ``new`` if it is ``old`` or below it, else as it is."""
    old = old.rstrip('/')
    if isinstance(path, str) and path.rstrip('/') == old:
        return new
    if old and isinstance(path, str) and path.startswith(old + '/'):
        return os.path.join(new, path[len(old) :].lstrip('/'))
    return path


def relocate_data_root(cfg: Config, old_root: str) -> None:
    """Carry a changed top-level ``data_root`` to the datasets and evaluators, in place.

    Config files copy the value into every dataset when they are read, so a later change of the
    top-level key would reach none. In the data loaders and evaluators every ``data_root`` that was
    the old one becomes the new one, and every path below the old one (``ann_file`` of an evaluator)
    moves below the new one. Other paths, of another data set or given by hand, stay.

    Args:
        cfg: with the new ``data_root``.
        old_root: the value in the config file.
    """
    for key in cfg:
        if not key.endswith(('_dataloader', '_evaluator')):
            continue
        for node in _dicts(cfg[key]):
            for name, value in list(node.items()):
                node[name] = _moved(value, old_root, cfg.data_root)


def prepare_config(
    path: str | os.PathLike,
    work_dir: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    launcher: str = 'none',
) -> Config:
    """Read a config file and apply what ``train.py`` and ``test.py`` have in common.

    Args:
        path: the config file.
        work_dir: folder for logs and checkpoints; default the config's own ``work_dir``, else
            ``work_dirs/<name of the config>`` below the current folder.
        cfg_options: dotted keys and values of ``--cfg-options``. Two of them reach further than
            their key: ``data_root`` (see ``relocate_data_root``) and ``inclusive_boxes`` (see
            ``apply_inclusive_boxes``).
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Returns:
        A config for mmengine's ``Runner``.

    Raises:
        FileNotFoundError: there is no such config file.
        KeyError: ``data_root`` is given but the config has none to replace.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'config file {path} does not exist')
    cfg = Config.fromfile(path)
    old_root = cfg.get('data_root')
    if cfg_options:
        cfg.merge_from_dict(cfg_options)
    if cfg.get('data_root') != old_root:
        if old_root is None:
            raise KeyError(f'{path} has no top-level data_root that the option could replace')
        relocate_data_root(cfg, old_root)
    apply_inclusive_boxes(cfg)
    cfg.launcher = launcher
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(path).stem)
    return cfg


def enable_amp(cfg: Config) -> None:
    """Mixed precision: float16 with dynamic loss scale on GPUs, bfloat16 on CPUs. In place.

    Raises:
        KeyError: the config has no ``optim_wrapper``.
        ValueError: its ``optim_wrapper`` is neither mmengine's plain nor its AMP one.
    """
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        raise KeyError('--amp: the config has no optim_wrapper')
    kind = wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ValueError(f'--amp: cannot replace the optim_wrapper of type {kind}')
    if get_device() == 'cpu':
        for name in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(name, None)
        wrapper.type = 'polarseg.CpuAmpOptimWrapper'
        return
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


def enable_lr_scaling(cfg: Config) -> None:
    """Scale the learning rate with the joint batch size, from ``auto_scale_lr``. In place.

    Raises:
        KeyError: the config has no ``auto_scale_lr.base_batch_size``.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise KeyError('--auto-scale-lr: the config has no auto_scale_lr.base_batch_size')
    cfg.auto_scale_lr.enable = True


def set_randomness(cfg: Config, seed: int | None = None, deterministic: bool = False) -> None:
    """Set the seed and the choice of deterministic kernels, in place.

    Args:
        cfg: its ``randomness`` is updated; what is not given stays.
        seed: seed of every process; None leaves the config's (mmengine draws one if it has none).
        deterministic: ask for deterministic kernels.
    """
    randomness = dict(cfg.get('randomness') or {})
    if seed is not None:
        randomness['seed'] = seed
    if deterministic:
        randomness['deterministic'] = True
        # cuBLAS reads it when it is first used; without it torch refuses its matrix products.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    if randomness:
        cfg.randomness = {'seed': None, **randomness}


def set_resume(cfg: Config, resume: str | None) -> None:
    """Continue an earlier run, in place.

    Args:
        cfg: with ``work_dir``.
        resume: None (no change), ``'auto'`` (newest checkpoint of the work_dir; a fresh start with
            the config's own ``load_from`` if there is none yet), or a checkpoint, where
            ``DIR/latest.pth`` means the newest of DIR.

    Raises:
        FileNotFoundError: the named checkpoint does not exist.
    """
    if resume is None:
        return
    checkpoint = find_newest_checkpoint(cfg.work_dir)
    if resume != 'auto':
        checkpoint = resolve_checkpoint(resume)
    cfg.resume = checkpoint is not None
    if checkpoint is not None:
        cfg.load_from = checkpoint


def set_evaluation(
    cfg: Config,
    metrics: list[str] | None = None,
    format_only: bool = False,
    outfile_prefix: str | None = None,
) -> None:
    """Set what the test evaluators compute and write, in place.

    Args:
        cfg: its ``test_evaluator`` is a metric's dictionary or a list of them.
        metrics: names such as ``['bbox', 'segm']``, the ``metric`` of COCO-style metrics (those
            that have that key, or whose type ends in ``CocoMetric``, ``CocoInstanceMetric`` or
            ``LVISMetric``); panoptic quality has no choice and takes the other options only.
        format_only: write the result files without evaluating; without a prefix they go to
            ``<work_dir>/results``.
        outfile_prefix: path and start of the name of the JSON files, ``.json`` at its end ignored.

    Raises:
        ValueError: no evaluator of the config takes these options.
    """
    if outfile_prefix is None and format_only:
        outfile_prefix = os.path.join(cfg.work_dir, 'results')
    if outfile_prefix is not None:
        outfile_prefix = outfile_prefix.removesuffix('.json')
        Path(outfile_prefix).parent.mkdir(parents=True, exist_ok=True)
    changes = {'metric': metrics, 'format_only': format_only, 'outfile_prefix': outfile_prefix}
    changes = {key: value for key, value in changes.items() if value}
    if not changes:
        return
    evaluators = _as_list(cfg.get('test_evaluator'))
    chosen = [
        metric
        for metric in evaluators
        if 'metric' in metric or str(metric.get('type')).endswith(_COCO_STYLE)
    ]
    panoptic = [m for m in evaluators if str(m.get('type')).endswith(_PANOPTIC_STYLE)]
    files = {key: value for key, value in changes.items() if key != 'metric'}
    if not chosen and not (panoptic and files):
        types = [metric.get('type') for metric in evaluators]
        raise ValueError(f'no test_evaluator takes {", ".join(changes)}: the config has {types}')
    for metric in chosen:
        metric.update(changes)
    for metric in panoptic:
        metric.update(files)


def draw_predictions(
    cfg: Config, show: bool = False, show_dir: str | None = None, wait_time: float = 2.0
) -> None:
    """Draw test predictions in a window and / or into files, in place.

    Args:
        cfg: its ``default_hooks.visualization`` is switched on.
        show: open a window for each picture.
        show_dir: folder for the drawings, below ``<work_dir>/<time stamp>``.
        wait_time: seconds for which a window stays.

    Raises:
        KeyError: the config has no visualization hook.
    """
    if not show and show_dir is None:
        return
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise KeyError('--show, --show-dir: the config has no default_hooks.visualization')
    hook.draw = True
    if show:
        hook.show = True
        hook.wait_time = wait_time
    if show_dir is not None:
        hook.test_out_dir = show_dir
