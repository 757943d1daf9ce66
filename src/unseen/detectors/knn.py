"""Distance to the k-th nearest known feature."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors.base import QUERY_NUMBERS, Detector
from unseen.errors import MissingExtra, NotEnoughKnown, NotFitted, WrongUse
from unseen.optional import require
from unseen.parts import Paper
from unseen.signals import BATCH, Support
from unseen.statistics import SPAN, kth_distance, nearest_rows

LARGE = 100_000  # rows from which "auto" tries lists; an exact query of 512 features then takes 1 ms (benchmarks/knn)
RECALL = 0.95  # share of the true neighbours that lists must find
WORTH = 8  # rows of lists are compared one by one, so that "auto" looks into at most an eighth of the lists
SAMPLE = 256  # rows of the bank on which recall is measured
STEPS, PER_LIST = 10, 64  # of k-means, and how many rows a list it learns from
# M, efConstruction and the least efSearch of a graph; the numbers are those of benchmarks/knn. The paper (section 4.1)
# finds 5 to 48 links reasonable. FAISS builds with 32 and 40, and then more walks end in a wrong cluster: 15 of 2,000,
# and none with 80, in 30,000 rows of 512 in 100 clusters, k = 50. 200 builds twice as long.
LINKS, BUILD, EFFORT = 16, 80, 16
SEEDS = 1 << 31  # that FAISS takes


Index = Literal["auto", "exact", "flat", "ivf", "hnsw"]


class KNN(Detector):
    """An input is known when its ``k``-th nearest known feature is close.

    ``score(x) = -||z - z_(k)||``, ``z = f / ||f||``, where ``f`` are the features of ``x`` and ``z_(k)`` is
    the ``k``-th nearest row of the support set.

    A large bank can be searched in part. Lists: k-means splits it into ``2 sqrt(N)`` of them (FAISS, ``IndexIVFFlat``),
    and a query looks into the ``probes`` nearest. A graph: each row is linked to near ones (FAISS, ``IndexHNSWFlat``),
    and a query walks along the links and keeps the best ``effort`` rows that it meets. A neighbour that is missed makes
    the ``k``-th distance too large, never too small. How many are found is measured at the fit, on rows of the bank
    without themselves, and ``probes`` or ``effort`` is doubled until 95 % of the true neighbours are; the buffer
    ``recall`` holds the measured share. A query that finds fewer than ``k`` rows is compared with the whole bank.
    Scores stay on one scale, and a guard's threshold comes of the same search as the scores that are held against it.

    Args:
        k: rank of the neighbour, from 1. The paper takes 50 for CIFAR-10, 1000 for ImageNet-1k.
        index: how the bank is searched. All but ``"exact"`` and ``"auto"`` need ``unseen[faiss]``.

            - ``"exact"`` compares with the whole bank.
            - ``"flat"`` does so by FAISS, in float32: the same answers up to rounding. It changes the time alone, for
              better with a thousand queries at once and for worse with a hundred.
            - ``"ivf"`` looks into lists.
            - ``"hnsw"`` walks along a graph. A walk may end in another cluster and miss all of a query's neighbours,
              which then looks unknown: ``effort`` is also doubled until no row that recall is measured on is lost so,
              but of many queries some still may be. All lists are the whole bank, but no effort promises every row of
              a graph: where an eighth of the bank is not enough, it compares with the whole bank instead, and
              ``effort`` is 0.
            - ``"auto"`` is exact below 100,000 rows and without FAISS; from there on it takes lists where an eighth of
              them is enough for 95 %, as it is for features that form clusters.
        share: of the known inputs, those that are drawn and kept; the paper also takes 0.01 of ImageNet-1k with k = 10.
        seed: of that draw, of k-means, of the graph's levels, and of the rows on which recall is measured.

    Reads: ``features (N, D)``, any scale; labels ignored.
    Returns: ``(N,)`` in ``[-2, 0]``, no unit.
    Raises: NotEnoughKnown, when the support has, or a draw keeps, fewer than ``k`` inputs; WrongUse, for arguments that
    make no sense; MissingExtra, for what needs FAISS without it, at the fit or where a guard is loaded.
    Cost: ``4 * N * D`` bytes of bank; a query compares with all of it. With lists, as much again in memory but not in a
    file, and a query compares with ``probes / (2 sqrt(N))`` of it. With a graph, ``(4 * D + 128) * N`` bytes more in
    memory but not in a file, as FAISS's reader trusts what it reads: the graph is built again, and is the same, at the
    first query after loading, and so where a guard is loaded, on one thread: time that grows faster than ``N``.
    Traits: ``"not_exportable"`` with FAISS; ``"sampled"`` with a share, lists or a graph; ``"rebuilt_on_load"`` with a
    graph.
    Source: Sun, Ming, Zhu, Li, "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, section 3. The
    authors' minus sign is kept. The graph: Malkov, Yashunin, "Efficient and Robust Approximate Nearest Neighbor Search
    Using Hierarchical Navigable Small World Graphs", IEEE TPAMI 2020.
    Differs: the authors' code, OpenOOD and oodeel return the squared distance, which ranks alike. OpenOOD chooses ``k``
    with unknown inputs at hand. pytorch-ood of 2024 took ``k = 1`` and features of any length.

    >>> detector = KNN(k=2).fit([[1.0, 0.0], [0.0, 1.0]])
    >>> round(detector.score([[3.0, 0.0]]).item(), 3)
    -1.414
    >>> detector.recall.item()
    1.0
    """

    needs = frozenset({"features"})
    small = {"share": 0.5}  # noqa: RUF012 - a constant, shared on purpose; the whole bank draws nothing
    grid = {"k": (1, 5, 50)}  # noqa: RUF012
    paper = Paper("Out-of-Distribution Detection with Deep Nearest Neighbors", "Sun, Ming, Zhu, Li", "ICML", 2022)
    bank: Tensor  # (N, D), unit rows
    centres: Tensor  # (L, D) of the lists, float32; none where the search is exact
    lists: Tensor  # (N,) the list in which each row of the bank is, int32
    probes: Tensor  # () lists into which a query looks; 0 where there are none
    effort: Tensor  # () rows that a walk along the graph keeps at a time; 0 where there is none
    recall: Tensor  # () share of the k true neighbours that the search found at the fit, 1 where it is exact

    def __init__(self, k: int = 50, index: Index = "auto", share: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.k = k
        self.index = index
        self.share = share
        self.seed = seed
        self.register_buffer("bank", torch.empty(0, 0))
        self._searched: Any = None  # what FAISS looks into, made of the tensors when it is first asked
        self._search_exactly()

    def learn(self, support: Support) -> None:
        """Keep every known feature, or those drawn, at unit length."""
        self._check(len(support))
        signals, kept = support.signals, self._kept(len(support))
        if kept < len(support):
            signals = signals.take(np.sort(np.random.default_rng(self.seed).permutation(len(support))[:kept]))
        self.bank = signals.gather("features", normalize)
        self._search_exactly()
        if self.index == "flat":
            _faiss()  # so that it is missed here and not at the first query
        elif self.index == "hnsw":
            self._make_graph()
        elif self.index == "ivf" or (self.index == "auto" and len(self.bank) >= LARGE and _faiss_is_there()):
            self._make_lists()

    def _check(self, rows: int) -> None:
        if not isinstance(self.k, int) or self.k < 1:
            raise WrongUse(f"KNN(k={self.k!r}): k counts neighbours, a whole number from 1")
        if self.index not in get_args(Index):
            raise WrongUse(
                f"KNN(index={self.index!r}): give {', '.join(get_args(Index)[:-1])} or {get_args(Index)[-1]}"
            )
        if not 0 < self.share <= 1:
            raise WrongUse(f"KNN(share={self.share!r}): give a share above 0, up to 1")
        if rows < self.k:
            raise NotEnoughKnown(
                f"KNN(k={self.k}) needs at least {self.k} known inputs, got {rows}: lower k or add inputs"
            )
        if (kept := self._kept(rows)) < self.k:
            raise NotEnoughKnown(
                f"KNN(k={self.k}, share={self.share}) needs at least {self.k} known inputs and keeps {kept} of "
                f"{rows:,}: lower k, raise share or add inputs"
            )

    def _kept(self, rows: int) -> int:
        return rows if self.share == 1 else int(self.share * rows)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative distances ``(B,)``."""
        z = normalize(signals["features"])
        return -(self._through_faiss(z) if self._by_faiss else kth_distance(z, self.bank, self.k))

    def score_bank(self) -> np.ndarray:
        """The scores of the bank's own rows, none of which is its own neighbour, ``(N,)`` in the order of the bank.

        `score` would find each row of the bank at distance 0 and answer with its neighbour ``k - 1``. Copies of a row
        are neighbours and count. Rows are those of the fit in their order, or those drawn.

        Raises:
            NotFitted: before the fit.
            NotEnoughKnown: when the bank has ``k`` rows, so that none has ``k`` others.

        >>> KNN(k=1).fit([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]).score_bank().round(3)
        array([-0.   , -0.   , -1.414], dtype=float32)
        """
        if not self.fitted:
            raise NotFitted(f"{self.name} is not fitted: call fit(known) first")
        n = len(self.bank)
        if n <= self.k:
            raise NotEnoughKnown(f"KNN(k={self.k}): none of the {n} rows of the bank has {self.k} others: lower k")
        size = max(1, min(BATCH, QUERY_NUMBERS // self.numbers_per_query()))
        with torch.inference_mode():
            found = [self._without_own(start, min(n, start + size)) for start in range(0, n, size)]
        scores: np.ndarray = -torch.cat(found).cpu().numpy()
        return scores

    def _without_own(self, start: int, stop: int) -> Tensor:
        z, own = self.bank[start:stop], torch.arange(start, stop, device=self.bank.device)
        return self._through_faiss(z, own) if self._by_faiss else kth_distance(z, self.bank, self.k, own)

    def numbers_per_query(self) -> int:
        """One similarity for every row that is looked at together."""
        return min(len(self.bank), SPAN)

    # --- by FAISS -----------------------------------------------------------------------------------------------------

    def _search_exactly(self) -> None:
        """No lists and no graph; what is declared follows from the arguments."""
        self.register_buffer("centres", torch.empty(0, 0))
        self.register_buffer("lists", torch.empty(0, dtype=torch.int32))
        self.register_buffer("probes", torch.tensor(0))
        self.register_buffer("effort", torch.tensor(0))
        self.register_buffer("recall", torch.tensor(1.0, dtype=torch.float64))
        self._declare()

    def _declare(self) -> None:
        self._searched = None
        # Plain, as an export follows no branch on a tensor's value.
        self._by_faiss = self.index == "flat" or len(self.centres) > 0 or bool(self.effort)
        drawn = {"sampled"} if self.share != 1 else set()
        outside = {"not_exportable"} if self._by_faiss or self.index in ("ivf", "hnsw") else set()
        parted = {"sampled"} if outside and self.index != "flat" else set()
        again = {"rebuilt_on_load"} if self.index == "hnsw" else set()
        self.traits = frozenset(drawn | outside | parted | again)

    def _make_lists(self) -> None:
        """Split the bank, then look into twice as many lists until enough of the true neighbours are found."""
        faiss = _faiss()
        n, width = self.bank.shape
        rows = self.bank.float().cpu().numpy()
        lists = min(n, max(1, round(2 * math.sqrt(n))))
        with _one_thread(faiss):
            nearest = faiss.IndexFlatIP(width)
            trained = faiss.IndexIVFFlat(nearest, width, lists, faiss.METRIC_INNER_PRODUCT)
            trained.cp.niter, trained.cp.seed = STEPS, self.seed % SEEDS
            trained.cp.min_points_per_centroid, trained.cp.max_points_per_centroid = 1, PER_LIST
            trained.train(rows)
            codes = nearest.search(rows, 1)[1][:, 0]
        self.centres = torch.from_numpy(nearest.reconstruct_n(0, lists)).to(self.bank.device)
        self.lists = torch.from_numpy(codes.astype(np.int32)).to(self.bank.device)
        self.probes = torch.tensor(1)
        self._declare()
        most = max(1, lists // WORTH) if self.index == "auto" else lists
        self._measure()
        while self.recall < RECALL and self.probes < most:
            self.probes = (2 * self.probes).clamp_max(most)
            self._measure()
        if self.recall < RECALL and self.index == "auto":
            self._search_exactly()

    def _make_graph(self) -> None:
        """Link the rows, then keep twice as many on the way until enough of the true neighbours are found.

        Those on which this is measured are linked last: rows of a graph are led to their neighbours by their own links.
        """
        n = len(self.bank)
        first, last = self._in_order()
        graph = _linked(self.bank, first, self.seed)
        effort, recall = min(n, max(EFFORT, self.k)), 1.0  # FAISS keeps as many as are asked for anyway
        if len(last):
            z, k, most = self.bank[last], min(self.k, len(first)), max(effort, n // WORTH)
            least = nearest_rows(z, self.bank[first], k)[0][:, -1:].cpu()
            while not (enough := _enough(near := _near(graph, z, k, effort, least))) and effort < most:
                effort = min(most, 2 * effort)
            if not enough:
                return
            recall = float(near.mean())
        self.effort, self.recall = torch.tensor(effort), torch.tensor(recall, dtype=torch.float64)
        self._declare()
        self._searched = _linked(self.bank, last, self.seed, graph)

    def _in_order(self) -> tuple[Tensor, Tensor]:
        """Rows of the bank that a graph links first, and those drawn, on which it is measured before it links them."""
        drawn = np.random.default_rng(self.seed).permutation(len(self.bank))
        held = min(SAMPLE, len(self.bank) // 10)
        first, last = (torch.from_numpy(np.sort(rows)).to(self.bank.device) for rows in (drawn[held:], drawn[:held]))
        return first, last

    def _measure(self) -> None:
        """Set `recall`: of rows of the bank, how many of the neighbours found are as near as the k-th that there is."""
        k = min(self.k, len(self.bank) - 1)
        if k == 0:
            return
        own = torch.from_numpy(np.sort(np.random.default_rng(self.seed).permutation(len(self.bank))[:SAMPLE]))
        own = own.to(self.bank.device)
        z = self.bank[own]
        least = nearest_rows(z, self.bank, k, own)[0][:, -1:]
        similar, found = self._look(z, k + 1)
        others = (found >= 0) & (found != own[:, None])
        # By similarity, as copies take each other's places.
        near = (others & (similar >= least - 1e-6)).sum(dim=1).clamp_max(k)
        self.recall = near.double().mean().cpu() / k

    def _through_faiss(self, z: Tensor, own: Tensor | None = None) -> Tensor:
        """Distances ``(B,)`` to the ``k``-th row that FAISS finds, by difference; exact where it finds fewer."""
        if torch.compiler.is_exporting():
            raise WrongUse("knn searches by FAISS here, which cannot be written as a graph: fit with index='exact'")
        if own is None:
            found = self._look(z, self.k)[1][:, -1]
        else:
            found = self._look(z, self.k + 1)[1]
            # Among many copies the own row may be missing, and then nothing is to be left out.
            among = (found[:, :-1] == own[:, None]).any(dim=1)
            found = torch.where(among, found[:, -1], found[:, -2])
        distance: Tensor = (z - self.bank[found.clamp_min(0)]).norm(dim=-1)
        few = (found < 0).nonzero().squeeze(1)
        if len(few):
            mine = None if own is None else own[few]
            distance[few] = kth_distance(z[few], self.bank, self.k, mine)
        return distance

    def _look(self, z: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Similarities, falling, and the rows that FAISS finds, each ``(B, k)``; rows are -1 where it finds fewer."""
        if self._searched is None:
            self._searched = self._made()
        if self.index == "flat":
            faiss = _faiss()
            similar, rows = faiss.knn(_array(z), self._searched, k, metric=faiss.METRIC_INNER_PRODUCT)
        elif len(self.centres):
            self._searched.nprobe = int(self.probes)
            similar, rows = self._searched.search(_array(z), k)
        else:
            similar, rows = _walk(self._searched, z, k, int(self.effort))
        return torch.from_numpy(similar).to(z.device), torch.from_numpy(rows).to(z.device)

    def _made(self) -> Any:
        """What FAISS looks into: its index, or for ``"flat"`` the rows themselves, of which it needs no copy."""
        if self.index == "flat":
            return _array(self.bank)
        if len(self.centres):
            return _filled(self.bank, self.centres, self.lists)
        if not 0 < int(self.effort) <= len(self.bank):  # of a file, say
            raise ValueError(f"a graph of {len(self.bank)} rows is not walked with an effort of {int(self.effort)}")
        first, last = self._in_order()
        return _linked(self.bank, last, self.seed, _linked(self.bank, first, self.seed))

    # --- to a file and back -------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_searched": None}

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        if prefix + "lists" not in state and prefix + "bank" in state:  # of a version that had none
            self._search_exactly()
            state.update(
                {prefix + name: getattr(self, name) for name in ("centres", "lists", "probes", "effort", "recall")}
            )
        super()._load_from_state_dict(state, prefix, *rest)
        self._declare()


def _filled(bank: Tensor, centres: Tensor, lists: Tensor) -> Any:
    """FAISS's index of the rows in their lists, in the order of the bank.

    It is made of tensors that are checked, as bytes of FAISS's own format could make it read any memory.

    Raises:
        ValueError: when the tensors, of a file say, do not belong together.
        MissingExtra: without FAISS.
    """
    fits = lists.shape == bank.shape[:1] and centres.shape[1:] == bank.shape[1:]
    if not fits or (len(lists) and not 0 <= int(lists.min()) <= int(lists.max()) < len(centres)):
        raise ValueError("the lists of the bank are not lists of its rows")
    faiss = _faiss()
    width = bank.shape[1]
    nearest = faiss.IndexFlatIP(width)
    nearest.add(centres.float().cpu().numpy())
    whole = faiss.IndexIVFFlat(nearest, width, len(centres), faiss.METRIC_INNER_PRODUCT)
    rows = np.ascontiguousarray(bank.float().cpu().numpy())
    codes = lists.cpu().numpy().astype(np.int64)
    with _one_thread(faiss):
        whole.add_core(len(rows), faiss.swig_ptr(rows), None, faiss.swig_ptr(codes))
    return whole


def _linked(bank: Tensor, rows: Tensor, seed: int, graph: Any = None) -> Any:
    """FAISS's graph with these rows of the bank added in their order, always alike; a new one where none is given.

    Raises:
        MissingExtra: without FAISS.
    """
    faiss = _faiss()
    if graph is None:
        links = faiss.IndexHNSWFlat(bank.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        links.hnsw.efConstruction = BUILD
        links.hnsw.rng = faiss.RandomGenerator(seed % SEEDS)
        graph = faiss.IndexIDMap(links)
    with _one_thread(faiss):
        graph.add_with_ids(_array(bank[rows]), rows.cpu().numpy())
    return graph


def _walk(graph: Any, z: Tensor, k: int, effort: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and rows of the bank that a walk finds, each ``(B, k)``; -1 and far below where it finds fewer."""
    similar, rows = graph.search(_array(z), k, params=_faiss().SearchParametersHNSW(efSearch=effort))
    return similar, rows


def _near(graph: Any, z: Tensor, k: int, effort: int, least: Tensor) -> np.ndarray:
    """Which of those found are as near as the k-th neighbour that there is, of similarity ``least (B, 1)``, ``(B, k)``.

    By similarity, as copies take each other's places.
    """
    near: np.ndarray = _walk(graph, z, k, effort)[0] >= least.numpy() - 1e-6
    return near


def _enough(near: np.ndarray) -> bool:
    """Enough on the whole, and some of every row's, as a walk that is lost makes a known input unknown."""
    return bool(near.mean() >= RECALL and near.any(axis=1).all())


def _array(rows: Tensor) -> np.ndarray:
    """As FAISS takes them; of float32 rows on the processor no copy."""
    array: np.ndarray = np.ascontiguousarray(rows.detach().float().cpu().numpy())
    return array


def _faiss() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the wrapper, about its own types
        return require("faiss", "faiss")


def _faiss_is_there() -> bool:
    try:
        _faiss()
    except MissingExtra:
        return False
    return True


@contextmanager
def _one_thread(faiss: ModuleType) -> Iterator[None]:
    """Sums of several threads end in other last bits."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
