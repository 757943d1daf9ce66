"""Layers that an argument names."""

from __future__ import annotations

from unseen.errors import WrongUse


def layers_of(part: str, layers: str) -> tuple[str, ...]:
    """The names in a text with commas between them.

    Args:
        part: who asks, for the message.
        layers: such as ``"-2,-1"``.

    Raises:
        WrongUse: when there is none, or one twice.

    >>> layers_of("gram", "-2, -1")
    ('-2', '-1')
    """
    found = tuple(name.strip() for name in layers.split(",")) if isinstance(layers, str) else ()
    if not all(found) or not found or len(set(found)) < len(found):
        raise WrongUse(f"{part}(layers={layers!r}): give names of layers with commas between them, each once")
    return found
