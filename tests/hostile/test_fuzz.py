"""Whatever is read: what comes out are answers, or the errors of `unseen.errors` in one line.

The same examples every time, so that a change of the code and nothing else can break them. Hundreds run always, more
than 10,000 with `make test-all`.
"""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save

import unseen
from unseen.classifier import OpenSetClassifier
from unseen.data import Preprocess, near_duplicates, open_inputs, read_image, thumbnail
from unseen.encoders import encode, open_encoder
from unseen.errors import DamagedFile, UnseenError, one_line
from unseen.naming import printable
from unseen.signals import Support
from unseen.signals.support import coded

X = np.arange(24, dtype=np.float32).reshape(6, 4)
COLOURS = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


def allowed(error):
    """An error that a person can read and mend."""
    assert str(error)
    assert str(error) == one_line(str(error))


def mutated(draw, content):
    """``content`` with a few bytes altered, runs of it doubled or lost, and perhaps its end cut off."""
    content = bytearray(content)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.integers(0, 4))
        if kind < 3 and content:
            content[at] = draw(st.integers(0, 255))
        elif kind == 3:
            content[at:at] = content[at : at + draw(st.integers(1, 40))]
        else:
            del content[at : at + draw(st.integers(1, 40))]
    if draw(st.booleans()):
        content = content[: draw(st.integers(0, len(content)))]
    return bytes(content)


def raw_or(draw, content):
    return draw(st.binary(max_size=120)) if draw(st.integers(0, 5)) == 0 else mutated(draw, content)


# Manifests

WORDS = [
    "path",
    "label",
    "group",
    "a.png",
    "b.png",
    "cat",
    "-1",
    "0",
    '"',
    ",",
    "\t",
    ";",
    "\n",
    "\r\n",
    "\r",
    "\ufeff",
]
WORDS += ["\0", " ", "\u00e9", "\udc80", "{", "}", "[", "]", ":", '"path": "a.png"', '"label": 3', "1e999", "9" * 5000]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just([{}])
ROWS = st.dictionaries(st.sampled_from(["path", "label", "group", "x"]), SCALARS | st.sampled_from(["a.png", "cat"]))


def manifest(draw, folder):
    suffix = draw(st.sampled_from(["csv", "tsv", "jsonl"]))
    kind = draw(st.integers(0, 3))
    valid = {
        "csv": "path,label,group\na.png,cat,1\nb.png,dog,2\n",
        "tsv": "path\tlabel\na.png\tcat\nb.png\tdog\n",
        "jsonl": '{"path": "a.png", "label": "cat"}\n{"path": "b.png", "label": 3, "group": "x"}\n',
    }[suffix]
    if kind == 0:
        content = draw(st.binary(max_size=100))
    elif kind == 1:
        content = mutated(draw, valid.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))))
    elif kind == 2:
        content = "".join(draw(st.lists(st.sampled_from(WORDS), max_size=25))).encode(errors="surrogatepass")
    else:
        content = "\n".join(map(json.dumps, draw(st.lists(ROWS, max_size=5)))).encode()
    path = folder / f"m.{suffix}"
    path.write_bytes(content)
    Image.fromarray(COLOURS).save(folder / "a.png")
    inputs = open_inputs(path)
    assert len(set(inputs.keys)) == len(inputs) > 0
    assert all(key == printable(key) for key in inputs.keys)
    assert inputs.labels is None or 0 <= inputs.labels.min() <= inputs.labels.max() < len(inputs.classes)
    support = encode(inputs, "pixels?size=4", cache=False)
    assert len(support) + len(support.skipped) == len(inputs)


# Images


def pictures():
    image = Image.fromarray(COLOURS)
    forms = [
        ("jpeg", image, {}),
        ("jpeg", image, {"progressive": True}),
        ("jpeg", image.convert("CMYK"), {}),
        ("png", image, {}),
        ("png", image.convert("P"), {"transparency": 2}),
        ("png", image.convert("I;16"), {}),
        ("gif", image, {"save_all": True, "append_images": [image.rotate(90)]}),
        ("webp", image, {}),
        ("webp", image, {"save_all": True, "append_images": [image.rotate(90)], "lossless": True}),
        ("bmp", image, {}),
        ("tiff", image, {}),
        ("tiff", image, {"compression": "tiff_lzw"}),
        ("tiff", image, {"compression": "jpeg"}),
        ("ppm", image, {}),
        ("ico", image, {"sizes": [(16, 16)]}),
        ("jpeg2000", image, {}),
        ("avif", image, {}),
        ("mpo", image, {"save_all": True, "append_images": [image]}),
    ]
    for form, one, options in forms:
        if form.upper() not in Image.SAVE:
            continue  # this build of Pillow lacks its library
        file = io.BytesIO()
        one.save(file, form, **options)
        yield file.getvalue()


Image.init()
PICTURES = tuple(pictures())


def picture(draw, folder):
    path = folder / "a.img"
    path.write_bytes(raw_or(draw, draw(st.sampled_from(PICTURES))))
    pixels = read_image(path)
    assert (pixels.dtype, pixels.shape[2:]) == (np.uint8, (3,))
    small = Preprocess(8)(pixels)
    assert near_duplicates([thumbnail(small)]) == ()


# Arrays


def zipped(method, **arrays):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.save(part, array)
            archive.writestr(f"{name}.npy", part.getvalue())
    return file.getvalue()


def stream(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


NAMED = {"features": X, "labels": np.array([0, 1, 0, 1, 2, 2]), "keys": np.array(list("uvwxyz"))}
FILES = [
    ("npy", stream(X)),
    ("npy", stream(X.astype(">f8"))),
    ("npy", stream(np.zeros((6, 4, 4, 3), np.uint8))),
    *(("npz", zipped(m, **NAMED)) for m in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)),
    ("npz", zipped(zipfile.ZIP_LZMA, **NAMED)),
    ("safetensors", save({"features": X, "labels": NAMED["labels"]}, {"classes": '["a", "b", "c"]'})),
]


def array_file(draw, folder):
    suffix, content = draw(st.sampled_from(FILES))
    path = folder / f"a.{suffix}"
    path.write_bytes(raw_or(draw, content))
    digest(open_inputs(path))


def digest(inputs):
    """Go the way of arrays to the end: digests, encoding, all values."""
    assert len(inputs.digests(threads=1)) == len(inputs) > 0
    kind = "arrays" if inputs.kind == "arrays" else "pixels?size=2"
    support = encode(inputs, kind, cache=False)
    assert len(support.keys) == len(support)
    for name in support.signals.names:
        assert len(support.gather(name)) == len(support)


DTYPES = ["f2", "f4", ">f4", "f8", "g", "c8", "i1", ">i2", "i8", "u1", "u2", "u8", "?", "U3", "S2", "O", "M8[s]", "V3"]
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 3, 3]), max_size=4).map(tuple)
NAMES = ["features", "logits", "embedding", "local", "images", "labels", "classes", "groups", "keys", "array", "x\n"]


def mapping(draw, folder):
    del folder
    found = {}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True)):
        kind = draw(st.integers(0, 3))
        if kind == 0:
            found[name] = draw(st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3))
        else:
            values = np.zeros(draw(SHAPES), draw(st.sampled_from(DTYPES)))
            if values.size and values.dtype.kind in "fciu":
                values.flat[0] = draw(st.sampled_from([0, 1, 100]))
                if kind == 1 and values.dtype.kind == "f":
                    values.flat[-1] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
            found[name] = values
    digest(open_inputs(found))


# Labels, expressions, names of encoders


def labels(draw, folder):
    del folder
    numbers = st.integers() | st.floats() | st.sampled_from([2**63, 2**64, 1e300, -0.0, np.int8(3), np.float32(2)])
    values = draw(st.lists(numbers | SCALARS | st.binary(max_size=2), max_size=4))
    if draw(st.booleans()):
        try:
            values = np.array(values, dtype=draw(st.sampled_from(DTYPES)))
        except (ValueError, TypeError, OverflowError, RuntimeWarning):
            return  # numpy refuses it before we see it
    made = coded(values)
    assert len(made["labels"]) == len(values)
    assert len(set(made["classes"])) == len(made["classes"])
    assert all(name and name == printable(name) for name in made["classes"])
    Support.of(np.ones((len(values), 2)), values)


PARTS = ["knn", "ridge", "energy", "msp", "react", "mahalanobis", "nothing", "import", "__class__", "k", "temperature"]
SIGNS = [
    ">>",
    ">",
    "(",
    ")",
    "()",
    "k=",
    "=",
    ",",
    ".",
    "[",
    "]",
    "{",
    "'",
    '"',
    "\\",
    "*",
    "**",
    ":",
    ":=",
    "lambda",
    "#",
]
THINGS = [
    "1",
    "0",
    "-1",
    "1e999",
    "nan",
    "1j",
    "None",
    "True",
    "'x'",
    "b'x'",
    "(1,2)",
    "{}",
    "9" * 5000,
    "\n",
    " ",
    "\0",
]
THINGS += ["(" * 300, "-" * 5000, "\u00e9", "\ud800", "\\d", "1if 2else 3", "f''", "0x", "01"]
TEXTS = st.lists(st.sampled_from(PARTS + SIGNS + THINGS), max_size=8).map("".join) | st.text(max_size=12)


def expression(draw, folder):
    del folder
    known = ["knn(k={})", "ridge(penalty={}) >> energy", "energy(temperature={})", "react(quantile={}) >> msp", "{}"]
    text = draw(st.sampled_from(known)).format(draw(TEXTS)) if draw(st.booleans()) else draw(TEXTS)
    part = unseen.create(text)
    assert unseen.create(part.expression()).expression() == part.expression()


def encoder_name(draw, folder):
    del folder
    known = [
        "pixels?size={}",
        "arrays?source={}",
        "arrays:{}",
        "pixels:{}",
        "pixels?{}=3",
        "torch:{}",
        "torch:no.py:{}",
    ]
    value = draw(
        TEXTS | st.sampled_from(["4", "0", "-3", "4.5", "'4'", "[4]", "True", "%34", "%", "1e5", "10**9", "9" * 30])
    )
    text = draw(st.sampled_from(known)).format(value) if draw(st.integers(0, 3)) else draw(TEXTS)
    if "torch" in text and "no.py" not in text:
        text = text.replace("torch", "torch:no_such_module_of_ours.", 1)
    encoder = open_encoder(text)
    assert encoder.id
    if encoder.accepts == "images" and max(encoder.preprocessing()["size"]) < 500:  # larger ones take their time
        assert encoder.prepare(COLOURS).dtype == np.uint8


# Saved classifiers


def blobs():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(120, 5)) + np.repeat(np.eye(3, 5) * 8, 40, axis=0)).astype(np.float32), np.repeat(
        [0, 1, 2], 40
    )


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    known, codes = blobs()
    return (
        OpenSetClassifier("arrays", "ridge >> energy")
        .fit(known, codes)
        .save(tmp_path_factory.mktemp("guard") / "guard.unseen")
    )


@pytest.fixture(autouse=True)
def _saved(guard):
    GUARD["content"] = guard.read_bytes()


GUARD: dict[str, bytes] = {}


def saved_file(draw, folder):
    content = GUARD["content"]
    changed = raw_or(draw, content)
    path = folder / "g.unseen"
    path.write_bytes(changed)
    try:
        loaded = OpenSetClassifier.load(path)
    except DamagedFile:  # no other class, though others derive from UnseenError too
        raise
    except UnseenError as error:
        pytest.fail(f"{type(error).__name__}: {error}")
    assert unseen.info(path) == loaded.info()


TARGETS = [manifest, picture, array_file, mapping, labels, expression, encoder_name, saved_file]


def run(target, folder, examples):
    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(data=st.data())
    def one(data):
        try:
            target(data.draw, folder)
        except UnseenError as error:
            allowed(error)

    one()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_answers_or_our_errors(target, tmp_path):
    run(target, tmp_path, 60)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_answers_or_our_errors_at_length(target, tmp_path):
    run(target, tmp_path, 1500)
