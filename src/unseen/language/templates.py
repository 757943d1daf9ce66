"""Prompts: how a name becomes texts. Published lists by name, and lists of one's own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from unseen.errors import BadInput, WrongUse
from unseen.language.lines import read_lines
from unseen.naming import did_you_mean, listed

Prompts = str | os.PathLike[str] | Sequence[str]
"""A registered list, a file of prompts, one prompt, or a list of them."""

# In the order of the notebook that the authors of CLIP published with their code (MIT).
_IMAGENET = """
a bad photo of a {}.
a photo of many {}.
a sculpture of a {}.
a photo of the hard to see {}.
a low resolution photo of the {}.
a rendering of a {}.
graffiti of a {}.
a bad photo of the {}.
a cropped photo of the {}.
a tattoo of a {}.
the embroidered {}.
a photo of a hard to see {}.
a bright photo of a {}.
a photo of a clean {}.
a photo of a dirty {}.
a dark photo of the {}.
a drawing of a {}.
a photo of my {}.
the plastic {}.
a photo of the cool {}.
a close-up photo of a {}.
a black and white photo of the {}.
a painting of the {}.
a painting of a {}.
a pixelated photo of the {}.
a sculpture of the {}.
a bright photo of the {}.
a cropped photo of a {}.
a plastic {}.
a photo of the dirty {}.
a jpeg corrupted photo of a {}.
a blurry photo of the {}.
a photo of the {}.
a good photo of the {}.
a rendering of the {}.
a {} in a video game.
a photo of one {}.
a doodle of a {}.
a close-up photo of the {}.
a photo of a {}.
the origami {}.
the {} in a video game.
a sketch of a {}.
a doodle of the {}.
a origami {}.
a low resolution photo of a {}.
the toy {}.
a rendition of the {}.
a photo of the clean {}.
a photo of a large {}.
a rendition of a {}.
a photo of a nice {}.
a photo of a weird {}.
a blurry photo of a {}.
a cartoon {}.
art of a {}.
a sketch of the {}.
a embroidered {}.
a pixelated photo of a {}.
itap of the {}.
a jpeg corrupted photo of the {}.
a good photo of a {}.
a plushie {}.
a photo of the nice {}.
a photo of the small {}.
a photo of the weird {}.
the cartoon {}.
art of the {}.
a drawing of the {}.
a photo of the large {}.
a black and white photo of a {}.
the plushie {}.
a dark photo of a {}.
itap of a {}.
graffiti of the {}.
a toy {}.
itap of my {}.
a photo of a cool {}.
a photo of a small {}.
a tattoo of the {}.
"""

PROMPTS: Mapping[str, tuple[str, ...]] = {
    "plp": (
        "a photo of a {}.",
        "a blurry photo of a {}.",
        "a photo of many {}.",
        "a photo of the large {}.",
        "a photo of the small {}.",
    ),
    "imagenet": tuple(_IMAGENET.strip().splitlines()),
    "mcm": ("a photo of a {}",),  # without a full stop, as GL-MCM and EOE
    "coop": ("a photo of a {}.",),
    "neglabel": ("the nice {}",),
    "neglabel_adjective": ("This is a {} photo",),
    "csp": (
        "a close-up photo of the nice {}.",
        "a photo with the nice {}.",
        "a good photo with the nice {}.",
        "a photo of the nice {}.",
        "{}",
        "the {}",
        "the good {}",
        "the nice {}",
    ),
    "csp_adjective": ("{}", "a nice photo of {}", "a good photo of {}", "a close-up photo of {}"),
    "openood_vlm": ("The nice {}.",),
    "openood_vlm_adjective": ("This is a {} photo.",),
    "name": ("{}",),  # for sentences, which stand by themselves
    "no": (  # ours: written by hand for `CLIPN`'s read-outs, whose own prompts are learnt
        "a photo without {}.",
        "a photo with no {}.",
        "a photo of no {}.",
        "a photo that shows no {}.",
    ),
}
"""Lists of prompts by name. Those that end in ``_adjective`` are for adjectives among the words to mine from."""

ADJECTIVES = {"neglabel": "neglabel_adjective", "csp": "csp_adjective", "openood_vlm": "openood_vlm_adjective"}
"""The list for adjectives that belongs to a list for names; others take that of ``openood_vlm``."""

_PLACE = re.compile(r"\{c?\}")


def prompts(given: Prompts) -> tuple[str, ...]:
    """The prompts, each with one ``{}`` where the name goes.

    Args:
        given: a registered name (see ``PROMPTS``), a file with one prompt a line, one prompt, or a list. ``{c}`` stands
            for ``{}``.

    Raises:
        WrongUse: for an unknown name, an empty list, or a prompt that has not one place for the name or comes twice.
        BadInput: the same of a file; the message names the line.

    >>> prompts("plp")[0], prompts(["the {c}", "{}"])
    ('a photo of a {}.', ('the {}', '{}'))
    """
    if isinstance(given, str) and given in PROMPTS:
        return PROMPTS[given]
    if isinstance(given, str) and _PLACE.search(given):
        return _checked([("the prompt", given)], WrongUse)
    if isinstance(given, str | os.PathLike):
        if isinstance(given, str) and not Path(given).is_file():
            raise WrongUse(
                f"prompts {given!r} are neither registered ({listed(PROMPTS)}) nor a file{did_you_mean(given, PROMPTS)}"
            )
        lines = [(f"{given} line {number:,}: the prompt", line) for number, line in read_lines(given)]
        if not lines:
            raise BadInput(f"{given}: there is no prompt in it: write one a line, with {{}} for the name")
        return _checked(lines, BadInput)
    if not given:
        raise WrongUse("there is no prompt: give at least one, such as 'a photo of a {}.'")
    return _checked([("the prompt", text) for text in given], WrongUse)


def adjective_prompts(given: Prompts) -> tuple[str, ...]:
    """The prompts for adjectives that go with these for names."""
    return prompts(
        ADJECTIVES.get(given, "openood_vlm_adjective") if isinstance(given, str) else "openood_vlm_adjective"
    )


def fill(prompt: str, name: str) -> str:
    """The text of a name.

    >>> fill("a photo of a {}.", "red {fox}")
    'a photo of a red {fox}.'
    """
    return prompt.replace("{}", name)  # not format(): a name may have braces of its own


def clean(name: str) -> str:
    """Underscores as spaces, and one space where there are several.

    Names of published lists (CIFAR-100's ``aquarium_fish``) went to the models as they are, so this is for names of
    one's own.

    >>> clean("aquarium_fish")
    'aquarium fish'
    """
    return " ".join(name.replace("_", " ").split())


def _checked(lines: Sequence[tuple[str, str]], error: type[BadInput | WrongUse]) -> tuple[str, ...]:
    found: list[str] = []
    for where, text in lines:
        if not isinstance(text, str) or len(_PLACE.findall(text)) != 1:
            raise error(f"{where} {text!r} needs one {{}} where the name goes")
        prompt = _PLACE.sub("{}", text)
        if prompt in found:
            raise error(f"{where} {text!r} comes twice: it would count twice in the average")
        found.append(prompt)
    return tuple(found)
