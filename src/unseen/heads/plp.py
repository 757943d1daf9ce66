"""Pseudo-label probing: the linear probe, taught by the nearest class name of each input in the place of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from unseen.heads.probe import LrRule, Probe, Solver, few_shot
from unseen.signals import Support, TextBank

LISTED = 3  # classes that a sentence names


class PLP(Probe):
    """The recipe of `Probe`, learnt from ``y_i = argmax_k cos(e_i, t_k)``: the class whose text is nearest.

    ``e_i`` is the joint embedding of a known input and ``t_k`` the text of class ``k``. Every input has one class, no
    doubtful ones are left out, and of equal cosines the lower class wins. So of two classes with one text the later
    never gets an input; it keeps its column, which learns only that it is never right (`inactive`). A query needs
    features alone. Where a model has no projection, features and embedding are the same rows.

    Parts after it get the pseudo-labels as their labels, whatever labels there are, and the layer as their head:
    ``plp >> energy`` and ``plp >> msp`` read its logits, and ``plp >> relative_mahalanobis(on='logits')`` learns means
    and spreads of its logits too. `availability` is ``"names"``.

    Args:
        shots: learn from so many inputs of each pseudo-class that has any, drawn without replacement under the seed.
        epochs: walks over the inputs.
        batch: inputs of a step. The paper takes 256 for CIFAR, 8192 for ImageNet.
        lr: the highest rate, before ``lr_rule``.
        lr_rule: ``"code"`` takes ``lr`` whatever the batch, ``"paper"`` takes ``lr * batch / 256``; see `Probe`.
        weight_decay: factor of the L2 penalty.
        solver: ``"adam"`` is the published recipe, ``"lbfgs"`` the optimum; see `Probe`.
        seed: of the draw, the start and the order of inputs.

    Reads: ``features (N, D)``, and ``embedding (N, E)`` with a text bank at the fit; labels ignored.
    Raises: WrongUse, without texts, for a value out of range, or where training runs to infinity or to no optimum.
        NotEnoughKnown, with the name of one class alone, or where a pseudo-class has inputs but fewer than ``shots``.
    Cost: as `Probe`, and one product of ``N x E`` with ``E x K``.
    Source: Adaloglou, Michels, Kaiser, Kollmann, "Adapting Contrastive Language-Image Pretrained (CLIP) Models for
        Out-of-Distribution Detection", TMLR 2023, section 3.2 and the authors' program.

    >>> text = TextBank([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], ("cat", "dog", "hound"))
    >>> known = {"features": [[0.0], [1.0], [5.0], [6.0]], "embedding": [[3, 1], [2, 1], [1, 2], [1, 3]]}
    >>> head = PLP(lr=0.1).fit(known, text=text)
    >>> head({"features": torch.tensor([[0.5], [5.5]])})["logits"].argmax(dim=1)
    tensor([0, 1])
    >>> head.counts.tolist(), head.n_active_classes, head.inactive(text.classes)
    ([2, 2, 0], 2, ('hound',))
    """

    learns = frozenset({"features", "embedding"})
    labels = "ignored"
    traits = Probe.traits | {"text_bank"}
    gives_labels = True
    counts: Tensor  # (K,) int64, pseudo-labels of each class
    notes: tuple[str, ...] = ()
    """What a person should hear about the last fit, a sentence each."""

    def __init__(
        self,
        shots: int | None = None,
        epochs: int = 100,
        batch: int = 256,
        lr: float = 1e-3,
        lr_rule: LrRule = "code",
        weight_decay: float = 1e-3,
        solver: Solver = "adam",
        seed: int = 42,
    ) -> None:
        super().__init__(shots, epochs, batch, lr, lr_rule, weight_decay, solver, seed)
        self.register_buffer("counts", torch.empty(0, dtype=torch.int64))

    @property
    def n_active_classes(self) -> int:
        """How many classes some known input has as its pseudo-label."""
        return int((self.counts > 0).sum())

    def inactive(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Those of ``classes``, which name the columns in order, that no known input has as its pseudo-label."""
        return tuple(name for name, count in zip(classes, self.counts.tolist(), strict=True) if not count)

    def learn(self, support: Support) -> None:
        """Pseudo-labels, then the recipe on them; both once for all parts behind such a head."""
        told = self._pseudo_labelled(support)
        assert told.labels is not None
        self.counts = torch.from_numpy(np.bincount(told.labels, minlength=len(told.classes)))
        none = self.inactive(told.classes)
        self.notes = (_without_inputs(none, len(told.classes)),) if none else ()
        super().learn(told)

    def tells(self, support: Support) -> Support:
        """The support with the pseudo-labels as its labels and this layer as its head."""
        told = self._pseudo_labelled(support)
        return replace(told, head=self.linear(told), notes=(*told.notes, *self.notes))

    def named(self, support: Support) -> tuple[str, ...]:
        """The classes of the texts, in the order of the texts, whatever labels there are."""
        return _texts(support).classes

    def drawn(self, support: Support, shots: int) -> Support:
        """``shots`` rows of each pseudo-class that has any."""
        return few_shot(support, shots, self.seed, empty=True)

    def _pseudo_labelled(self, support: Support) -> Support:
        text = _texts(support)
        labels = support.once("pseudo-labels", lambda: pseudo_labels(support, text))
        return replace(support, labels=labels, classes=text.classes, _moments={})


def pseudo_labels(support: Support, text: TextBank) -> np.ndarray:
    """The class whose text has the largest cosine with each input: codes ``(N,)`` int64 into ``text.classes``.

    Of equal texts, as of equal cosines, the lower class is taken. No length of an embedding matters.

    Args:
        support: with ``embedding (N, E)``; its labels are not read.
        text: the bank, ``E`` wide.
    """
    # One product gives equal texts sums of another order, so that rounding would choose between them.
    place: dict[bytes, int] = {}
    lowest = np.array([place.setdefault(row.tobytes(), code) for code, row in enumerate(text.positive.numpy())])
    texts = text.positive.double().T
    found = [
        (batch["embedding"].double() @ texts.to(batch["embedding"].device)).argmax(dim=1).cpu().numpy()
        for batch in support.signals.batches("embedding")
    ]
    codes: np.ndarray = lowest[np.concatenate(found)].astype(np.int64)
    return codes


def _texts(support: Support) -> TextBank:
    # As if there were no labels: their order would else be that of the columns, and with it of the random start.
    return support.at_level("names").bank("plp")


def _without_inputs(names: Sequence[str], classes: int) -> str:
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return (
        f"no known input is nearest to the name of {len(names):,} of {classes:,} classes, so that plp never answers "
        f"them: {', '.join(names[:LISTED])}{more}"
    )
