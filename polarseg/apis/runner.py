"""Training and testing from a prepared config."""

import logging
from pathlib import Path
from typing import Any

import torch
from mmdet.evaluation import DumpDetResults
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from polarseg.apis.checkpoint import CheckpointError, resolve_checkpoint
from polarseg.apis.launch import distributed
from polarseg.evaluation import panoptic_summary
from polarseg.registry import HOOKS, METRICS
from polarseg.structures import masks_to_rle
from polarseg.structures.panoptic import thing_classes

__all__ = [
    'DumpPredictions',
    'MatchingClassesHook',
    'MatchingWeightsHook',
    'build_runner',
    'run_test',
    'run_training',
]


# heads for region proposals or semantic segmentation have other classes
_HEADS_OF_INSTANCES = ('bbox_head', 'mask_head', 'mask_iou_head', 'basis_module')


@HOOKS.register_module()
class MatchingWeightsHook(Hook):
    """Stops a run whose checkpoint has nothing in common with the model.

    mmengine only warns about missing and unexpected names, and a test of a model with random
    weights would end with figures of zero instead of an error.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the names of tensors.

        Raises:
            CheckpointError: no tensor of the checkpoint has a name of the model.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        state_dict = checkpoint.get('state_dict', checkpoint)
        names = {str(name).removeprefix('module.') for name in state_dict}
        expected = model.state_dict().keys()
        if names.isdisjoint(expected):
            raise CheckpointError(
                f'{runner.cfg.get("load_from")}: none of its {len(names)} tensors belongs to '
                f'{type(model).__name__}; it has {sorted(names)[:3]}, the model {[*expected][:3]}'
            )


@METRICS.register_module()
class DumpPredictions(DumpDetResults):
    """mmdet's ``DumpDetResults`` (a pickle file of all predictions) for every form of masks.

    Masks are written as compressed RLE whether they come as a tensor ``[N, H, W]``, as RLE already,
    or as objects with ``to_rle()``.

    Args:
        out_file_path: file to write, ending in ``.pkl`` or ``.pickle``.
        collect_device: ``'cpu'`` or ``'gpu'``, where processes exchange predictions.
    """

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Take the predictions of one batch, without the ground truth."""
        for sample in data_samples:
            pred = dict(sample.get('pred_instances') or {})
            masks = pred.pop('masks', None)
            if masks is None:
                super().process(data_batch, [sample])
                continue
            super().process(data_batch, [{**sample, 'pred_instances': pred}])
            self.results[-1]['pred_instances']['masks'] = masks_to_rle(masks)


@HOOKS.register_module()
class MatchingClassesHook(Hook):
    """Stops a training whose data set has more classes than a head of the model.

    The labels beyond a head's classes would be background to one loss and an index out of range to
    another, which on a GPU ends in a device-side assertion. Heads of instances may have more
    classes; semantic branch and fusion of panoptic models must have those of the data.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare ``num_classes`` of the heads for boxes and masks with the data's.

        Raises:
            ValueError: a head has fewer classes than the data set, or a panoptic part others.
        """
        metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', {})
        names = thing_classes(metainfo)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        few = {
            f'{name}.num_classes': module.num_classes
            for name, module in model.named_modules()
            if name.endswith(_HEADS_OF_INSTANCES)
            and not getattr(module, 'class_agnostic', False)
            # None: a basis module without auxiliary head
            and (getattr(module, 'num_classes', None) or len(names)) < len(names)
        }
        if few:
            found = ', '.join(f'{key}={value}' for key, value in few.items())
            raise ValueError(
                f'the training data has {len(names)} classes, but the model has {found}; set these '
                'keys, or metainfo.classes of the data sets'
            )
        _check_panoptic_classes(model, len(names), len(metainfo.get('stuff_classes') or ()))


def _check_panoptic_classes(model: nn.Module, things: int, stuff: int) -> None:
    """Compare the parts that know about stuff; the results' categories count from its things on."""
    wanted = {
        'semantic_head.num_stuff_classes': stuff,
        'panoptic_fusion.num_things_classes': things,
        'panoptic_fusion_head.num_things_classes': things,
        'panoptic_fusion_head.num_stuff_classes': stuff,
    }
    wrong = []
    for key, number in wanted.items():
        part, name = key.split('.')
        found = getattr(getattr(model, part, None), name, number)
        if found != number:
            wrong.append(f'{key}={found}')
    if wrong:
        raise ValueError(
            f'the training data has {things} classes of things and {stuff} of stuff, but the model '
            f'has {", ".join(wrong)}; set these keys, or classes and stuff_classes of metainfo'
        )


def build_runner(cfg: Config) -> Runner:
    """Build mmengine's ``Runner``, or the one that ``cfg.runner_type`` names."""
    setup_cache_size_limit_of_dynamo()
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if runner.deterministic:
        # Some backward kernels have no deterministic form: warn instead of mmengine's error.
        torch.use_deterministic_algorithms(True, warn_only=True)
    runner.register_hook(MatchingWeightsHook())
    runner.register_hook(MatchingClassesHook())
    return runner


def run_training(cfg: Config) -> Runner:
    """Train, on GPUs if torch has any, in as many processes as the launcher started.

    Args:
        cfg: from ``prepare_config``.

    Returns:
        The runner after training.

    Raises:
        LaunchError: the launcher's environment is incomplete.
        ValueError: the data set has more classes than a head of the model.
        CheckpointError: the checkpoint to start from is unreadable, unsafe or of another model.
    """
    with distributed(cfg):
        runner = build_runner(cfg)
        runner.train()
    return runner


def run_test(cfg: Config, checkpoint: str, out: str | None = None) -> dict[str, Any]:
    """Test a checkpoint on the config's test set.

    Args:
        cfg: from ``prepare_config``.
        checkpoint: file or URL; ``DIR/latest.pth`` is the newest checkpoint of DIR.
        out: ``.pkl`` file for all predictions: a list with one dictionary a picture.

    Returns:
        The metrics by name; empty in other processes than the first, and with ``format_only``.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: ``out`` does not end in ``.pkl`` or ``.pickle``.
        CheckpointError: the checkpoint is unreadable, unsafe or of another model.
    """
    if out is not None and not out.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--out must end in .pkl or .pickle, got {out}')
    cfg.load_from = resolve_checkpoint(checkpoint)
    cfg.resume = False
    with distributed(cfg):
        runner = build_runner(cfg)
        print_log(f'Testing {cfg.load_from}', 'current', logging.INFO)
        if out is not None:
            Path(out).parent.mkdir(parents=True, exist_ok=True)
            runner.test_evaluator.metrics.append(DumpPredictions(out_file_path=out))
        scores = runner.test()
        summary = panoptic_summary(scores)
        if summary is not None:
            print_log(f'Panoptic segmentation, percent\n{summary}', 'current', logging.INFO)
        return scores
