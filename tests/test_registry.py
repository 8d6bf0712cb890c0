"""Every registered component is found by name, documented, and mmdet's stand behind ours."""

import inspect

import pytest

from polarseg import registry

REGISTRIES = {
    name: value for name, value in vars(registry).items() if isinstance(value, registry.Registry)
}


def entries():
    """(registry, name, class) of all our components."""
    for registry_name, child in sorted(REGISTRIES.items()):
        child.import_from_location()
        for name, component in sorted(child.module_dict.items()):
            yield pytest.param(child, name, component, id=f'{registry_name}-{name}')


ENTRIES = list(entries())


def test_the_components_of_polarmask_are_there():
    names = {param.values[1] for param in ENTRIES}
    assert names >= {
        'PolarMask',
        'PolarMaskHead',
        'PolarIoULoss',
        'RaySmoothL1Loss',
        'PointAssigner',
        'PointPostprocessor',
        'CocoInstanceDataset',
        'TracePolarContours',
        'DropTinyMasks',
        'BoxesToConvention',
        'PackPolarInputs',
        'CocoInstanceMetric',
        'InstanceVisualizer',
    }


@pytest.mark.parametrize(('child', 'name', 'component'), ENTRIES)
def test_found_by_bare_and_by_full_name(child, name, component):
    assert child.get(name) is component
    assert child.get(f'polarseg.{name}') is component


@pytest.mark.parametrize(('child', 'name', 'component'), ENTRIES)
def test_documented(child, name, component):
    """A docstring of its own, which names every argument of the constructor."""
    text = component.__dict__.get('__doc__') if inspect.isclass(component) else component.__doc__
    assert text, f'{name} has no docstring'
    assert len(text.split()) > 5
    if not inspect.isclass(component) or '__init__' not in vars(component):
        return
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for argument in list(inspect.signature(component.__init__).parameters.values())[1:]:
        if argument.kind not in variadic:
            assert argument.name in text, f'{name}: {argument.name} is not described'


@pytest.mark.parametrize(('child', 'name', 'component'), ENTRIES)
def test_has_a_repr_of_its_own_or_is_built_by_keywords(child, name, component):
    """The log of a run shows it: a repr, or the keywords of the config."""
    assert inspect.isclass(component) or callable(component)
    if inspect.isclass(component) and component.__repr__ is object.__repr__:
        parameters = inspect.signature(component).parameters.values()
        assert all(parameter.kind != parameter.POSITIONAL_ONLY for parameter in parameters)


@pytest.mark.parametrize(('child', 'name', 'component'), ENTRIES)
def test_lives_in_our_package(child, name, component):
    assert component.__module__.startswith('polarseg.')
    assert child.scope == 'polarseg'


@pytest.mark.parametrize(
    ('child', 'name'),
    [
        ('MODELS', 'FPN'),
        ('MODELS', 'ResNetV1d'),
        ('MODELS', 'FocalLoss'),
        ('MODELS', 'DetDataPreprocessor'),
        ('TASK_UTILS', 'MlvlPointGenerator'),
        ('DATASETS', 'CocoDataset'),
        ('DATA_SAMPLERS', 'AspectRatioBatchSampler'),
        ('DATA_SAMPLERS', 'DefaultSampler'),
        ('TRANSFORMS', 'LoadAnnotations'),
        ('TRANSFORMS', 'LoadImageFromFile'),
        ('TRANSFORMS', 'PackDetInputs'),
        ('HOOKS', 'DetVisualizationHook'),
        ('HOOKS', 'CheckpointHook'),
        ('METRICS', 'CocoMetric'),
        ('VISUALIZERS', 'DetLocalVisualizer'),
        ('VISBACKENDS', 'LocalVisBackend'),
        ('OPTIMIZERS', 'SGD'),
        ('OPTIM_WRAPPERS', 'AmpOptimWrapper'),
        ('PARAM_SCHEDULERS', 'MultiStepLR'),
        ('LOOPS', 'EpochBasedTrainLoop'),
        ('LOG_PROCESSORS', 'LogProcessor'),
    ],
)
def test_components_of_mmdet_and_mmengine(child, name):
    found = REGISTRIES[child].get(name)
    assert found is not None, f'{name} is not found from {child}'
    assert not found.__module__.startswith('polarseg.')


def test_mmdets_class_of_the_same_registry_is_mmdets():
    from mmdet.models import FPN

    assert registry.MODELS.get('FPN') is FPN


def test_mmdet_keeps_to_itself():
    """Importing polarseg adds nothing to mmdet's own registries."""
    from mmdet.registry import MODELS

    assert 'PolarMaskHead' not in MODELS.module_dict


def test_built_by_bare_name_in_the_default_scope():
    """As a config with ``default_scope = 'polarseg'`` does, from mmengine's root registry."""
    from mmengine.registry import MODELS as ROOT

    from polarseg.models import PolarIoULoss

    assert isinstance(ROOT.build(dict(type='PolarIoULoss')), PolarIoULoss)
    assert type(ROOT.build(dict(type='FocalLoss', use_sigmoid=True))).__module__.startswith('mmdet')


def test_unknown_name():
    with pytest.raises(KeyError, match='NoSuchHead'):
        registry.MODELS.build(dict(type='NoSuchHead'))
