"""Declared protocols: images are found in every layout, gaps are named, and published numbers stand beside ours."""

import gzip
import itertools
import json
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torch import nn

import unseen as library
from unseen import registry
from unseen.api.declared import bench_protocol, bench_searched
from unseen.data import open_inputs
from unseen.data.binaries import read_cifar, read_idx, read_svhn
from unseen.data.joined import join
from unseen.encoders.torch import Torch
from unseen.errors import BadInput, NotEnoughKnown, WrongUse
from unseen.protocols import leaderboard, openood, search
from unseen.protocols.openood import CIFAR10, PROTOCOLS, find, locate, usable, what
from unseen.signals import Signals, Support

SIDE = 8  # pixels of the little images
COLOURS = np.random.default_rng(3).integers(40, 215, size=(10, 3))
PER_CLASS = {"train": 8, "test": 4, "val": 3}


def pictures(n, colour, seed, side=SIDE):
    noise = np.random.default_rng(seed).normal(0, 12, size=(n, side, side, 3))
    return np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)


def write(root, names, images, top="images_classic"):
    for name, image in zip(names, images, strict=True):
        path = root / top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def listing(root, path, names, labels):
    target = root / "benchmark_imglist" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    # OpenOOD's lists have the line ends of Windows.
    target.write_bytes("".join(f"{n} {y}\r\n" for n, y in zip(names, labels, strict=True)).encode())


def unknown_set(root, name, stem, n, seed):
    names = [f"{stem}/{i:03d}.png" for i in range(n)]
    write(root, names, pictures(n, np.random.default_rng(seed).integers(0, 255, 3), seed))
    listing(root, f"cifar10/{name}.txt", names, [-1] * n)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """All that ``openood/cifar10`` needs, as OpenOOD has it, a few images a set."""
    root = tmp_path_factory.mktemp("openood")
    for which, many in PER_CLASS.items():
        names, labels = [], []
        for label, name in enumerate(CIFAR10):
            # The images for validation are test images that the test list does not name.
            folder, start = ("train", 0) if which == "train" else ("test", 0 if which == "test" else 100)
            some = [f"cifar10/{folder}/{name}/{start + i:04d}.png" for i in range(many)]
            write(root, some, pictures(many, COLOURS[label], seed=100 * label + len(which)))
            names += some
            labels += [label] * many
        listing(root, f"cifar10/{which}_cifar10.txt", names, labels)
    sets = {"test_cifar100": "cifar100/test/apple", "test_tin": "tin/val/images", "val_tin": "tin/val/other"}
    sets |= {"test_mnist": "mnist/train", "test_svhn": "svhn/test", "test_texture": "texture/grid"}
    sets |= {"test_places365": "places365/bar"}
    for seed, (name, stem) in enumerate(sets.items()):
        unknown_set(root, name, stem, 14, seed)
    names = [f"cifar10c/{i:05d}_{i % 10}.png" for i in range(20)]
    write(root, names, np.concatenate([pictures(1, COLOURS[i % 10] // 2, seed=i) for i in range(20)]))
    listing(root, "cifar10/test_cifar10c.txt", names, [i % 10 for i in range(20)])
    return root


@pytest.fixture
def copy(tree, tmp_path):
    """The same in a folder that a test may change."""
    return Path(shutil.copytree(tree, tmp_path / "data"))


def run(root, *, encoder="pixels?size=2", **more):
    return bench_protocol("openood/cifar10", root, encoder, cache=False, **({"detectors": ["knn(k=3)"]} | more))


# The declarations


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_declaration_is_whole(name):
    protocol = PROTOCOLS[name]
    assert len(set(protocol.classes)) == len(protocol.classes)
    assert {part.name for part in protocol.near}.isdisjoint(part.name for part in protocol.far)
    for role, part in protocol.parts(full_spectrum=True, validation=True):
        assert isinstance(part.places[0], openood.Listed), part.name
        assert "http" in part.home, part.name
        # What is known with another look, or for validation, is told apart from the rest by its list alone.
        assert (len(part.places) > 1) == (role in ("known", "known test", "near", "far")) or "imagenet" in name
    tables = [protocol.published, *filter(None, [protocol.published_full_spectrum])]
    for file in tables:
        table = leaderboard.published(file)
        assert len(table["near"]) == len(protocol.near)
        assert len(table["far"]) == len(protocol.far)
        assert table["known"] == protocol.name.partition("/")[2]


def test_classes_are_those_of_the_published_lists():
    assert [len(one.classes) for one in PROTOCOLS.values()] == [10, 100, 200, 1000]
    wnids = PROTOCOLS["openood/imagenet200"].classes
    assert list(wnids) == sorted(set(wnids))
    assert wnids[0] == "n01443537"
    assert find("openood:cifar10") is PROTOCOLS["openood/cifar10"]
    with pytest.raises(WrongUse, match=r'no protocol \'openood/cifar11\'.*did you mean "openood/cifar10"'):
        find("openood/cifar11")


# Where the images lie


def test_lists_say_which_images_take_part(tree):
    located = locate(find("openood/cifar10"), tree, full_spectrum=True, validation=True)
    assert located.missing == []
    counts = {(one["role"], one["name"]): one["n"] for one in located.found}
    assert counts["known", "cifar10"] == 80
    assert counts["known test", "cifar10"] == 40  # the images for validation lie beside
    assert counts["known validation", "cifar10"] == 30
    assert counts["shifted", "cifar10c"] == 20
    test = located.inputs["known test", "cifar10"]
    assert test.classes == CIFAR10
    assert all(key.split("/")[2] == CIFAR10[y] for key, y in zip(test.keys, test.labels.tolist(), strict=True))
    assert located.inputs["near", "tin"].labels is None
    assert any("known test: 40 inputs here, 9,000 in OpenOOD's list" in note for note in located.notes)


def test_a_folder_above_will_do(copy):
    above = locate(find("openood/cifar10"), copy.parent)  # it is called data
    assert above.missing == []


def test_class_folders_without_lists(copy):
    shutil.rmtree(copy / "benchmark_imglist")
    (copy / "images_classic" / "cifar10").rename(copy / "cifar10")
    located = locate(find("openood/cifar10"), copy)
    assert located.missing == []
    test = located.inputs["known test", "cifar10"]
    assert len(test) == 70  # a list would leave those for validation out
    assert test.classes == CIFAR10
    assert located.notes[1] == (
        "known test: 70 inputs here, 9,000 in OpenOOD's list benchmark_imglist/cifar10/test_cifar10.txt (1,000 of the "
        "10,000 test images are in no test list)"
    )


def test_class_folders_of_other_names_are_numbered_in_order(tmp_path):
    for i in range(100):
        write(tmp_path, [f"cifar100/train/k{i:02d}/0.png", f"cifar100/test/k{i:02d}/0.png"], pictures(2, (i, 9, 9), i))
    located = locate(find("openood/cifar100"), tmp_path)
    test = located.inputs["known test", "cifar100"]
    assert [test.classes[y] for y in test.labels.tolist()] == list(map(str, range(100)))
    assert test.keys[7].startswith("k07/")
    shutil.rmtree(tmp_path / "images_classic/cifar100/test/k00")
    with pytest.raises(BadInput, match=r"its 99 class folders \(k01, k02, .* are not the 100 classes"):
        locate(find("openood/cifar100"), tmp_path)


def test_other_names_for_named_classes_are_no_order(tmp_path):
    """``plane`` and ``car`` would be sorted elsewhere than ``airplane`` and ``automobile``; numbers would not."""
    for label, name in enumerate(("plane", "car", *CIFAR10[2:])):
        write(
            tmp_path, [f"named/cifar10/train/{name}/0.png", f"cifar10/train/{label}/0.png"], pictures(2, (9, 9, 9), 0)
        )
    with pytest.raises(BadInput, match=r"class folders \(bird, car, cat and 7 more\) are not the 10 classes"):
        locate(find("openood/cifar10"), tmp_path / "images_classic/named")
    found = locate(find("openood/cifar10"), tmp_path).inputs["known", "cifar10"]
    assert [found.classes[y] for y in found.labels.tolist()] == list(CIFAR10)


def test_only_folders_of_the_classes_are_known(tmp_path):
    classes = PROTOCOLS["openood/imagenet200"].classes
    for wnid in (*classes, "n00000001"):
        write(tmp_path, [f"imagenet_1k/train/{wnid}/0.png"], pictures(1, (9, 9, 9), 0), "images_largescale")
    inputs = locate(find("openood/imagenet200"), tmp_path).inputs["known", "imagenet200"]
    assert len(inputs) == 200
    assert [key.split("/")[0] for key in inputs.keys] == [classes[y] for y in inputs.labels.tolist()]


def test_images_of_one_folder_have_no_labels_and_need_a_list(tmp_path):
    write(tmp_path, ["imagenet_1k/val/ILSVRC2012_val_00000001.JPEG"], pictures(1, (9, 9, 9), 0), "images_largescale")
    assert ("known test", "imagenet") not in locate(find("openood/imagenet1k"), tmp_path).inputs
    listing(tmp_path, "imagenet/test_imagenet.txt", ["imagenet_1k/val/ILSVRC2012_val_00000001.JPEG"], [65])
    found = locate(find("openood/imagenet1k"), tmp_path).inputs["known test", "imagenet"]
    assert found.classes[int(found.labels[0])] == "65"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cifar10/train/cat/0.png", "row 1: expected a path, a space and a number"),
        ("a b.png 3\n\nx.png 10\n", "row 3: label 10, but there are 10 classes"),
        ("", "names no images"),
        (b"\xff\xfe 1", "cannot be read as a list of images"),
    ],
)
def test_a_broken_list_is_named(tmp_path, content, message):
    target = tmp_path / "benchmark_imglist/cifar10/train_cifar10.txt"
    target.parent.mkdir(parents=True)
    target.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match=message):
        locate(find("openood/cifar10"), tmp_path)


def cifar_batch(path, images, labels, key="labels", protocol=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    path.write_bytes(pickle.dumps({"data": data, key: labels, "filenames": ["x"] * len(labels)}, protocol=protocol))
    return path


def test_binary_batches_give_the_pixels_and_labels(tmp_path):
    images = np.concatenate([pictures(2, COLOURS[y], y, side=32) for y in range(10)])
    labels = np.repeat(np.arange(10), 2).tolist()
    for i in range(1, 6):
        cifar_batch(tmp_path / f"cifar-10-batches-py/data_batch_{i}", images, labels)
    cifar_batch(tmp_path / "cifar-10-batches-py/test_batch", images[::-1], labels[::-1])
    located = locate(find("openood/cifar10"), tmp_path)
    train, test = located.inputs["known", "cifar10"], located.inputs["known test", "cifar10"]
    assert (len(train), train.classes) == (100, CIFAR10)
    np.testing.assert_array_equal(train.read(21), images[1])
    np.testing.assert_array_equal(test.read(0), images[-1])
    assert test.labels.tolist() == labels[::-1]
    near = locate(find("openood/cifar100"), tmp_path).inputs["near", "cifar10"]
    assert near.labels is None
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()  # half a set is none
    assert ("known", "cifar10") not in locate(find("openood/cifar10"), tmp_path).inputs


def test_a_batch_as_python_2_wrote_it(tmp_path):
    """The files of the authors: their text is bytes, and numpy had other modules then."""
    image = np.arange(3072, dtype=np.uint8)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<I", 3072) + image.tobytes() + b"tb"
    )
    path = tmp_path / "test_batch"
    path.write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x03eu.")
    found = read_cifar([path], CIFAR10)
    np.testing.assert_array_equal(found.read(0), image.reshape(3, 32, 32).transpose(1, 2, 0))
    assert found.classes[int(found.labels[0])] == "cat"


def test_fine_labels_not_coarse_ones(tmp_path):
    path = cifar_batch(tmp_path / "cifar-100-python/test", pictures(3, (9, 9, 9), 0, side=32), [2, 1, 0], "fine_labels")
    held = pickle.loads(path.read_bytes()) | {"coarse_labels": [9, 9, 9]}
    path.write_bytes(pickle.dumps(held, protocol=2))
    assert read_cifar([path]).labels.tolist() == [2, 1, 0]


class Malice:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Malice()), r"holds pathlib\S*, which could run code"),
        (pickle.dumps({b"data": Malice()}), "could run code"),
        (b"c_codecs\nencode\n(Vx\nVzip\ntR.", "asks for another codec than latin1"),
        (b"\x80", "not a pickle that can be read"),
        (pickle.dumps([1]), "holds list, not a dictionary"),
        (pickle.dumps({"data": np.zeros((2, 9), np.uint8)}), r"shape \(N, 3072\)"),
        (
            pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, protocol=2),
            "no label for each of its 2",
        ),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [-1]}, protocol=2), "not integers from 0"),
    ],
)
def test_a_pickle_runs_nothing(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "batch"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        read_cifar([path], CIFAR10)
    assert not Path("ran").exists()


def idx(images):
    return struct.pack(">4I", 0x803, *images.shape) + images.tobytes()


def test_digits_as_published(tmp_path):
    grey = np.random.default_rng(0).integers(0, 255, (5, 28, 28)).astype(np.uint8)
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(idx(grey[:3]))
    with gzip.open(raw / "t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(idx(grey[3:]))
    colour = np.random.default_rng(1).integers(0, 255, (32, 32, 3, 4)).astype(np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": colour, "y": np.array([[10], [1], [2], [9]])})
    located = locate(find("openood/cifar10"), tmp_path)
    mnist, svhn = located.inputs["far", "mnist"], located.inputs["far", "svhn"]
    assert (len(mnist), len(svhn)) == (5, 4)
    np.testing.assert_array_equal(mnist.read(4)[:, :, 1], grey[4])
    np.testing.assert_array_equal(svhn.read(2), colour[..., 2])
    assert read_svhn(tmp_path / "test_32x32.mat").labels.tolist() == [0, 1, 2, 9]


def test_damaged_files_are_named(tmp_path):
    whole = idx(np.zeros((2, 4, 4), np.uint8))
    path = tmp_path / "images"
    for content, message in [
        (whole[:-1], "truncated after 47 of 48 bytes"),
        (whole[1:], "not an idx"),
        (b"", "not an idx"),
    ]:
        path.write_bytes(content)
        with pytest.raises(BadInput, match=message):
            read_idx(path)
    packed = tmp_path / "images.gz"
    packed.write_bytes(gzip.compress(whole)[:-12])
    with pytest.raises(BadInput, match=r"images\.gz: damaged"):
        read_idx(packed)
    with pytest.raises(BadInput, match="no such file"):
        read_idx(tmp_path / "absent")
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0" + bytes(200))
    with pytest.raises(BadInput, match=r"a\.mat: "):
        read_svhn(tmp_path / "a.mat")
    savemat(tmp_path / "b.mat", {"X": np.zeros((4, 4, 3, 2), np.uint8), "y": [1]})
    with pytest.raises(BadInput, match="2 images, 1 labels"):
        read_svhn(tmp_path / "b.mat")


def test_joined_sources_are_read_where_they_lie(tmp_path):
    images = pictures(3, (100, 50, 20), 1)
    write(tmp_path, ["a/0.png", "b/0.png"], images[:2])
    files = open_inputs(tmp_path / "images_classic")
    arrays = open_inputs({"images": images[2:], "labels": ["b"], "classes": ["a", "b"], "groups": [7]})
    both = join({"files": files, "arrays": arrays})
    assert list(both.keys) == ["files/a/0.png", "files/b/0.png", "arrays/array[0]"]
    assert both.labels.tolist() == [0, 1, 1]
    assert len(set(both.groups.tolist())) == 3
    for row in range(3):
        np.testing.assert_array_equal(both.read(row), images[row])
    some = both.take([2, 0])
    np.testing.assert_array_equal(some.read(0), images[2])
    assert some.digest(1) == files.digest(0)
    assert join({"x": files, "y": files.take([1])}).path(2) == files.path(1)
    assert join({"x": files}) is files
    with pytest.raises(WrongUse, match="rows are arrays"):
        join({"images": files, "rows": open_inputs(np.eye(2))})
    with pytest.raises(WrongUse, match="other classes"):
        join({"x": files, "y": open_inputs({"images": images, "labels": ["a", "c", "c"]})})


# What is missing


def test_missing_sets_are_named_in_one_message(copy):
    shutil.rmtree(copy / "images_classic/svhn")
    shutil.rmtree(copy / "images_classic/cifar100")
    with pytest.raises(BadInput) as caught:
        run(copy)
    message = str(caught.value)
    assert (
        "found known, known test, near tin, far mnist, far texture, far places365; missing near cifar100: put"
        in message
    )
    assert "benchmark_imglist/cifar10/test_svhn.txt with images_classic/ or images_classic/svhn/test/" in message
    assert "http://ufldl.stanford.edu/housenumbers/" in message
    assert "--partial" in message
    assert "\n" not in message


def test_partial_goes_on_and_says_so(copy):
    for name in ("svhn", "cifar100", "tin"):
        shutil.rmtree(copy / "images_classic" / name)
    found = run(copy, partial=True)
    assert list(found.sets) == ["mnist", "texture", "places365"]
    assert found.protocol["missing"] == ["near cifar100", "near tin", "far svhn"]
    assert any("far svhn (SVHN, test images) is missing and takes no part" in text for text in found.warnings)
    told = found.to_dict()
    assert set(told["groups"]) == {"far"}


@pytest.mark.parametrize("gone", [("cifar10/train",), ("cifar100", "tin", "mnist", "svhn", "texture", "places365")])
def test_partial_is_no_excuse_for_everything(copy, gone):
    for name in gone:
        shutil.rmtree(copy / "images_classic" / name)
    with pytest.raises(BadInput, match="missing") as caught:
        run(copy, partial=True)
    assert "--partial" not in str(caught.value)  # it was given, and did not help


def test_the_full_spectrum_needs_a_set_of_another_look(copy):
    shutil.rmtree(copy / "images_classic/cifar10c")
    with pytest.raises(BadInput, match="missing shifted cifar10c"):
        run(copy, full_spectrum=True, partial=True)
    with pytest.raises(WrongUse, match="no known inputs with another look"):
        locate(find("openood/cifar100"), copy, full_spectrum=True)
    with pytest.raises(BadInput, match="no such folder"):
        run(copy / "nowhere")


def test_usable_says_nothing_where_nothing_is_missing(tree):
    protocol = find("openood/cifar10")
    assert usable(protocol, locate(protocol, tree), tree) == []
    told = what(protocol, tree)
    assert all(part["n"] for part in told["parts"])
    json.dumps(told)


# The bench


def test_a_protocol_is_the_bench_of_its_sets(tree):
    found = run(tree)
    sets = {"near": ["cifar100", "tin"], "far": ["mnist", "svhn", "texture", "places365"]}
    assert {kind: about["sets"] for kind, about in found.groups.items()} == sets
    assert (found.n_fit, found.n_known_test) == (80, 40)
    inputs = locate(find("openood/cifar10"), tree).inputs
    by_hand = library.bench(
        inputs["known", "cifar10"],
        {name: inputs["near", name] for name in sets["near"]},
        {name: inputs["far", name] for name in sets["far"]},
        "pixels?size=2",
        known_test=inputs["known test", "cifar10"],
        detectors=["knn(k=3)"],
        cache=False,
    )
    assert [row.sets for row in found.rows] == [row.sets for row in by_hand.rows]


def test_the_full_spectrum_adds_known_inputs(tree):
    full = run(tree, full_spectrum=True)
    assert full.n_known_test == 40 + 20
    inputs = locate(find("openood/cifar10"), tree, full_spectrum=True)
    test = {"a": inputs.inputs["known test", "cifar10"], "b": inputs.inputs["shifted", "cifar10c"]}
    known = inputs.inputs["known", "cifar10"]
    more = {"known_test": join(test), "detectors": ["knn(k=3)"], "cache": False}
    by_hand = library.bench(known, inputs.group("near"), inputs.group("far"), "pixels?size=2", **more)
    assert full.rows[0].sets == by_hand.rows[0].sets
    assert full.published is None  # nothing is published of it for these known classes
    assert full.protocol["full_spectrum"]


class Colour(nn.Module):
    """Tells classes by their mean colour; ``order`` is which class each output is of."""

    def __init__(self, order=range(10), outputs=10):
        super().__init__()
        self.flat = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out = nn.Linear(3, outputs)
        centres = torch_like(COLOURS[list(order)] / 255)[:outputs]
        self.out.weight.data[: len(centres)] = 60 * centres
        self.out.bias.data[: len(centres)] = -30 * (centres**2).sum(dim=1)

    def forward(self, x):
        return self.out(self.flat(x))


def torch_like(values):
    import torch

    return torch.tensor(np.asarray(values), dtype=torch.float32)


def network(**more):
    return Torch(Colour(**more), size=SIDE, mean=(0, 0, 0), std=(1, 1, 1))


def test_the_networks_outputs_are_the_classes(tree):
    encoder = network()
    found = run(tree, encoder=encoder, detectors=["msp", "knn(k=3)"])
    rows = {row.name: row for row in found.rows}
    assert rows["own >> msp"].accuracy > 0.9
    assert any(
        "10 outputs are taken for the classes in their usual order (airplane, automobile" in n for n in found.notes
    )
    assert encoder.head.classes is None  # the caller's encoder stays as it was
    assert not any("another order" in text for text in found.warnings)


def test_outputs_in_another_order_are_noticed(tree):
    found = run(tree, encoder=network(order=[*range(1, 10), 0]), detectors=["msp"])
    assert any("are its outputs in another order" in text for text in found.warnings)


def test_other_outputs_are_no_head_here(tree):
    found = run(tree, encoder=network(outputs=12), detectors=["msp"])
    assert not any(row.name.startswith("own") for row in found.rows)
    assert any("12 outputs, openood/cifar10 10 classes: its own head is not used" in note for note in found.notes)


# What is published


def test_published_numbers_stand_beside_the_same_detector(tree):
    found = run(tree, encoder=network(), detectors=["msp", "react", "knn(k=3)", "nearest_prototype"])
    told = found.to_dict()
    rows = {row["name"]: row for row in told["detectors"]}
    msp = rows["own >> msp"]["published"]
    assert (msp["postprocessor"], msp["architecture"]) == ("MSP", "ResNet18")
    assert (msp["near"], msp["far"], msp["tuned_on_unknown"]) == (0.8803, 0.9073, False)
    assert rows["knn(k=3)"]["published"]["tuned_on_unknown"]
    assert rows["own >> react >> energy"]["published"]["near"] == 0.8711
    for name in ("ridge >> msp", "prototypes >> msp", "nearest_prototype"):
        assert rows[name]["published"] is None
    source = told["published"]["source"]
    assert len(source["commit"]) == 40
    assert "validation" in told["published"]["caveat"]
    json.dumps(told)


def test_tables_are_fractions_of_one_architecture():
    for protocol in PROTOCOLS.values():
        for file in filter(None, [protocol.published, protocol.published_full_spectrum]):
            table = leaderboard.published(file)
            values = [row[key] for row in table["rows"] for key in ("near", "far")]
            assert all(0 < value < 1 for value in values)
            pairs = [(row["postprocessor"], row["architecture"]) for row in table["rows"]]
            assert len(set(pairs)) == len(pairs)
    assert leaderboard.published("openood_imagenet1k.json")["architecture"] == "ResNet50"


def test_every_counterpart_is_a_detector_of_ours():
    assert {part for ours in leaderboard.OURS.values() for part in ours} <= set(registry.names("detectors"))
    for theirs, ours in leaderboard.OURS.items():
        expression = " >> ".join(ours)
        assert leaderboard.counterpart(f"own >> {expression}") == theirs
    assert leaderboard.counterpart("ridge >> energy") is None
    assert leaderboard.counterpart("own >> ash(variant='B') >> energy") == "ASH"


# Settings chosen before


def blobs(seed, n=60, centre=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(centre, 1, size=(n, 4)).astype("float32")
    return Support(Signals({"features": x}), labels=np.arange(n) % 3, classes=("a", "b", "c"), encoder="test:1")


def test_the_best_setting_on_unknown_inputs_is_taken():
    fit, known, unknown = blobs(0), blobs(1), blobs(2, 20, 1.5)
    choice = search.search_on_unknown(fit, known, unknown, ["knn(k=5)", "knn", "mahalanobis"])
    assert "knn(k=5)" in choice.detectors  # an argument that was given is not varied
    assert set(choice.rows) == {name for name in choice.detectors if name not in ("knn(k=5)", "mahalanobis")}
    (about,) = choice.rows.values()
    values = {one["setting"].get("k", 50): one["auroc"] for one in about["settings"]}
    assert set(values) == {1, 5, 50}
    assert about["auroc"] == max(values.values())
    from unseen.metrics import evaluate

    for k, auroc in values.items():
        detector = library.create(f"knn(k={k})").fit(fit)
        assert evaluate(detector.score(known.signals), detector.score(unknown.signals)).auroc == auroc


def test_the_first_of_equals_and_what_cannot_be_fitted():
    fit, far = blobs(0, 20, 9.0), blobs(2, 20, -9.0)  # every setting is perfect, and 50 neighbours are too many
    choice = search.search_on_unknown(fit, blobs(1, 60, 9.0), far, ["knn"])
    assert choice.detectors == ["knn(k=1)"]
    assert choice.rows["knn(k=1)"]["settings"] == [
        {"setting": {"k": 1}, "auroc": 1.0},
        {"setting": {"k": 5}, "auroc": 1.0},
    ]
    with pytest.raises(WrongUse, match="one side is empty"):
        search.search_on_unknown(fit, fit, far.take([]), ["knn"])
    with pytest.raises(NotEnoughKnown, match="no detector can be tried"):
        search.search_on_unknown(Support.of(np.eye(3)), fit, far, ["msp"])


def test_the_choice_on_known_classes_is_the_audits():
    from unseen.protocols.audit import recommend_setting
    from unseen.protocols.candidates import Candidate

    fit = blobs(0, n=150)
    choice = search.search_on_known(fit, ["knn"], seed=4)
    setting = recommend_setting(fit, Candidate("knn"), 4)
    assert choice.detectors == [Candidate("knn").build(setting).expression() if setting else "knn"]
    assert choice.n_unknown == 0
    assert search.OWN_HEAD not in choice.warning
    with pytest.raises(WrongUse, match="labels of three classes"):
        search.search_on_known(Support.of(np.eye(3)), ["knn"])


def test_a_search_on_unknown_is_marked_everywhere(tree):
    found = run(tree, encoder=network(), search="unknown", detectors=["knn", "mahalanobis"])
    told = found.to_dict()
    tuned = {row["name"]: row["tuned_on"] for row in told["detectors"]}
    assert {name.split("(")[0]: on for name, on in tuned.items()} == {"knn": "unknown", "mahalanobis": None}
    assert told["search"]["n_known"] == 30
    assert told["search"]["n_unknown"] == 14
    assert told["warnings"][0] == search.ON_UNKNOWN
    assert sum("not the inputs of OpenOOD's lists" in text for text in told["warnings"]) == 1
    marks = {row["name"].split("(")[0]: row["tuned_on"] for row in told["baselines"]}
    assert (marks["pixels: knn"], marks["pixels: mahalanobis"], marks["edges"]) == ("unknown", None, None)
    assert found.protocol["missing"] == []


def test_a_search_on_known_touches_no_unknown_input(copy):
    (copy / "benchmark_imglist/cifar10/val_tin.txt").unlink()
    found = run(copy, search="known", detectors=["knn"])
    assert {row["tuned_on"] for row in found.to_dict()["detectors"]} == {"known"}
    assert found.notes[0] == search.ON_KNOWN
    assert search.ON_UNKNOWN not in found.warnings
    with pytest.raises(BadInput, match="missing unknown validation: put benchmark_imglist/cifar10/val_tin"):
        run(copy, search="unknown", partial=True)
    with pytest.raises(WrongUse, match="search='both'"):
        run(copy, search="both")


def test_own_sets_need_unknown_inputs_of_their_own():
    def rows(seed, n=90, shift=0.0):
        made = blobs(seed, n, shift)
        return {"features": made.signals.gather("features").numpy()}

    known = rows(0) | {"labels": np.arange(90) % 3}
    near = {"new": rows(1, 30, 1.0)}
    validation = {"features": np.concatenate([rows(3, 25, 1.0)["features"], near["new"]["features"][:5]])}
    more = {"detectors": ["knn"], "cache": False}
    found = bench_searched(known, near, search="unknown", unknown_validation={"other": validation}, **more)
    assert found.search["n_unknown"] == 25  # copies of what is tested may not choose
    assert "unknown validation other: 5 copies of other inputs left out" in found.notes
    assert found.search["n_known"] < found.n_fit
    name = found.rows[0].name
    plain = library.bench(known, near, detectors=[name], cache=False)
    assert found.rows[0].sets == plain.rows[0].sets
    assert found.protocol is None
    with pytest.raises(WrongUse, match="give unknown_validation"):
        bench_searched(known, near, search="unknown", **more)
    with pytest.raises(WrongUse, match="looks at no unknown ones"):
        bench_searched(known, near, search="known", unknown_validation=near, **more)
    with pytest.raises(WrongUse, match="exact copies"):
        bench_searched(known, near, search="unknown", unknown_validation=near, **more)


# The command


def test_the_command_shows_and_writes_all(tree, unseen, tmp_path):
    words = ("bench", "--protocol", "openood/cifar10", "--root", tree, "-e", "pixels?size=2", "--cache", tmp_path / "c")
    more = ("--detectors", "knn,mahalanobis", "--search-on-unknown", "--json", "b.json", "--report", "b.html")
    code, out, err = unseen(*words, *more)
    assert (code, err) == (0, "")
    assert "Mean AUROC beside OpenOOD v1.5, ResNet18" in out
    assert "tuned on unknown" in " ".join(out.split())
    told = json.loads(Path("b.json").read_text())
    assert told["protocol"]["name"] == "openood/cifar10"
    assert told["search"]["on"] == "unknown"
    page = Path("b.html").read_text()
    assert "tuned on unknown" in page
    assert "Published" in page
    assert "90.6" in page  # KNN, near
    assert "30 known and 14 unknown inputs for validation" in " ".join(out.split())
    assert "30 known and 14 unknown inputs for validation" in " ".join(page.split())


def test_the_command_says_what_belongs_where(tree, unseen):
    code, out, _ = unseen("bench", "--protocol", "openood/imagenet1k", "--what")
    assert code == 0
    assert "SSB-hard" in out
    assert "49,000" in out
    code, out, _ = unseen("bench", "--protocol", "openood:cifar10", "--what", "--root", tree, "--json", "-")
    assert code == 0
    assert {part["n"] for part in json.loads(out)["parts"]} >= {80, 40, 14}
    code, out, _ = unseen("list")
    assert "openood/imagenet200" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--near", "a=b"), "give --known SOURCE"),
        (("--known", "a", "--partial"), "--partial is for a declared protocol"),
        (("--protocol", "openood/cifar10", "--root", ".", "--near", "a=b"), "--near beside --protocol"),
        (("--protocol", "openood/cifar10"), "give --root DIR"),
        (("--known", "a", "--search-on-known", "--search-on-unknown"), "choose settings on one of them"),
        (("--known", "a", "--unknown-validation", "a=b"), "--unknown-validation is for --search-on-unknown"),
    ],
)
def test_options_that_do_not_go_together(unseen, words, message):
    code, _, err = unseen("bench", *words)
    assert code == 2
    assert message in " ".join(err.split())


@pytest.mark.slow
def test_real_images_in_openoods_layout(test_data, tmp_path):
    """CIFAR-10, Tiny ImageNet, MNIST and textures as OpenOOD has them, and a network of 92 % accuracy.

    Bounds are what is known of it: MSP of a ResNet-20 lies between 0.8 and 0.95, and the true order is no accident.
    """
    experiments = Path(__file__).parents[2] / "experiments"

    def encoded(archive, blob, offset):
        with np.load(test_data / archive) as z:
            held, at = z[blob], z[offset]
        return [held[a:b].tobytes() for a, b in itertools.pairwise(at.tolist())]

    def put(names, contents):
        for name, content in zip(names, contents, strict=True):
            path = tmp_path / "images_classic" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    with np.load(test_data / "cifar10_lossless_webp.npz") as z:
        labels = {part: z[f"{part}_label"].astype(int) for part in ("train", "test")}
    for part, many in (("train", 2000), ("test", 846)):
        y = labels[part][:many]
        names = [f"cifar10/{part}/{CIFAR10[label]}/{i:04d}.webp" for i, label in enumerate(y.tolist())]
        put(names, encoded("cifar10_lossless_webp.npz", f"{part}_webp", f"{part}_offset")[:many])
        listing(tmp_path, f"cifar10/{part}_cifar10.txt", names, y.tolist())
    with np.load(test_data / "tiny_imagenet_jpeg.npz") as z:
        rows, tiny = np.flatnonzero(z["split"] == 1), z["label"].astype(int)
    overlap = json.loads((test_data / "tiny_imagenet_classes.json").read_text())["cifar10_overlap"]
    rows = rows[~np.isin(tiny[rows], overlap)][::4]
    contents = encoded("tiny_imagenet_jpeg.npz", "jpeg", "offset")
    names = [f"tin/val/images/val_{row}.JPEG" for row in rows.tolist()]
    put(names, [contents[row] for row in rows.tolist()])
    listing(tmp_path, "cifar10/test_tin.txt", names, [-1] * len(names))
    textures = encoded("far_ood.npz", "dtd_webp", "dtd_offset")
    put([f"texture/some/{i:04d}.webp" for i in range(len(textures))], textures)  # no list: the folder is taken
    with np.load(test_data / "far_ood.npz") as z:
        digits = z["mnist"][:500]
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name, images in (("train", digits[:250]), ("t10k", digits[250:])):
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(np.ascontiguousarray(images)))
    weights = test_data / "net_cifar10_resnet20.safetensors"
    found = bench_protocol(
        "openood/cifar10",
        tmp_path,
        f"torch:{experiments / 'networks.py'}:resnet20?weights={weights}&size=32",
        partial=True,
        detectors=["msp", "energy", "knn"],
        cache=tmp_path / "cache",
    )
    assert found.protocol["missing"] == ["near cifar100", "far svhn", "far places365"]
    rows = {row.name: row for row in found.rows}
    assert rows["own >> msp"].accuracy == pytest.approx(0.917, abs=0.01)
    assert 0.8 < rows["own >> msp"].means["near"]["auroc"] < 0.95
    assert not any("another order" in text for text in found.warnings)
    assert found.beside["own >> msp"]["postprocessor"] == "MSP"
