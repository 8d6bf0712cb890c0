"""Colours, textures, clutter, light and noise. Nothing here knows an object's category."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

__all__ = ['add_clutter', 'add_light_and_noise', 'pick_colour', 'smooth_noise', 'textured']


def _directions(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Distance in pixels along a random direction, ``[height, width]``."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return columns * np.float32(np.cos(angle)) + rows * np.float32(np.sin(angle))


def _flat(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return np.zeros((height, width), dtype=np.float32)


def _gradient(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    ramp = _directions(height, width, rng)
    low, high = float(ramp.min()), float(ramp.max())
    return (ramp - low) * (2.0 / max(high - low, 1.0)) - 1.0


def smooth_noise(
    height: int, width: int, rng: np.random.Generator, cell: float | None = None
) -> np.ndarray:
    """Noise of three octaves in [-1, 1], ``[height, width]``; ``cell`` is in pixels."""
    cell = cell or rng.uniform(6.0, 40.0)
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(3):
        step = cell / 2**octave
        grid = (int(height / step) + 2, int(width / step) + 2)
        values = rng.uniform(-1.0, 1.0, grid).astype(np.float32)
        total += cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return np.clip(total, -1.0, 1.0)


def _stripes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    waves = np.sin(_directions(height, width, rng) * (2.0 * np.pi / rng.uniform(4.0, 24.0)))
    return np.sign(waves) if rng.random() < 0.5 else waves


def _checks(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    period = rng.uniform(4.0, 12.0)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    return np.sign(np.sin(along * (np.pi / period)) * np.sin(across * (np.pi / period)))


def _speckle(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return np.where(smooth_noise(height, width, rng, rng.uniform(4.0, 10.0)) > 0.3, 1.0, -0.3)


_PATTERNS: tuple[Callable[[int, int, np.random.Generator], np.ndarray], ...] = (
    _flat,
    _gradient,
    smooth_noise,
    _stripes,
    _checks,
    _speckle,
)


def pick_colour(
    rng: np.random.Generator, others: list[np.ndarray], contrast: float, tries: int = 40
) -> np.ndarray:
    """Draw a colour that differs from others.

    Args:
        rng: Source of randomness.
        others: Colours ``[3]`` to keep away from.
        contrast: Wanted Euclidean distance in levels of 255.
        tries: Number of draws; the one farthest from its nearest neighbour is taken where none
            reaches the wanted distance.

    Returns:
        Float array ``[3]``, levels of 255.
    """
    best, best_distance = rng.uniform(20.0, 235.0, 3), -1.0
    for candidate in rng.uniform(20.0, 235.0, (tries, 3)):
        distance = min((float(np.linalg.norm(candidate - o)) for o in others), default=np.inf)
        if distance > best_distance:
            best, best_distance = candidate, distance
        if distance >= contrast:
            break
    return best


def textured(
    height: int, width: int, colour: np.ndarray, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """A patch of random pattern about a colour.

    Args:
        height: Patch height, pixels.
        width: Patch width, pixels.
        colour: Mean colour ``[3]``, levels of 255.
        strength: Largest amplitude of the pattern, levels of 255.
        rng: Source of randomness.

    Returns:
        Float32 array ``[height, width, 3]``, not yet clipped to ``[0, 255]``.
    """
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))](height, width, rng)
    tint = rng.uniform(0.3, 1.0, 3) * rng.uniform(0.4, 1.0) * strength
    if rng.random() < 0.3:
        tint *= rng.choice([-1.0, 1.0], 3)
    return (colour + pattern[..., None] * tint).astype(np.float32)


def add_clutter(image: np.ndarray, most: int, rng: np.random.Generator) -> None:
    """Draw up to ``most`` straight and bent lines, not objects, into a float32 picture in place."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(0, most + 1))):
        ends = rng.uniform([0, 0], [width, height], (2, 2))
        bend = ends.mean(axis=0) + rng.normal(0.0, 0.15 * min(height, width), 2)
        t = np.linspace(0.0, 1.0, 24)[:, None]
        curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * bend + t**2 * ends[1]
        colour = tuple(float(v) for v in rng.uniform(0.0, 255.0, 3))
        points = np.round(curve * 16).astype(np.int32)
        cv2.polylines(
            image,
            [points],
            isClosed=False,
            color=colour,
            thickness=int(rng.integers(1, 3)),
            lineType=cv2.LINE_8,
            shift=4,
        )


def add_light_and_noise(
    image: np.ndarray, lighting: float, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Uneven light, a little blur and pixel noise.

    Args:
        image: Float32 array ``[h, w, 3]``, levels of 255.
        lighting: Largest relative change of brightness.
        noise: Largest standard deviation of the noise, levels of 255.
        rng: Source of randomness.

    Returns:
        Uint8 array ``[h, w, 3]``.
    """
    height, width = image.shape[:2]
    light = 1.0 + rng.uniform(0.0, lighting) * _gradient(height, width, rng)
    image = np.clip(image, 0.0, 255.0) * light[..., None]
    image = cv2.GaussianBlur(image.astype(np.float32), (5, 5), rng.uniform(0.4, 0.8))
    grain = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0.0, noise)
    return np.clip(np.round(image + grain), 0, 255).astype(np.uint8)
