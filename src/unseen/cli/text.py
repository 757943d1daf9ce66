"""``unseen text``: class names, and words that are no class's, as texts in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from unseen.cli.options import CacheOption, DeviceOption, JsonOption, PromptsOption, SeedOption, writable
from unseen.cli.screen import SHOWN, finish, new_table, out, progress, show_facts, show_notes
from unseen.errors import WrongUse


def text(
    names: Annotated[
        str,
        typer.Argument(
            help="A file with a class a line, a folder of class folders, or names with commas. A line may say "
            "CLASS<TAB>CALLED where a class is called otherwise in texts.",
            show_default=False,
        ),
    ],
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", "-e", metavar="NAME", help="One that reads texts, such as clip:MODEL.", show_default=False
        ),
    ],
    path: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="File to write, .safetensors.", show_default=False),
    ],
    prompts: PromptsOption = "plp",
    order: Annotated[
        str,
        typer.Option(
            metavar="ORDER",
            help="How the prompts of a name are averaged: norm-mean-norm gives each the same weight; mean-norm.",
        ),
    ] = "norm-mean-norm",
    clean: Annotated[bool, typer.Option("--clean", help="Underscores of names and words as spaces.")] = False,
    words: Annotated[
        list[Path] | None,
        typer.Option(
            "--words",
            "--negatives",
            metavar="FILE",
            help="Words from which those unlike every class are mined: a list, a folder of lists, WordNet's database "
            "(wordnet), or a record of a language model (.json); may be given again.",
            show_default=False,
        ),
    ] = None,
    mine: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Which words are kept: neglabel, csp, all, random, nearest. Default: neglabel.",
            show_default=False,
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Share of the nouns and of the adjectives. Default: 0.15.", show_default=False
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", help="Keep so many words instead.", show_default=False)
    ] = None,
    quantile: Annotated[
        float, typer.Option(metavar="SHARE", help="Quantile, over the classes, of a word's cosines.")
    ] = 0.95,
    word_prompts: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Prompts for words. Default: those of the classes.", show_default=False),
    ] = None,
    adjective_prompts: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Prompts for adjectives. Default: what belongs to those of words.",
            show_default=False,
        ),
    ] = None,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Leave out words that share a part with a class name.")
    ] = False,
    opposite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help='Prompts of texts that deny a class, for clipn: no, "a photo without {}", or a file.',
            show_default=False,
        ),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    cache: CacheOption = None,
) -> None:
    """Write class names as texts to one file, with words that are unlike all of them.

    The file is what `--text` of other commands takes. Words come from your own lists, and none are downloaded. Look at
    those that are closest to a class before you use them.

    Example: `unseen text photos/ -e 'clip:ViT-B-32?pretrained=openai' --words nouns.txt -o texts.safetensors`
    """
    writable(path, ".safetensors")
    writable(json)
    if mine is not None and not words:
        raise WrongUse(f"--mine {mine} has no words to choose from: give them with --words")
    with progress() as report:
        from unseen.api.text import describe
        from unseen.api.text import text as read
        from unseen.language import Texts

        wanted = Texts(
            prompts=prompts,
            order=order,
            clean=clean,
            negatives=words or None,
            mine=mine or "neglabel",
            fraction=fraction,
            count=count,
            quantile=quantile,
            word_prompts=word_prompts,
            adjective_prompts=adjective_prompts,
            distinct=distinct,
            opposite=opposite,
            seed=seed,
        )
        bank = read(names, encoder, wanted, cache=cache, device=device, progress=report)
        bank.save(path)
        made = {"file": str(path), **describe(bank)}
    finish(json, made, lambda: _show(made))


def _show(made: Mapping[str, Any]) -> None:
    from unseen.classifier import short_id

    about, words, classes = made["about"], made["words"], made["classes"]
    prompts = about["prompts"]
    facts = {
        "classes": f"{len(classes):,}: {', '.join(classes[:SHOWN])}{' ...' if len(classes) > SHOWN else ''}",
        "prompts": f"{len(prompts)}, {about['order']}: {prompts[0]}{' ...' if len(prompts) > 1 else ''}",
        "words": _kept(about) if words else "none",
        "opposite texts": f"{len(classes):,}" if made["opposite"] else "",
        "encoder": short_id(made["encoder"]),
    }
    show_facts(facts)
    if words:
        _show_words("Most unlike the classes", words[:SHOWN])
        close = sorted(words, key=lambda row: (-row["cosine"], row["word"]))[:SHOWN]
        _show_words("Closest to a class; a word for a class should not be here", close)
    show_notes([], made["notes"])
    out.print(f"Texts: {made['file']}", style="bold", soft_wrap=True)


def _kept(about: Mapping[str, Any]) -> str:
    """How many of how many words were kept, by kind, and what was left out before."""
    kinds = [f"{about['kept'][kind]:,} of {there:,} {kind}s" for kind, there in about["candidates"].items()]
    left = [f"{number:,} {reason}" for reason, number in about["dropped"].items()]
    left += [f"{about['near']:,} too like a class"] if about["near"] else []
    return f"{', '.join(kinds)} by {about['mine']}" + (f"; left out: {', '.join(left)}" if left else "")


def _show_words(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    out.print(f"\n{title}", style="bold")
    numbers = ("statistic", "cosine")
    table = new_table("word", *numbers, "closest class", numbers=numbers)
    for row in rows:
        table.add_row(row["word"], f"{row['statistic']:.3f}", f"{row['cosine']:.3f}", row["class"])
    out.print(table)
