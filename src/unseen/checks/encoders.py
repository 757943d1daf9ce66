"""What every encoder must do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from unseen.checks._suite import Checks
from unseen.checks.detectors import raises
from unseen.encoders import Encoder, encode
from unseen.errors import WrongUse
from unseen.signals import Request

CHECKS = Checks()
PLAIN = ("features", "logits")


def pictures(encoder: Any, n: int = 8, seed: int = 0) -> np.ndarray:
    """Prepared pictures of smooth random colours, uint8 ``(n, H, W, 3)``."""
    rng = np.random.default_rng(seed)
    return np.stack([encoder.prepare(_picture(rng, 40, 56)) for _ in range(n)])


def _picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].copy()


def answered(encoder: Any, batch: np.ndarray, wanted: Any = None) -> dict[str, torch.Tensor]:
    """What it answers about a batch; everything that it gives, by default."""
    found: dict[str, torch.Tensor] = encoder.answer(batch, frozenset(encoder.provides if wanted is None else wanted))
    return found


def _images(encoder: Encoder) -> bool:
    return encoder.accepts == "images"


@CHECKS.demand()
def it_has_an_id(encoder: Encoder) -> None:
    """The id is a line of text, and the same every time."""
    assert isinstance(encoder.id, str), "the id is not text"
    assert encoder.id, "the id is empty"
    assert "\n" not in encoder.id, "the id has several lines"
    assert encoder.id.startswith(encoder.name.split(":")[0]), f"the id {encoder.id!r} does not begin with its name"
    assert encoder.id == encoder.id, "the id changes"


@CHECKS.demand()
def any_picture_becomes_one_shape(encoder: Encoder) -> None:
    """Pictures of every size and shape are prepared to one fixed shape, uint8, and are not written to."""
    if not _images(encoder):
        return
    rng = np.random.default_rng(0)
    shapes = set()
    for height, width in ((1, 1), (1, 300), (7, 5), (64, 64), (333, 120)):
        picture = _picture(rng, height, width)
        picture.setflags(write=False)
        before = picture.copy()
        made = encoder.prepare(picture)
        assert made.dtype == np.uint8, f"{height}x{width}: prepared to {made.dtype}"
        assert np.array_equal(picture, before), f"{height}x{width}: the picture was written to"
        shapes.add(made.shape)
    assert len(shapes) == 1, f"pictures are prepared to {len(shapes)} shapes: {sorted(shapes)}"


@CHECKS.demand()
def answers_are_rows(encoder: Encoder) -> None:
    """Every signal that it provides is a finite float32 tensor on the CPU with one row an input."""
    if not _images(encoder):
        return
    batch = pictures(encoder)
    found = answered(encoder, batch)
    assert found.keys() == set(encoder.provides), f"asked for {sorted(encoder.provides)}, got {sorted(found)}"
    for name, signal in found.items():
        assert len(signal) == len(batch), f"{name}: {len(signal)} rows for {len(batch)} inputs"
        assert signal.ndim >= 2, f"{name}: {signal.ndim} axes"
        assert signal.dtype == torch.float32, f"{name}: {signal.dtype}"
        assert signal.device.type == "cpu", f"{name}: on {signal.device}"
        assert not signal.requires_grad, f"{name}: carries gradients"
        assert bool(signal.isfinite().all()), f"{name}: not finite"


@CHECKS.demand()
def the_same_every_time(encoder: Encoder) -> None:
    """A batch has one answer, to the last bit; it is not written to, and may be read-only."""
    if not _images(encoder):
        return
    batch = pictures(encoder)
    before = batch.copy()
    batch.setflags(write=False)
    one, two = answered(encoder, batch), answered(encoder, batch)
    assert np.array_equal(batch, before), "the batch was written to"
    for name in one:
        assert torch.equal(one[name], two[name]), f"{name}: other bits the second time"


@CHECKS.demand()
def neighbours_do_not_matter(encoder: Encoder) -> None:
    """An input has one answer, whatever else is in its batch (is a batch norm in training mode?)."""
    if not _images(encoder):
        return
    batch, others = pictures(encoder), pictures(encoder, seed=1)
    mixed = np.concatenate([batch[:3], others[3:]])
    one, two = answered(encoder, batch), answered(encoder, mixed)
    for name in one:
        gap = float((one[name][:3] - two[name][:3]).abs().max() / one[name].abs().max().clamp_min(1e-12))
        assert gap < 1e-5, f"{name}: an input moves by {gap:.1e} with its neighbours"


@CHECKS.demand()
def answers_vary(encoder: Encoder) -> None:
    """Different pictures have different answers."""
    if not _images(encoder):
        return
    for name, signal in answered(encoder, pictures(encoder)).items():
        assert len(np.unique(signal.flatten(1).numpy(), axis=0)) == len(signal), (
            f"{name}: different pictures share an answer"
        )


@CHECKS.demand()
def asking_for_less_gives_the_same(encoder: Encoder) -> None:
    """One signal alone is the same as among others."""
    if not _images(encoder):
        return
    batch = pictures(encoder)
    whole = answered(encoder, batch)
    for name in encoder.provides:
        alone = answered(encoder, batch, {name})
        assert alone.keys() == {name}, f"asked for {name}, got {sorted(alone)}"
        assert torch.allclose(alone[name], whole[name], rtol=1e-5, atol=1e-5), f"{name}: another answer alone"


@CHECKS.demand()
def what_it_cannot_give_is_named(encoder: Encoder) -> None:
    """Asked for a signal or a request that it does not know, it says so in one line."""
    if _images(encoder):
        batch = pictures(encoder, 1)
        raises(WrongUse, lambda: answered(encoder, batch, {"nothing"}), "nothing")
        raises(WrongUse, lambda: answered(encoder, batch, {Request()}), "Request")
    else:
        columns = {"features": np.zeros((3, 2), np.float32)}
        asked: Any = encoder
        raises(WrongUse, lambda: asked.answer_columns(columns, frozenset({"nothing"})), "nothing", "features")


@CHECKS.demand()
def the_head_makes_the_logits(encoder: Encoder) -> None:
    """Where there are features, logits and a linear head, the head takes one to the other."""
    if not _images(encoder) or encoder.head is None:
        return
    assert set(PLAIN) <= set(encoder.provides), f"has a head, and provides only {sorted(encoder.provides)}"
    found = answered(encoder, pictures(encoder))
    made = found["features"] @ encoder.head.weight.T + encoder.head.bias
    gap = float((made - found["logits"]).abs().max() / found["logits"].abs().max().clamp_min(1e-12))
    assert gap < 1e-4, f"features times head differ from the logits by {gap:.1e} of the largest"
    names = encoder.head.classes
    assert names is None or len(names) == len(encoder.head.bias), "names of classes are not one an output"


@CHECKS.demand()
def it_is_restored_to_the_same_bits(encoder: Encoder) -> None:
    """What a saved classifier holds of it makes the same encoder: same id, same bits."""
    if not encoder.rebuildable:
        assert not encoder.state(), "cannot be rebuilt, yet gives weights to a file"
        return
    again = type(encoder).restore(encoder.describe(), encoder.state())
    assert again.id == encoder.id, f"{encoder.id} comes out as {again.id}"
    if _images(encoder):
        batch = pictures(encoder, 3)
        one, two = answered(encoder, batch), answered(again, batch)
        for name in one:
            assert torch.equal(one[name], two[name]), f"{name}: other bits after it was restored"


@CHECKS.demand()
def encoding_asks_it_once_a_row(encoder: Encoder) -> None:
    """The loop over inputs gives each row its own answer, in order, with the id of the encoder."""
    if _images(encoder):
        rng = np.random.default_rng(2)
        inputs: Any = {"images": np.stack([_picture(rng, 32, 32) for _ in range(5)])}
        support = encode(inputs, encoder, cache=False)
        batch = np.stack([encoder.prepare(picture) for picture in inputs["images"]])
        expected = answered(encoder, batch)
    else:
        columns = {"features": np.arange(10, dtype=np.float32).reshape(5, 2)}
        support = encode(columns, encoder, cache=False)
        expected = {"features": torch.tensor(columns["features"])}
    assert support.encoder == encoder.id, f"the support says {support.encoder!r}"
    for name, signal in expected.items():
        assert torch.allclose(support.gather(name), signal, rtol=1e-4, atol=1e-4), f"{name}: rows are mixed up"
