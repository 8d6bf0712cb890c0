"""Registries of polarseg, children of mmdet's.

A config with ``default_scope = 'polarseg'`` finds our components by their bare name and mmdet's
where we have none of that name. ``locations`` are imported the first time that a registry is
searched, so nobody has to import the components by hand.
"""

from mmdet import registry as _mmdet
from mmengine.registry import Registry

SCOPE = 'polarseg'


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=list(locations))


DATASETS = _child(_mmdet.DATASETS, 'polarseg.datasets')
DATA_SAMPLERS = _child(_mmdet.DATA_SAMPLERS, 'polarseg.datasets')
TRANSFORMS = _child(_mmdet.TRANSFORMS, 'polarseg.datasets.transforms')
MODELS = _child(_mmdet.MODELS, 'polarseg.models')
TASK_UTILS = _child(_mmdet.TASK_UTILS, 'polarseg.models.task_modules')
METRICS = _child(_mmdet.METRICS, 'polarseg.evaluation')
VISUALIZERS = _child(_mmdet.VISUALIZERS, 'polarseg.visualization')
HOOKS = _child(_mmdet.HOOKS, 'polarseg.apis')
RUNNERS = _child(_mmdet.RUNNERS, 'polarseg.apis')
LOOPS = _child(_mmdet.LOOPS, 'polarseg.apis')
MODEL_WRAPPERS = _child(_mmdet.MODEL_WRAPPERS, 'polarseg.apis')
OPTIM_WRAPPERS = _child(_mmdet.OPTIM_WRAPPERS, 'polarseg.apis')
