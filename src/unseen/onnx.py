"""A fitted guard as one ONNX graph, which is run beside the guard before it gets its name."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from unseen.calibration import ClassConditional
from unseen.classifier import OpenSetClassifier, Verdicts, short_id, versions
from unseen.data import Inputs, open_inputs
from unseen.detectors.base import Detector
from unseen.encoders import Encoder, encode
from unseen.errors import NotFitted, WrongUse
from unseen.files import replacing, to_json
from unseen.heads.base import Head
from unseen.optional import require
from unseen.parts import Part, Step
from unseen.signals import Support, key_of

FORMAT = "unseen graph"
VERSION = 1
TOLERANCE = 1e-4
BATCH = 32
LARGEST = 2_000_000_000  # bytes; protobuf ends at 2 GiB, and the graph itself needs some
OUTPUTS = {
    "class": "int64 (batch,): index into classes of the nearest one; -1 where nothing tells classes apart",
    "score": "(batch,): familiarity, higher = more known",
    "p_value": "float64 (batch,): share of known inputs that look as unfamiliar; small = unlike the known",
    "unseen": "bool (batch,): p_value <= alpha; true also where the score is not a number",
}
BY_CLASS = {
    "p_value": "float64 (batch,): share of the known inputs taken for the same class that look as unfamiliar; small = "
    "unlike them",
}
DECODING = (
    "RGB, 8 bits a channel, upright by its EXIF orientation, alpha composited on white, colour profiles ignored; "
    "resized with antialiasing in 8 bits"
)

Run = Callable[[Mapping[str, np.ndarray]], Any]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Exported:
    """A graph that was written, and how it agreed with the guard.

    Attributes:
        path: the file.
        size: of the file, in bytes.
        opset: version of the ONNX operators.
        inputs: name -> type and shape; ``batch`` is any number from 1.
        outputs: likewise.
        n: rows on which guard and graph were compared.
        batch_sizes: how many at a time.
        tolerance: largest ``score_difference`` that was allowed.
        score_difference: largest difference of a score, as a share of the spread (the middle half of the calibration
            scores, or the score's distance from their median where that is more).
        p_value_difference: largest difference of a p-value.
        p_values_changed: rows whose p-value differs, their score being within rounding of a calibration score, or, by
            class, their class being another.
        classes_changed: rows whose class differs, two logits being equal to rounding.
        verdicts_changed: rows among ``p_values_changed`` that are known to one and unseen to the other.
        runtime: version of ONNX Runtime.
        skipped: ``(key, reason)`` of unreadable inputs.
    """

    path: Path
    size: int
    opset: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    n: int
    batch_sizes: tuple[int, ...]
    tolerance: float
    score_difference: float
    p_value_difference: float
    p_values_changed: int
    classes_changed: int
    verdicts_changed: int
    runtime: str
    skipped: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, ``path`` as ``file``."""
        found = dataclasses.asdict(self)
        skipped = [{"path": key, "reason": reason} for key, reason in found.pop("skipped")]
        return {"file": str(found.pop("path")), **found, "skipped": skipped}


def to_onnx(
    guard: OpenSetClassifier | str | Path,
    path: str | Path,
    rows: Any,
    *,
    encoder: str | Encoder | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
) -> Exported:
    """Write a guard as one ONNX graph, when ONNX Runtime says of real rows what the guard says.

    The graph takes ``pixels``, uint8 ``(batch, H, W, 3)`` of the encoder's size, or the signals by name where the guard
    was fitted on arrays, and gives ``class``, ``score``, ``p_value`` and ``unseen`` at the guard's alpha; of a guard by
    class, p-value and verdict by the class that the graph itself names. How an image is decoded and resized before
    stands in the file's metadata, with classes, alpha, threshold (or one a class) and what made it. Discoveries depend
    on a whole batch and are not in the graph: `unseen.calibration.discoveries` finds them from its p-values.

    The two must agree on every row, in batches of 1, 2 and 32. Scores: to ``tolerance``. p-values and verdicts: exactly
    those of the graph's own score, which differ from the guard's only where the score is within rounding of a
    calibration score. Classes: equal, except where two logits are equal to ``tolerance``; by class, p-value and verdict
    then change with the class.

    Args:
        guard: fitted, or the file of one.
        path: file to write; it appears whole or not at all.
        rows: what `encode` takes: a folder, files, arrays; at least one readable row.
        encoder: needed where a file cannot hold it.
        tolerance: largest difference of a score, as a share of the scores' spread (see `Exported`); above 0.
        progress: called with (what is being done, done, in all).

    Raises:
        MissingExtra: without onnx, onnxscript and onnxruntime.
        NotFitted: when the guard is not fitted.
        WrongUse: when the guard has a part that cannot be exported, or the graph disagrees; nothing is written.
    """
    if not tolerance > 0:
        raise WrongUse(f"tolerance={tolerance}: give the share of the scores' spread that may differ, above 0")
    runtime = _runtime()
    made = guard if isinstance(guard, OpenSetClassifier) else OpenSetClassifier.load(guard, encoder=encoder)
    used = _exportable(made)
    inputs = open_inputs(rows)
    say: Progress = progress or (lambda *_: None)
    support = encode(inputs, used, made.wanted(), cache=False, progress=functools.partial(say, "encoding"))
    verdicts = made.predict(support)
    reads = sorted(made.detector.reads() | (frozenset() if made.head is None else made.head.reads()))
    say("writing the graph", 0, 1)
    graph = _Guard(made, used)
    if graph.body is not None:
        _, given = next(itertools.islice(_chunks(inputs, support, used, reads), 2, None))
        _check_body(graph.body, used, given["pixels"])
    what = f"{short_id(used.id)} >> {made.detector.expression()}"
    content = _written(graph, _example(graph, inputs, used, reads), tuple(OUTPUTS), what)
    origin = _saved_hash(made) if isinstance(guard, OpenSetClassifier) else _hash_in(guard)
    proto: Any = require("onnx", "onnx").ModelProto.FromString(content)
    described = _description(made, used, origin, proto)
    metadata = {"format": FORMAT, "version": str(VERSION), "description": to_json(described, indent=None)}
    require("onnx.helper", "onnx").set_model_props(proto, metadata)
    content = proto.SerializeToString()
    say("writing the graph", 1, 1)
    chunks = _chunks(inputs, support, used, reads)
    differences = _compare(made, support, verdicts, _session(content), chunks, tolerance, str(path))
    with replacing(path) as file:
        file.write(content)
    return Exported(
        path=Path(path),
        size=len(content),
        opset=_opset(proto),
        inputs=_shapes(proto.graph.input),
        outputs=_shapes(proto.graph.output),
        n=len(support),
        tolerance=tolerance,
        runtime=runtime,
        skipped=support.skipped,
        **differences,
    )


def export_part(part: Part, signals: Mapping[str, Tensor], path: str | Path) -> Run:
    """Write one fitted detector or step as an ONNX graph, without a check.

    Args:
        part: its ``forward`` takes exactly the signals in ``part.reads()``.
        signals: those, ``(B, ...)`` each; only widths and types matter. Others are left alone.
        path: file to write; it appears whole or not at all.

    Returns:
        A function that runs the graph with ONNX Runtime on a mapping of numpy arrays, of any number of rows from 1:
        scores ``(B,)`` from a detector, a dict of the signals written from a step.

    Raises:
        MissingExtra: without onnx, onnxscript and onnxruntime.
        NotFitted: when the part is not fitted.
        WrongUse: when the part cannot be exported, or ``signals`` lack one that it reads.
    """
    _runtime()
    if not part.fitted:
        raise NotFitted(f"{part.name} is not fitted: call fit(known) first")
    _refuse_trait(part)
    absent = sorted(part.reads() - set(signals))
    if absent:
        raise WrongUse(f"{part.name} reads {', '.join(sorted(part.reads()))}: give {', '.join(absent)} to export it")
    example = {name: x.new_zeros((2, *x.shape[1:])).cpu() for name, x in part.prepared(signals).items()}
    # A step may rewrite what it reads, and a graph tells its inputs and outputs apart by name.
    outputs = (
        {f"written_{name}": name for name in sorted(part.writes)} if isinstance(part, Step) else {"score": "score"}
    )
    reads = sorted(example)
    numbered = {f"signal_{i}": example[name] for i, name in enumerate(reads)}
    content = _written(_Alone(part, reads), numbered, tuple(outputs), part.expression(), reads)
    with replacing(path) as file:
        file.write(content)
    run = _session(content)
    if not isinstance(part, Step):
        return lambda batch: run(batch)["score"]
    return lambda batch: {outputs[name]: value for name, value in run(batch).items()}


class _Guard(nn.Module):
    """Pixels or signals -> class, score, p-value and verdict."""

    thresholds: Tensor  # (C,) by class, else (1,)

    def __init__(self, guard: OpenSetClassifier, encoder: Encoder) -> None:
        super().__init__()
        self.body = encoder.graph() if encoder.accepts == "images" else None
        self.detector: Detector = guard.detector
        self.head: Head | None = guard.head
        self.calibrator = guard.calibrator
        self.only = 0 if len(guard.classes) == 1 else -1  # the class where no head tells
        self.by_class = guard.by_class
        self.register_buffer("thresholds", torch.from_numpy(guard.thresholds()))

    def forward(self, given: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        signals: dict[str, Tensor] = given if self.body is None else self.body(given["pixels"])
        score: Tensor = self.detector(self.detector.prepared(signals))  # (B,)
        # Compared in float64, which holds float32 exactly: the graph decides by the same ranks as the guard.
        exact = score.double()
        if self.head is None:
            code = torch.full_like(score, self.only, dtype=torch.int64)
        else:
            code = self.head.apply_to(signals)["logits"].argmax(dim=1)  # (B, C) -> (B,)
        beside, threshold = ((code,), self.thresholds[code]) if self.by_class else ((), self.thresholds)
        # An input is unseen when it scores below the threshold. Put this way, not-a-number is never taken for known.
        return code, score, self.calibrator(exact, *beside), ~(exact >= threshold)


class _Alone(nn.Module):
    """One part, what it gives in the order of the names.

    Signals are numbered: torch's exporter writes their names into code without a thought for the quotes in a request's.
    """

    def __init__(self, part: Part, reads: list[str]) -> None:
        super().__init__()
        self.part, self.reads = part, reads

    def forward(self, signals: dict[str, Tensor]) -> tuple[Tensor, ...]:
        found: Any = self.part({name: signals[f"signal_{i}"] for i, name in enumerate(self.reads)})
        return tuple(found[name] for name in sorted(found)) if isinstance(found, dict) else (found,)


def _runtime() -> str:
    """Version of ONNX Runtime; raises MissingExtra unless all three packages are there."""
    for name in ("onnx", "onnxscript"):
        require(name, "onnx")
    return str(require("onnxruntime", "onnx").__version__)


def _exportable(guard: OpenSetClassifier) -> Encoder:
    """The guard's encoder, when nothing in the guard stands against an export."""
    if not len(guard.calibrator.scores):
        raise NotFitted("the classifier is not fitted: there is nothing to export")
    if guard.encoder is None:
        raise WrongUse(
            f"the classifier was fitted with the encoder {short_id(guard.encoder_id)}, which its file cannot hold: "
            "give it, as load(path, encoder=...) or --encoder"
        )
    _refuse_trait(guard.detector)
    beyond = guard.encoder.when_named  # which its graph leaves out
    requests = sorted(key_of(need) for need in guard.detector.needs if not isinstance(need, str) or need in beyond)
    if requests:
        raise WrongUse(
            f"{guard.detector.name} reads {requests[0]}, which a graph cannot answer: fit a guard with a detector that "
            "reads features or logits to export it"
        )
    return guard.encoder


def _refuse_trait(part: Part) -> None:
    if "not_exportable" in part.traits:
        raise WrongUse(f"{part.name} cannot be written as a graph: choose another detector to export")


def _check_body(body: nn.Module, encoder: Encoder, pixels: np.ndarray) -> None:
    """Raise unless the module made for the export answers as the encoder does."""
    expected = encoder.answer(pixels, frozenset(encoder.provides))
    try:
        with torch.no_grad():
            found = body(torch.from_numpy(pixels))
        for name, signal in expected.items():
            torch.testing.assert_close(found[name], signal, rtol=0, atol=TOLERANCE * float(signal.abs().max()))
    except Exception as error:  # of a network that somebody else wrote
        raise WrongUse(
            f"the encoder {short_id(encoder.id)} cannot be exported: with its last linear layer apart it does not give "
            f"the same ({_cause(error)})"
        ) from error


def _example(graph: _Guard, inputs: Inputs, encoder: Encoder, reads: Sequence[str]) -> dict[str, Tensor]:
    """Two rows of zeros: one would fix the size of the batch, and the values are not looked at."""
    if graph.body is not None:
        shape = encoder.prepare(np.zeros((8, 8, 3), dtype=np.uint8)).shape
        return {"pixels": torch.zeros((2, *shape), dtype=torch.uint8)}
    like = graph.detector.like()
    like = graph.head.like() if like is None and graph.head is not None else like
    example = {}
    for name in reads:
        column = inputs.columns[name]
        kind = torch.float64 if column.dtype == np.float64 else torch.float32  # as `Signals` reads it
        example[name] = torch.zeros((2, *column.shape[1:]), dtype=kind if like is None else like.dtype)
    return example


def _chunks(
    inputs: Inputs, support: Support, encoder: Encoder, names: Sequence[str]
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Row numbers of the support with what the graph takes for them: one row, two rows, then all of them."""
    n = len(support)
    plan = [np.zeros(1, np.int64), np.arange(2) % n, *np.array_split(np.arange(n), range(BATCH, n, BATCH))]
    if encoder.accepts == "arrays":
        for at in plan:
            yield at, {name: support.signals.take(at).gather(name).numpy() for name in names}
        return
    skipped = {key for key, _ in support.skipped}
    readable = [row for row, key in enumerate(inputs.keys) if key not in skipped]
    for at in plan:
        yield at, {"pixels": np.stack([encoder.prepare(inputs.read(readable[row])) for row in at.tolist()])}


def _written(
    model: nn.Module, example: dict[str, Tensor], names: tuple[str, ...], what: str, inputs: list[str] | None = None
) -> bytes:
    """The ONNX file of a module, without its metadata; ``inputs`` are other names than the example's."""
    held = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if held > LARGEST:
        raise WrongUse(
            f"{what} holds {held / 1e9:.1f} GB and an ONNX file ends at 2 GB: fit on fewer inputs, or with a detector "
            "that keeps less"
        )
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), torch.no_grad():
        # Remarks of torch's exporter on its own code, and that two inputs have the same number of rows.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "# The axis name: batch will not be used", UserWarning)
        try:
            program: Any = torch.onnx.export(
                model.eval(),
                (example, {}),  # a lone dict at the end would be taken for keyword arguments
                dynamo=True,
                verbose=False,
                dynamic_shapes=({name: {0: batch} for name in example},),
                input_names=inputs or list(example),
                output_names=list(names),
                custom_translation_table={torch.ops.aten.log1p.default: _log1p},
            )
        except Exception as error:  # of the exporter, or of a network that somebody else wrote
            raise WrongUse(
                f"{what} cannot be written as a graph ({_cause(error)}): choose another to export"
            ) from error
    proto = program.model_proto
    for node in [*proto.graph.node, *(node for function in proto.functions for node in function.node)]:
        del node.metadata_props[:]  # where in whose source code each line stood
    content: bytes = proto.SerializeToString()
    return content


def _log1p(x: Any) -> Any:
    """``log(1 + x)`` from ONNX operators; ``log(u) * x / (u - 1)``, ``u = 1 + x`` as it was rounded.

    ONNX has no such operator and torch writes the bare logarithm, which is 0 for all ``x`` below 6e-8: inputs that a
    network is sure of would tie. Source: Goldberg, "What Every Computer Scientist Should Know About Floating-Point
    Arithmetic", ACM Computing Surveys 1991, theorem 4.
    """
    op = require("onnxscript", "onnx").opset18
    zero, one = op.CastLike(0.0, x), op.CastLike(1.0, x)
    up = op.Add(x, one)
    rest = op.Sub(up, one)
    itself = op.Or(op.Equal(rest, zero), op.IsInf(x, detect_negative=0))
    return op.Where(itself, x, op.Div(op.Mul(op.Log(up), x), rest))


def _session(content: bytes) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """What runs a graph on arrays, cast to the types that it takes."""
    runtime: Any = require("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
    takes = {one.name: kinds[one.type] for one in session.get_inputs()}
    gives = [one.name for one in session.get_outputs()]

    def run(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: np.asarray(batch[name], dtype=kind) for name, kind in takes.items()}
        return dict(zip(gives, session.run(None, given), strict=True))

    return run


def _compare(
    guard: OpenSetClassifier,
    support: Support,
    verdicts: Verdicts,
    run: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]],
    chunks: Iterator[tuple[np.ndarray, dict[str, np.ndarray]]],
    tolerance: float,
    path: str,
) -> dict[str, Any]:
    """Largest differences between guard and graph.

    Raises:
        WrongUse: at the first row on which they differ by more than rounding.
    """
    places: dict[str | None, int] = {name: code for code, name in enumerate(guard.classes)}
    codes = np.array([places.get(name, -1) for name in verdicts.nearest])
    scores = verdicts.familiarity.astype(np.float64)
    scale = _scale(guard.calibrator.scores.double().numpy(), scores, verdicts.familiarity.dtype, tolerance)
    sizes: set[int] = set()
    largest: dict[str, float] = {"score_difference": 0.0, "p_value_difference": 0.0}
    moved: dict[str, set[int]] = {"p_values_changed": set(), "classes_changed": set(), "verdicts_changed": set()}

    def refuse(rows: np.ndarray, what: str, theirs: Any, ours: Any) -> None:
        if len(rows):
            first = int(rows[0])
            raise WrongUse(
                f"{path} was not written, as the graph disagrees with the guard: the {what} of "
                f"{verdicts.keys[at[first]]} is {theirs[first]} in ONNX Runtime and {ours[first]} here "
                f"({len(rows)} of {len(at)} such inputs): "
                "use the guard itself, or another detector or encoder, or allow more with --tolerance"
            )

    for at, given in chunks:
        sizes.add(len(at))
        found = run(given)
        score = found["score"].astype(np.float64)
        gap = np.abs(score - scores[at])
        refuse(np.flatnonzero(~(gap <= tolerance * scale[at])), "score", score, scores[at])
        other = np.flatnonzero(found["class"] != codes[at])
        apart = other[~_tied(guard, support.take(at[other]), found["class"][other], tolerance)]
        refuse(apart, "class", found["class"], codes[at])
        # The rest is arithmetic on the graph's own score and class, which must come out to the bit.
        beside = (found["class"],) if guard.by_class else ()
        for name, exact in (
            ("p_value", guard.calibrator.p_value(found["score"], *beside)),
            ("unseen", guard.calibrator.rejects(found["score"], *(*beside, guard.alpha))),
        ):
            refuse(np.flatnonzero(found[name] != exact), name.replace("_", "-"), found[name], exact)
        far = _far(guard, codes[at], np.minimum(score, scores[at]), np.maximum(score, scores[at]), tolerance)
        refuse(np.flatnonzero(far), "p-value", found["p_value"], verdicts.p_value[at])
        largest["score_difference"] = max(largest["score_difference"], float((gap / scale[at]).max()))
        change = np.abs(found["p_value"] - verdicts.p_value[at])
        largest["p_value_difference"] = max(largest["p_value_difference"], float(change.max()))
        moved["p_values_changed"].update(at[change > 0].tolist())
        moved["classes_changed"].update(at[other].tolist())
        moved["verdicts_changed"].update(at[found["unseen"] != verdicts.unseen[at]].tolist())
    return {**largest, **{name: len(rows) for name, rows in moved.items()}, "batch_sizes": tuple(sorted(sizes))}


def _scale(calibration: np.ndarray, scores: np.ndarray, dtype: Any, tolerance: float) -> np.ndarray:
    """What a difference of each score ``(N,)`` is a share of.

    The middle half of the calibration scores; far from the known the distance from their median, as such a score has
    fewer digits to spare. Where all calibration scores are nearly equal, the last digits of the type are left out.
    """
    low, centre, high = np.quantile(calibration, [0.25, 0.5, 0.75])
    digits = 8 * float(np.finfo(dtype).eps) * np.abs(scores) / tolerance
    tiny = np.full(len(scores), np.finfo(np.float64).tiny)
    scale: np.ndarray = np.stack([np.full(len(scores), high - low), np.abs(scores - centre), digits, tiny]).max(axis=0)
    return scale


def _far(
    guard: OpenSetClassifier, codes: np.ndarray, low: np.ndarray, high: np.ndarray, tolerance: float
) -> np.ndarray:
    """Whether more calibration scores lie between two scores of a row than rounding can explain.

    By class, those that the row is compared with.
    """
    calibrator = guard.calibrator
    held = calibrator.scores.double().numpy()
    far = np.zeros(len(low), dtype=bool)
    whose = np.zeros_like(codes)
    if isinstance(calibrator, ClassConditional):
        whose = np.where(calibrator.pooled.numpy()[codes], -1, codes)
        classes, rows = np.divmod(calibrator.keys.numpy(), len(held) + 1)
    for code in np.unique(whose):
        theirs = held if not guard.by_class or code < 0 else held[rows[classes == code]]
        distinct, at = np.unique(theirs), whose == code
        crossed = np.searchsorted(distinct, high[at], "right") - np.searchsorted(distinct, low[at], "right")
        far[at] = crossed > max(1, tolerance * (len(theirs) + 1))
    return far


def _tied(guard: OpenSetClassifier, rows: Support, codes: np.ndarray, tolerance: float) -> np.ndarray:
    """Whether the logit of each class in ``codes`` is the largest of its row, to rounding."""
    head = guard.head
    if head is None or not len(rows):
        return np.zeros(len(rows), dtype=bool)
    with torch.no_grad():
        batches = [head.apply_to(batch)["logits"] for batch in rows.signals.batches(*head.reads())]
    logits = torch.cat(batches).double().numpy()  # (R, C)
    top, low = logits.max(axis=1), logits.min(axis=1)
    there = (codes >= 0) & (codes < logits.shape[1])
    chosen = logits[np.arange(len(codes)), np.where(there, codes, 0)]
    tied: np.ndarray = there & (top - chosen <= tolerance * (top - low))
    return tied


def _description(guard: OpenSetClassifier, encoder: Encoder, origin: str, proto: Any) -> dict[str, Any]:
    """What a program must know to use the graph, and what the graph was made of."""
    images = encoder.accepts == "images"
    return {
        "classes": guard.classes,
        "alpha": guard.alpha,
        "by_class": guard.by_class,
        "threshold": guard.thresholds() if guard.by_class else float(guard.thresholds()[0]),
        "inputs": _shapes(proto.graph.input),
        "outputs": OUTPUTS | BY_CLASS if guard.by_class else OUTPUTS,
        "preprocessing": {"decoding": DECODING, **encoder.preprocessing()} if images else None,
        "encoder": guard.encoder_id,
        "detector": guard.detector.expression(),
        "head": None if guard.head is None else guard.head.expression(),
        "guard_sha256": origin,
        "versions": versions() | {"onnx": str(require("onnx", "onnx").__version__), "opset": _opset(proto)},
    }


def _opset(proto: Any) -> int:
    return next(int(one.version) for one in proto.opset_import if not one.domain)


def _shapes(values: Any) -> dict[str, str]:
    """Name -> ``"uint8 (batch, 8, 8, 3)"``."""
    numpy_type = require("onnx.helper", "onnx").tensor_dtype_to_np_dtype
    return {
        one.name: f"{numpy_type(one.type.tensor_type.elem_type)} "
        f"({', '.join(str(d.dim_param or d.dim_value) for d in one.type.tensor_type.shape.dim)})"
        for one in values
    }


def _saved_hash(guard: OpenSetClassifier) -> str:
    """The hash in the file that `OpenSetClassifier.save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        return _hash_in(guard.save(Path(folder) / "guard.unseen"))


def _hash_in(path: str | Path) -> str:
    with safe_open(path, "pt") as file:
        return str(file.metadata()["sha256"])


def _cause(error: BaseException) -> str:
    """Type and first line of what an exporter stumbled over, below its own general words."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
