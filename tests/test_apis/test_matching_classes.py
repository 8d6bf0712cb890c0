"""The numbers of classes of a model's parts against those of the data that it trains on."""

from types import SimpleNamespace

import pytest
from torch import nn

from polarseg.apis.runner import MatchingClassesHook

THINGS, STUFF = ('cat', 'dog'), ('sky', 'sea', 'sand')
OURS = dict(classes=THINGS, stuff_classes=STUFF)
MMDETS = dict(classes=THINGS + STUFF, thing_classes=THINGS, stuff_classes=STUFF)


def model_of(bbox=2, semantic=3, fusion=2, **more):
    model = nn.Module()
    model.bbox_head = nn.Module()
    model.bbox_head.num_classes = bbox
    if semantic is not None:
        model.semantic_head = nn.Module()
        # of the stuff and of all things as one
        model.semantic_head.num_classes = semantic + 1
        model.semantic_head.num_stuff_classes = semantic
    if fusion is not None:
        model.panoptic_fusion = SimpleNamespace(num_things_classes=fusion)
    for name, part in more.items():
        setattr(model, name, part)
    return model


class WithClasses(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes


def check(model, metainfo):
    dataset = SimpleNamespace(metainfo=metainfo)
    loader = SimpleNamespace(dataset=dataset)
    MatchingClassesHook().before_train(SimpleNamespace(train_dataloader=loader, model=model))


@pytest.mark.parametrize('metainfo', [OURS, MMDETS])
def test_models_that_fit(metainfo):
    check(model_of(), metainfo)
    check(model_of(bbox=80), metainfo)
    check(model_of(semantic=None, fusion=None), metainfo)


@pytest.mark.parametrize('metainfo', [OURS, MMDETS])
@pytest.mark.parametrize(
    ('options', 'named'),
    [
        (dict(bbox=1), r'has 2 classes, .* bbox_head\.num_classes=1; set'),
        (dict(semantic=2), r'2 classes of things and 3 of stuff.*num_stuff_classes=2; set'),
        (dict(semantic=53), r'has semantic_head\.num_stuff_classes=53; set'),
        (dict(fusion=80), r'has panoptic_fusion\.num_things_classes=80; set'),
        (dict(fusion=1, semantic=4), r'num_stuff_classes=4, panoptic_fusion\.num_things_classes=1'),
        (
            dict(panoptic_fusion_head=SimpleNamespace(num_things_classes=2, num_stuff_classes=5)),
            r'has panoptic_fusion_head\.num_stuff_classes=5; set',
        ),
    ],
)
def test_models_that_do_not_fit(metainfo, options, named):
    with pytest.raises(ValueError, match=named):
        check(model_of(**options), metainfo)


def test_basis_module():
    """That of BlendMask learns labels of things; without its auxiliary head it learns none."""
    for number, fits in ((2, True), (80, True), (None, True), (1, False)):
        model = model_of(basis_module=WithClasses(number))
        if fits:
            check(model, OURS)
            continue
        with pytest.raises(ValueError, match=r'has basis_module\.num_classes=1; set'):
            check(model, OURS)


def test_data_without_stuff():
    check(model_of(semantic=None, fusion=None), dict(classes=THINGS))
    with pytest.raises(ValueError, match='2 classes of things and 0 of stuff'):
        check(model_of(), dict(classes=THINGS))
