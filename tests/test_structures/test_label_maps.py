"""Two labels a pixel in one map, and what the labels of a file's categories are."""

import numpy as np
import pytest
import torch

from polarseg.structures import PADDED_LABELS, join_labels, split_labels
from polarseg.structures.label_maps import semantic_labels
from polarseg.structures.panoptic_files import Category

CATEGORIES = [
    Category(9, 'grass', False),
    Category(2, 'cat', True),
    Category(4, 'sky', False),
    Category(1, 'dog', True),
    Category(7, 'road', False),
]


@pytest.mark.parametrize('kind', [np.uint8, np.int32, np.int64])
def test_every_pair_of_labels_comes_back(kind):
    semantic, things = np.mgrid[:256, :256].astype(kind)
    joined = join_labels(things, semantic)
    assert joined.dtype == np.int32
    assert len(np.unique(joined)) == 256 * 256
    np.testing.assert_array_equal(joined, things.astype(int) + 256 * semantic.astype(int))
    for labels, expected in zip(split_labels(torch.from_numpy(joined)), (things, semantic)):
        np.testing.assert_array_equal(labels.numpy(), expected)


def test_padding_is_background_and_ignored():
    things, semantic = split_labels(torch.tensor([PADDED_LABELS]))
    assert (things.item(), semantic.item()) == (0, 255)


def test_maps_without_pixels():
    assert join_labels(np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8)).shape == (0, 5)


@pytest.mark.parametrize(
    ('things', 'semantic', 'message'),
    [
        (np.zeros((4, 5), int), np.zeros((5, 4), int), r'one size, got \[4, 5\] and \[5, 4\]'),
        (np.full((2, 2), 256), np.zeros((2, 2), int), r'things must be in 0 .. 255, got 256'),
        (np.zeros((2, 2), int), np.full((2, 2), -1), r'semantic must be in 0 .. 255, got -1'),
    ],
)
def test_maps_that_do_not_fit(things, semantic, message):
    with pytest.raises(ValueError, match=message):
        join_labels(things, semantic)


def test_stuff_is_numbered_in_the_order_of_its_names():
    labels = semantic_labels(CATEGORIES, ('sky', 'road', 'grass'), ('cat', 'dog'))
    assert labels == {4: 1, 7: 2, 9: 3, 1: 0, 2: 0}


def test_things_are_merged_and_other_stuff_is_unlabelled():
    assert semantic_labels(CATEGORIES, ('grass',), ('dog',)) == {9: 1, 1: 0, 2: 0, 4: 255, 7: 255}
    assert semantic_labels(CATEGORIES, ()) == {1: 0, 2: 0, 4: 255, 7: 255, 9: 255}


def test_a_name_may_be_a_thing_and_stuff():
    both = [*CATEGORIES, Category(12, 'dog', False)]
    assert semantic_labels(both, ('dog', 'sky'), ('dog',))[12] == 1


@pytest.mark.parametrize(
    ('stuff', 'things', 'message'),
    [
        (('sea',), (), r"stuff_classes: no category of stuff is named \['sea'\].*'grass'"),
        (('dog',), (), r"stuff_classes: no category of stuff is named \['dog'\]"),
        (('sky',), ('grass',), r"classes: no category of thing is named \['grass'\].*'cat'"),
        (('sky', 'sky'), (), 'a name twice'),
        (('snow',), (), r"more than one category is named \['snow'\]"),
        (tuple(map(str, range(255))), (), 'at most 254 classes of stuff, got 255'),
    ],
)
def test_names_that_do_not_fit_the_file(stuff, things, message):
    categories = [*CATEGORIES, Category(20, 'snow', False), Category(21, 'snow', False)]
    with pytest.raises(ValueError, match=message):
        semantic_labels(categories, stuff, things)
