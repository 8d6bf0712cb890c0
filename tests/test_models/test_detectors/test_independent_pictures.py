"""A test batch gives each picture what it gets alone, whatever the others' sizes are."""

import pytest
import torch

LOW = dict(score_thr=1e-3, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20)
SIZES = [(100, 128), (128, 90), (128, 96), (60, 128)]


@pytest.fixture
def predictions(build_detector, make_batch, ground_truth):
    """Sizes of what went through the network, and scores, of a batch and of its pictures alone."""
    model = build_detector(pad_size_divisor=32, test_cfg=LOW).eval()
    batch = make_batch([*ground_truth, *ground_truth], sizes=SIZES)

    def predict(split_batches):
        model.split_batches = split_batches
        shapes = []
        hook = model.backbone.register_forward_pre_hook(
            lambda _, inputs: shapes.append(tuple(inputs[0].shape))
        )
        with torch.no_grad():
            together = model.test_step(dict(batch))
            hook.remove()
            scores = [sample.pred_instances.scores for sample in together]
            alone = [
                model.test_step(dict(inputs=[picture], data_samples=[sample]))[0]
                for picture, sample in zip(batch['inputs'], batch['data_samples'])
            ]
        return shapes, scores, [sample.pred_instances.scores for sample in alone]

    return predict


def test_pictures_of_one_padded_size_go_together(predictions):
    shapes, together, alone = predictions(split_batches=True)
    assert sorted(shapes) == [(1, 3, 64, 128), (1, 3, 128, 128), (2, 3, 128, 96)]
    for mine, own in zip(together, alone):
        assert len(mine) == 20
        torch.testing.assert_close(mine, own, rtol=1e-5, atol=0)


def test_a_batch_left_as_padded_changes_results(predictions):
    shapes, together, alone = predictions(split_batches=False)
    assert shapes == [(4, 3, 128, 128)]
    differences = [((mine - own) / own).abs().max() for mine, own in zip(together, alone)]
    assert max(differences) > 3e-4
