"""Small panoptic data sets: random maps in files, predictions that are nearly right."""

import numpy as np

from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic_files import Category, write_panoptic

# in another order than the classes below, with gaps
CATEGORIES = [
    Category(92, 'sky', False),
    Category(18, 'dog', True),
    Category(200, 'sea', False),
    Category(1, 'cat', True),
]
META = dict(classes=('cat', 'dog'), stuff_classes=('sky', 'sea'))
IDS = [1, 18, 92, 200]
"""Of the file, in the order of META."""
SHAPE = (24, 32)


def random_map(random, shape=SHAPE, crowds=True):
    """Stripes of stuff behind rectangles, some void; contiguous categories."""
    ids = np.zeros(shape, np.int64)
    segments = []
    for number in range(1, 8):
        category = int(random.integers(4))
        y, x = random.integers(0, shape[0] - 4), random.integers(0, shape[1] - 4)
        if category >= 2:
            ids[y : y + 9] = number
        else:
            ids[y : y + 12, x : x + 12] = number
        crowd = crowds and category < 2 and random.random() < 0.2
        segments.append(Segment(number, category, category < 2, iscrowd=bool(crowd)))
    seen = np.unique(ids)
    return PanopticMap(ids, [s for s in segments if s.id in seen])


def nearly(random, truth):
    """A prediction: the truth with a block moved, no crowds, scores."""
    ids = truth.ids.copy()
    ids[5:12, 3:20] = ids[7:14, 5:22]
    seen = np.unique(ids)
    segments = [
        Segment(s.id, s.category_id, s.isthing, score=float(random.random()) if s.isthing else None)
        for s in truth.segments
        if s.id in seen
    ]
    return PanopticMap(ids, segments)


def make(folder, number=6, seed=0):
    """Write the truth; returns its JSON and the predictions by image id."""
    random = np.random.default_rng(seed)
    to_file = dict(enumerate(IDS))
    truths = {100 + index: random_map(random) for index in range(number)}
    file = folder / 'truth.json'
    pictures = [(n, f'{n:06}.jpg', m.with_categories(to_file)) for n, m in truths.items()]
    write_panoptic(file, pictures, CATEGORIES)
    return file, {number: nearly(random, truth) for number, truth in truths.items()}


def write_predictions(file, predictions):
    to_file = dict(enumerate(IDS))
    pictures = [(n, f'{n:06}.jpg', m.with_categories(to_file)) for n, m in predictions.items()]
    write_panoptic(file, pictures, CATEGORIES)
    return file
