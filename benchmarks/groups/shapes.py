"""The shapes of each size of a run: "tiny" only shows that it runs, "quick" takes minutes, "full" an hour."""

from __future__ import annotations

from problem import Shape

TINY = (Shape(5, 2, 4, 8),)
QUICK = (Shape(1, 1, 64, 64), Shape(100, 1, 64, 64), Shape(100, 16, 64, 128), Shape(100, 32, 128, 256))
FULL = (
    Shape(1, 1, 64, 64),
    Shape(1, 1, 128, 256),
    Shape(100, 1, 64, 64),
    Shape(100, 1, 128, 256),
    Shape(100, 16, 64, 128),
    Shape(100, 32, 128, 256),
    Shape(100, 64, 256, 512),
    Shape(200, 128, 64, 128),
    Shape(784, 128, 1, 128),
    Shape(35, 20, 200, 200),
    Shape(35, 20, 650, 650),
    Shape(35, 20, 1500, 1500),
)
DENSE = {"tiny": TINY, "quick": QUICK, "full": FULL}
# Where loops are compiled as well: that takes two minutes for each, and gains as little elsewhere.
COMPILED = Shape(100, 16, 64, 128)
