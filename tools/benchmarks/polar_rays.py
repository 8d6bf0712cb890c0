"""Measure polar_ray_targets, and all of PolarMask's label making, beside Python and torch.

    python tools/benchmarks/polar_rays.py --threads 1 --golden-dir FOLDER

FOLDER holds stored published targets (polarmask_targets.json and .npz): their pictures are measured
too, and the lengths must be the stored ones bit for bit.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from comparisons import Comparison, close
from harness import Case, Peer, Subject, main, new_parser
from mmengine.structures import InstanceData
from peers.polar_rays import (
    loop_binned,
    vectorised_binned,
    vectorised_exact,
)
from pictures import (
    Picture,
    RayInputs,
    build_head,
    feature_sizes,
    golden_folder,
    instances_of,
    published_pictures,
    ray_inputs,
    synthetic_masks,
)
from torch import Tensor

from polarseg.datasets.transforms import TracePolarContours
from polarseg.ops import polar_ray_targets
from polarseg.structures.polar import EMPTY_RAY

NUM_RAYS = 36
SIZE = (800, 1280)
COUNTS = (7, 20, 60)
PICTURES = 16
"""Of each count: a call for each, so that no picture follows itself."""
QUICK_SIZE = (96, 128)
QUICK_COUNTS = (2, 3)
QUICK_PICTURES = 2
EXACT_TOLERANCE = 1e-5
# Degrees. Angles that float32 arithmetic may put on either side of a whole degree.
BORDER = 4 * 360 * torch.finfo(torch.float32).eps
LOOP = 'Python loop'
VECTORISED = 'torch, vectorised'
RayFunction = Callable[..., Tensor]


# ---- comparing -----------------------------------------------------------------------------------


def compare_binned(inputs: RayInputs, ours: Tensor, theirs: Tensor) -> Comparison:
    """Identical, or different where a contour point lies within rounding of a degree's border.

    A ray's length depends on which points fall into the seven degrees round it. A difference is
    allowed if, among the borders of those degrees, one has a contour point within float32 rounding
    of it; or if the lengths are neighbouring float32 numbers: torch's root may be off by a unit in
    the last place, as a matter of the vector maths library in use.
    """
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return Comparison(False, None, False, 'shapes or dtypes differ')
    different = (ours != theirs).nonzero().tolist()
    if not different:
        return Comparison(True)
    units = unexplained = points = 0
    for row, ray in different:
        near = points_at_borders(inputs, row, ray * 360 // ours.shape[1])
        points += near
        if near == 0:
            own, other = ours[row, ray], theirs[row, ray]
            is_unit = bool(torch.nextafter(own, other) == other)
            units += is_unit
            unexplained += not is_unit
    reasons = {
        "at a degree's border": len(different) - units - unexplained,
        'by a unit of the root': units,
        'WITHOUT A REASON': unexplained,
    }
    found = ', '.join(f'{count} {reason}' for reason, count in reasons.items() if count)
    note = f'{len(different)} of {ours.numel()} rays differ: {found}'
    note += f' ({points} contour points)' if points else ''
    return Comparison(False, float((ours - theirs).abs().max()), unexplained == 0, note)


def points_at_borders(inputs: RayInputs, row: int, degree: int) -> int:
    """How many contour points are only rounding away from a border that matters to a ray.

    Those of the seven degrees that may answer for it.

    Args:
        inputs: of the operator.
        row: the positive.
        degree: the ray's whole degree.
    """
    instance = int(inputs.instance_index[row])
    start, end = inputs.offsets[instance : instance + 2].tolist()
    difference = inputs.contours[start:end] - inputs.locations[row]
    exact = torch.atan2(*difference.double().unbind(dim=1)) * 180 / math.pi
    whole = exact.round()
    # degrees -3 to 3 round the ray's own have the borders -3 to 4
    from_middle = (whole - (degree + 0.5) + 180) % 360 - 180
    near = ((exact - whole).abs() <= BORDER) & (from_middle.abs() < 4)
    return int(near.sum())


def compare_pictures(
    all_inputs: Sequence[RayInputs], ours: Sequence[Tensor], theirs: Sequence[Tensor]
) -> Comparison:
    """:func:`compare_binned` over several pictures; their notes together."""
    found = [compare_binned(*pair) for pair in zip(all_inputs, ours, theirs, strict=True)]
    errors = [one.max_error for one in found if one.max_error is not None]
    return Comparison(
        all(one.identical for one in found),
        max(errors) if errors else None,
        all(one.ok for one in found),
        '; '.join(one.note for one in found if one.note),
    )


def compare_all(
    compare: Callable[[Tensor, Tensor], Comparison],
    ours: Sequence[Tensor],
    theirs: Sequence[Tensor],
) -> Comparison:
    """A comparison of two tensors, over several pairs."""
    return compare(torch.cat(list(ours)), torch.cat(list(theirs)))


def compare_with_stored(
    stored: Sequence[Tensor], on_cpu: bool, ours: Sequence[Tensor]
) -> Comparison:
    """The published lengths, which were made on a CPU.

    They are torch's roots of whole numbers, so the whole numbers can be told from them. On some
    processors that root is off by a unit in the last place, on each in its own way. On a CPU the
    operator must therefore give, bit for bit, what torch's root of those numbers is here, and
    everywhere the stored length or a neighbouring float32 number.

    Args:
        stored: lengths of each picture.
        on_cpu: ours were made on a CPU.
        ours: lengths of each picture.
    """
    same = near = as_here = 0
    for own, other in zip((one.cpu() for one in ours), stored):
        if own.shape != other.shape:
            continue
        same += torch.equal(own, other)
        near += torch.equal(torch.nextafter(own, other), other)
        as_here += torch.equal(own, roots_here(other))
    count = len(stored)
    note = f'stored published lengths: {same} of {count} pictures identical'
    if same < count:
        note += f', {near} within a unit in the last place'
    if same < count and on_cpu:
        note += f", {as_here} identical with torch's root here"
    ok = near == count == len(ours) and (as_here == count or not on_cpu)
    return Comparison(same == count, None, ok, note)


def roots_here(lengths: Tensor) -> Tensor:
    """What torch's root of the same whole numbers is on this machine.

    Args:
        lengths: float32 roots of whole numbers, or what an empty ray has.
    """
    squares = lengths.double().square().round().float()
    return torch.where(lengths == EMPTY_RAY, lengths, squares.sqrt())


# ---- rays of synthetic pictures ------------------------------------------------------------------


def synthetic_inputs(count: int, options: argparse.Namespace, seed: int | None = None) -> RayInputs:
    """The positives of a synthetic picture.

    Args:
        count: of its instances.
        options: of the command line.
        seed: of its shapes; the count itself by default.
    """
    head = build_head()
    size = QUICK_SIZE if options.quick else SIZE
    masks = synthetic_masks(count, *size, seed=count if seed is None else seed)
    instances = instances_of(masks, TracePolarContours())
    return ray_inputs(instances, feature_sizes(*size, head), head).to(options.device)


def each(inputs: Sequence[RayInputs], function: RayFunction, *mode: str) -> list[Tensor]:
    """The lengths of several pictures, a call for each."""
    return [function(*one.arguments(), NUM_RAYS, *mode) for one in inputs]


def binned_peers(inputs: Sequence[RayInputs]) -> dict[str, Peer]:
    """Everybody else's way to mode binned."""
    compare = partial(compare_pictures, inputs)
    return {
        LOOP: Peer(partial(each, inputs, loop_binned), compare),
        VECTORISED: Peer(partial(each, inputs, vectorised_binned), compare),
    }


def prepare_rays(count: int, mode: str, pictures: int, options: argparse.Namespace) -> Subject:
    """The operator's two modes on synthetic pictures, a call for each, beside peers."""
    inputs = [synthetic_inputs(count, options, count + 1000 * n) for n in range(pictures)]
    if mode == 'exact':
        close_each = partial(compare_all, close(EXACT_TOLERANCE))
        peers = {
            VECTORISED: Peer(partial(each, inputs, vectorised_exact), close_each),
            'ours, binned': Peer(partial(each, inputs, polar_ray_targets, 'binned'), compare=None),
        }
    else:
        peers = binned_peers(inputs)
    return Subject(partial(each, inputs, polar_ray_targets, mode), peers)


def prepare_one_alone(count: int, mode: str, options: argparse.Namespace) -> Subject:
    """A picture again and again."""
    arguments = synthetic_inputs(count, options).arguments()
    return Subject(partial(polar_ray_targets, *arguments, NUM_RAYS, mode))


def prepare_calls_alone(by_torch: bool, count: int, options: argparse.Namespace) -> Subject:
    """What a call costs before it does anything, after the Python loop has had the caches.

    Args:
        by_torch: call an operator of torch's that only makes a view, in the same way, instead of
            ours without a location.
        count: instances of the picture that the loop works on.
        options: of the command line.
    """
    inputs = synthetic_inputs(count, options)
    loop = Peer(partial(loop_binned, *inputs.arguments(), NUM_RAYS), compare=None)
    if by_torch:
        return Subject(partial(torch.ops.aten.alias.default, inputs.contours), {LOOP: loop})
    contours, offsets, locations, instance_index = inputs.arguments()
    nothing = contours, offsets, locations[:0], instance_index[:0]
    return Subject(partial(polar_ray_targets, *nothing, NUM_RAYS), {LOOP: loop})


# ---- the pictures of stored published targets ----------------------------------------------------


def prepare_published(options: argparse.Namespace) -> Subject:
    """All pictures of the stored targets, one call for each."""
    pictures: list[Picture] = list(published_pictures(options.golden_dir, build_head()))
    inputs = [picture.inputs.to(options.device) for picture in pictures]
    stored = [picture.rays for picture in pictures]
    return Subject(
        partial(each, inputs, polar_ray_targets),
        binned_peers(inputs),
        check=partial(compare_with_stored, stored, options.device == 'cpu'),
    )


# ---- labels: from masks to targets ---------------------------------------------------------------


class LabelMaking:
    """A picture's way from instance masks to ray targets, whole and in parts, on the CPU.

    Args:
        count: number of instances.
        size: height and width of the network's input, pixels.
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.head = build_head()
        self.transform = TracePolarContours()
        self.sample = synthetic_masks(count, *size, seed=count)
        self.sizes = feature_sizes(*size, self.head)
        self.instances = self.trace()
        self.inputs = self.assign()

    def trace(self) -> InstanceData:
        """Contours and mass centres, by the loader's transform."""
        return instances_of(self.sample, self.transform)

    def assign(self) -> RayInputs:
        """The positives, by the head's assigner."""
        return ray_inputs(self.instances, self.sizes, self.head)

    def rays(self, function: RayFunction = polar_ray_targets) -> Tensor:
        """The lengths."""
        return function(*self.inputs.arguments(), NUM_RAYS)

    def whole(self) -> Tensor:
        """All of it, by the transform and the head's target function."""
        return self.head.get_targets(self.sizes, [self.trace()]).rays

    def whole_by(self, function: RayFunction) -> Tensor:
        """All of it with another way to the lengths."""
        inputs = ray_inputs(self.trace(), self.sizes, self.head)
        return function(*inputs.arguments(), NUM_RAYS)


def prepare_labels(count: int, part: str | None, options: argparse.Namespace) -> Subject:
    """The whole beside peers, or the time of one part."""
    making = LabelMaking(count, QUICK_SIZE if options.quick else SIZE)
    compare = partial(compare_binned, making.inputs)
    if part is None:
        return Subject(
            making.whole,
            {
                LOOP: Peer(partial(making.whole_by, loop_binned), compare),
                VECTORISED: Peer(partial(making.whole_by, vectorised_binned), compare),
            },
        )
    return Subject(getattr(making, part))


LABEL_PARTS = {
    'in a row': 'whole',
    'contours and centres': 'trace',
    'assignment': 'assign',
    'rays': 'rays',
}


def list_cases(options: argparse.Namespace) -> list[Case]:
    """All cases."""
    counts = QUICK_COUNTS if options.quick else COUNTS
    pictures = QUICK_PICTURES if options.quick else PICTURES
    modes = ('binned', 'exact')
    cases = [
        Case(
            'polar_ray_targets',
            f'{mode}, {pictures} pictures of {count} instances',
            partial(prepare_rays, count, mode, pictures),
        )
        for mode in modes
        for count in counts
    ]
    name = f'one picture of {counts[0]} instances'
    cases.append(
        Case('polar_ray_targets', f'binned, {name}', partial(prepare_rays, counts[0], 'binned', 1))
    )
    cases += [
        Case(
            'polar_ray_targets',
            f'{mode}, {name}, in a row',
            partial(prepare_one_alone, counts[0], mode),
        )
        for mode in modes
    ]
    cases += [
        Case(
            'polar_ray_targets',
            f'{name}, {counts[0]} instances',
            partial(prepare_calls_alone, by_torch, counts[0]),
        )
        for name, by_torch in (('call without a location', False), ("call of torch's alias", True))
    ]
    if options.golden_dir is not None:
        cases.append(Case('polar_ray_targets', 'binned, published pictures', prepare_published))
    if options.device == 'cpu':
        parts = {f': {name}': method for name, method in LABEL_PARTS.items()}
        cases += [
            Case(
                'PolarMask label making',
                f'labels, {counts[-1]} instances{name}',
                partial(prepare_labels, counts[-1], part),
                threads=1,
            )
            for name, part in ({'': None} | parts).items()
        ]
    return cases


def run(argv: Sequence[str] | None = None) -> int:
    """Measure and report; the exit status."""
    parser = new_parser(__doc__)
    parser.add_argument(
        '--golden-dir', type=golden_folder, metavar='DIR', help='stored published targets'
    )
    return main(list_cases, parser, argv)


if __name__ == '__main__':
    sys.exit(run())
