"""Arguments and options that several commands share, and how what was typed is read."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unseen.errors import WrongUse

if TYPE_CHECKING:
    from unseen.language import Texts

Source = Annotated[
    Path,
    typer.Argument(
        help="A folder with one sub-folder a class, a manifest (.csv, .tsv, .jsonl), or arrays (.npy, .npz, "
        ".safetensors).",
        show_default=False,
    ),
]
Guard = Annotated[Path, typer.Argument(help="What `unseen fit` saved.", show_default=False)]
DetectorsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Names or expressions with commas, such as knn,react. Default: those that need features and a head; "
        "all: also those that ask the network for inner layers or slopes.",
        show_default=False,
    ),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder", "-e",
        metavar="NAME",
        help="packaged, pixels?size=8, timm:MODEL, clip:MODEL, hf:NAME, torch:FILE.py:NET, arrays; see `unseen list`. "
        "Default: packaged for images, arrays for arrays.",
        show_default=False,
    ),
]  # fmt: skip
LabelsOption = Annotated[
    str,
    typer.Option(
        "--labels",
        metavar="none|names|labels",
        help="What may be learnt from: the label of each input; the class names alone, read as texts; or neither.",
    ),
]
NamesOption = Annotated[
    str | None,
    typer.Option(
        "--names",
        metavar="NAMES|FILE",
        help="Class names with commas, or a file with one a line. Default: those of the folders or labels.",
        show_default=False,
    ),
]
WordedOption = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        metavar="NAME|FILE",
        help="How a name becomes texts: plp (the default), imagenet, mcm, ... or a file of prompts.",
        show_default=False,
    ),
]
PromptsOption = Annotated[
    str,
    typer.Option(
        "--prompts", metavar="NAME|FILE", help="How a name becomes texts: plp, imagenet, mcm, ... or a file of prompts."
    ),
]
NegativesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--negatives",
        metavar="FILE",
        help="Words from which those unlike every class are mined, for neglabel and the like; may be given again.",
        show_default=False,
    ),
]
TextOption = Annotated[
    Path | None,
    typer.Option(
        "--text",
        metavar="FILE",
        help="Texts that `unseen text` wrote, or an .npz of your own, instead of names that the encoder reads now.",
        show_default=False,
    ),
]
GuardEncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder", "-e",
        metavar="NAME",
        help="Only for a guard of your own network (torch:FILE.py:NET), which its file cannot hold.",
        show_default=False,
    ),
]  # fmt: skip
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", help="Write everything found as JSON; - is standard output.", show_default=False
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Also write a page to read: charts, pictures and tables in one file that asks nothing of any network.",
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option(metavar="N", help="Seed of every random draw.")]
DeviceOption = Annotated[str, typer.Option(metavar="NAME", help="Where networks run: cpu, cuda, mps, ...")]
LimitOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Use at most N inputs, drawn by class under the seed. Default: all."),
]
AlphaOption = Annotated[
    float, typer.Option(metavar="SHARE", help="Share of known inputs that may be called unseen, between 0 and 1.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder that keeps encodings. Default: the user's cache folder.", show_default=False
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Threads that read and decode; results do not depend on it. Default: one for each core, at most 16.",
        show_default=False,
    ),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="End with exit code 3 when an input had to be skipped.")]


def texts(
    labels: str, names: str | None, prompts: str | None, negatives: Sequence[Path] | None, text: Path | None
) -> Texts | Path | None:
    """What a verb takes as ``text``, from the options that say how classes are named.

    Raises:
        WrongUse: where texts that are read already are to be written otherwise.
    """
    said = {"--names": names, "--prompts": prompts, "--negatives": negatives or None}
    given = [option for option, value in said.items() if value is not None]
    if text is not None:
        if given:
            raise WrongUse(f"--text {text} holds texts that are read already: leave {given[0]} out")
        return text
    if not given:
        return None
    if labels == "none":
        raise WrongUse(f"{given[0]} is of class names, and --labels none allows none")
    from unseen.language import Texts

    return Texts(names=names, prompts=prompts or "plp", negatives=list(negatives) if negatives else None)


def expressions(text: str) -> list[str]:
    """Detectors with commas between them; those inside brackets belong to arguments."""
    return [name.strip() for name in re.split(r",(?![^(]*\))", text) if name.strip()]


def listed(text: str) -> list[str]:
    """Names with commas between them."""
    names = [name.strip() for name in text.split(",")]
    return [name for name in names if name]


def named(given: Sequence[str], option: str) -> dict[str, Path]:
    """Sources by name, from ``NAME=SOURCE``."""
    sources: dict[str, Path] = {}
    for text in given:
        name, sep, source = text.partition("=")
        if not (name.strip() and sep and source):
            raise WrongUse(f"--{option} {text}: write NAME=SOURCE, such as --{option} textures=photos/textures")
        if name.strip() in sources:
            raise WrongUse(f"--{option} {text}: {name.strip()!r} is given twice; give each set a name of its own")
        sources[name.strip()] = Path(source)
    return sources


def writable(path: Path | None, *suffixes: str) -> None:
    """Raise before hours of work rather than after them."""
    if path is None or str(path) == "-":
        return
    if suffixes and path.suffix not in suffixes:
        raise WrongUse(f"{path}: the name of this file must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise WrongUse(f"{path}: is a folder; give the name of a file")


def writable_page(page: Path | None) -> None:
    """As `writable`, and its folder is there: a page is written after the work, and alone."""
    writable(page, ".html", ".htm")
    if page is not None and not page.parent.is_dir():
        raise WrongUse(f"{page}: there is no folder {page.parent}: make it first")


def typed() -> str:
    """The command as it was typed, for a page to repeat."""
    return shlex.join(["unseen", *sys.argv[1:]])
