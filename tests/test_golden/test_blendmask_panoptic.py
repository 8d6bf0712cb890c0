"""The panoptic network with the published tensors: semantic branch and fusion."""

import numpy as np
import pytest
import torch
from blendmask_configs import config_of, single_picture
from golden_tools import assert_near, build_published

from polarseg.structures import PanopticMap

pytestmark = pytest.mark.golden('blendmask_panoptic')


@pytest.fixture(scope='module')
def model(case_name, case, recipe, request):
    config = config_of(case_name, case, request.config.rootpath)
    return build_published(config, recipe.state_dict(case))[0]


@pytest.fixture(scope='module')
def batch(model, case, recipe):
    return single_picture(model, case, recipe)


@pytest.fixture(scope='module')
def predicted(model, batch):
    samples = [sample.clone() for sample in batch['data_samples']]
    with torch.no_grad():
        return model.predict(batch['inputs'], samples)[0]


def test_semantic_branch(case, model, batch):
    metas = [sample.metainfo for sample in batch['data_samples']]
    with torch.no_grad():
        feats = model.extract_feat(batch['inputs'])[0]
        logits = model.semantic_head.logits(feats)
        (resized,) = model.semantic_head.predict(feats, metas, rescale=True)
    assert_near(logits[0, ::3, ::4, ::4], case['arrays']['sem_head'], 'sem_head')
    assert_near(resized[::6, ::16, ::16], case['arrays']['sem_seg'], 'sem_seg')


def test_published_thresholds(case, model):
    published, ours = case['panoptic'], model.panoptic_fusion
    assert ours.instance_score_thr == published['instance_confidence_threshold']
    assert ours.overlap_thr == published['overlap_threshold']
    assert ours.stuff_area_limit == published['stuff_area_limit']


def test_semantic_map(case, predicted):
    expected = case['arrays']['sem_argmax']
    found = predicted.pred_sem_seg.sem_seg[0].numpy()
    assert found.shape == expected.shape
    assert (found != expected).mean() <= 1e-4


def test_panoptic_map(case, model, predicted):
    expected = case['arrays']['panoptic_map']
    found = PanopticMap.from_data(predicted.pred_panoptic_seg)
    # ambiguous pixels of masks and equal logits
    assert (found.ids != expected).mean() <= 1e-3
    things = model.panoptic_fusion.num_things_classes
    published = case['panoptic']['segments_info']
    assert len(found.segments) == len(published)
    for ours, theirs in zip(found.segments, published):
        assert (ours.id, ours.isthing) == (theirs['id'], theirs['isthing'])
        category = theirs['category_id']
        assert ours.category_id == (category if ours.isthing else things + category - 1)
        if ours.isthing:
            np.testing.assert_allclose(ours.score, theirs['score'], rtol=1e-4)
        else:
            assert abs(ours.area - theirs['area']) <= max(5, 1e-3 * theirs['area'])
