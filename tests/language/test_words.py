"""Word lists: one order whatever the files', WordNet's database, and lines that are no words."""

import gzip
import zipfile

import pytest

from unseen.errors import BadInput, DamagedFile, WrongUse
from unseen.language import Words, read_names, read_words

NOUNS = """  1 This software and database is being provided to you, the LICENSEE, by
  2 Princeton University under the following license.
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived
02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 02083346 n 0000 | a member of the genus Canis
10231087 18 n 01 king 0 000 | a male sovereign
00523513 04 n 01 dog 1 000 | an act
"""
ADJECTIVES = """  1 licence
00001740 00 a 01 able 0 000 | having the means
00003131 01 a 02 galore(ip) 0 dog 0 000 | in great numbers
"""
EXPECTED = {
    "able": ("adjective", ("adj.all",)),
    "canis_familiaris": ("noun", ("noun.animal",)),
    "dog": ("noun", ("adj.pert", "noun.act", "noun.animal")),
    "domestic_dog": ("noun", ("noun.animal",)),
    "entity": ("noun", ("noun.Tops",)),
    "galore": ("adjective", ("adj.pert",)),
    "king": ("noun", ("noun.person",)),
}


def as_dict(words):
    return dict(zip(words.words, zip(words.kinds, words.categories, strict=True), strict=True))


@pytest.fixture
def lists(tmp_path):
    """A plain list, a packed table, adjectives, and a list whose name is a category."""
    (tmp_path / "own.txt").write_text("Turkey\nelk\n\nturkey\nlight\n", encoding="utf-8")
    with gzip.open(tmp_path / "table.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("elk\tnoun.animal\tdeer\nking\tnoun.person\truler\nking\tnoun.artifact\tpiece\nflea circus\tno\tx\n")
    (tmp_path / "wordnet_adjectives.txt").write_text("light\nrosé\n", encoding="utf-8")
    (tmp_path / "adj.pert.txt").write_text("lunar\n", encoding="utf-8")
    return sorted(tmp_path.iterdir())


def test_lists_of_all_kinds(lists):
    words = read_words(*lists)
    assert as_dict(words) == {
        "elk": ("noun", ("noun.animal",)),
        "flea circus": ("noun", ()),
        "king": ("noun", ("noun.artifact", "noun.person")),
        "light": ("noun", ()),  # an adjective too, but each word counts once
        "lunar": ("adjective", ("adj.pert",)),
        "rosé": ("adjective", ()),
        "turkey": ("noun", ()),
    }
    assert words.dropped == {"blank": 1, "repeated": 4}
    assert words.sources == ("adj.pert.txt", "own.txt", "table.tsv.gz", "wordnet_adjectives.txt")
    assert repr(words) == "Words(5 nouns, 2 adjectives)"


def test_no_order_of_files_or_lines_matters(lists, tmp_path):
    words = read_words(*lists)
    assert read_words(*lists[::-1]) == words
    assert read_words(lists[0].parent).words == words.words
    file = tmp_path / "turned.txt"
    file.write_text("\n".join((lists[1]).read_text().splitlines()[::-1]), encoding="utf-8")
    assert read_words(file).words == read_words(lists[1]).words == ("elk", "light", "turkey")
    assert read_words(file).id == read_words(lists[1]).id != words.id


def test_a_word_stays_while_one_of_its_categories_does(lists):
    words = read_words(*lists)
    assert "king" in words.without(["noun.person"]).words
    left = words.without(["noun.person", "noun.artifact", "adj.pert"])
    assert set(words.words) - set(left.words) == {"king", "lunar"}
    assert left.dropped["of a category left out"] == 2
    assert "turkey" in words.without(["noun.animal"]).words  # nobody said what it is


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "words.txt"
    file.write_bytes("\ufeffelk \r\nox\u2028en\r\n".encode())
    with pytest.raises(BadInput, match=r"words.txt line 2: .* is no word: it has control characters"):
        read_words(file)
    file.write_bytes("\ufeffelk \r\noxen\r\n".encode())
    assert read_words(file).words == ("elk", "oxen")


def test_lines_that_are_not_utf8_are_named(tmp_path):
    file = tmp_path / "words.txt.gz"
    file.write_bytes(gzip.compress("elk\nrosé\n".encode("latin1")))
    with pytest.raises(BadInput, match=r"words\.txt\.gz line 2: not UTF-8 text"):
        read_words(file)
    file.write_bytes(gzip.compress(b"elk\n" * 100)[:-9])
    with pytest.raises(DamagedFile, match=r"words\.txt\.gz: cannot be unpacked"):
        read_words(file)


def test_files_without_words(tmp_path):
    with pytest.raises(BadInput, match=r"none\.txt: there is no such file"):
        read_words(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(BadInput, match=r"empty\.txt: there is no word in it"):
        read_words(tmp_path / "empty.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match=r"neither data\.noun of WordNet's database nor a file of words"):
        read_words(tmp_path / "folder")
    with pytest.raises(WrongUse, match="there is no file of words"):
        read_words()


@pytest.fixture
def database(tmp_path):
    folder = tmp_path / "nltk" / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    (folder / "data.noun").write_text(NOUNS)
    (folder / "data.adj").write_text(ADJECTIVES)
    return folder


def test_the_database_of_wordnet(database, monkeypatch):
    words = read_words(database)
    assert as_dict(words) == EXPECTED
    assert words.sources == ("wordnet",)
    monkeypatch.setenv("NLTK_DATA", str(database.parent.parent))
    assert read_words("wordnet") == words


def test_the_database_of_wordnet_as_nltk_leaves_it_packed(database, monkeypatch):
    with zipfile.ZipFile(database.with_suffix(".zip"), "w") as archive:
        for file in database.iterdir():
            archive.write(file, f"wordnet/{file.name}")
    expected = read_words(database)
    for file in database.iterdir():
        file.unlink()
    assert read_words(database.with_suffix(".zip")) == expected
    monkeypatch.setenv("NLTK_DATA", str(database.parent.parent))
    assert read_words("wordnet") == expected
    database.with_suffix(".zip").write_bytes(b"PK no")
    with pytest.raises(DamagedFile, match=r"wordnet\.zip: not a whole .zip file"):
        read_words("wordnet")


def test_a_damaged_database_is_named_with_its_line(database):
    (database / "data.noun").write_text(NOUNS + "10231087 77 n 01 king 0 000 | a category that there is not\n")
    with pytest.raises(DamagedFile, match=r"data\.noun line 7: not a line of WordNet's database"):
        read_words(database)


def test_without_the_database_one_is_told_how_to_get_it(monkeypatch, tmp_path):
    for name in ("NLTK_DATA", "WNSEARCHDIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("NLTK", "SYSTEM"):  # where this machine may have it
        monkeypatch.setattr(f"unseen.language.words.{name}", ())
    with pytest.raises(BadInput, match=r"install wordnet-base \(Debian\), or run nltk.download\('wordnet'\)"):
        read_words("wordnet")


def test_class_names(tmp_path):
    for name in ("10", "9", ".hidden"):
        (tmp_path / "known" / name).mkdir(parents=True)
    (tmp_path / "known" / "labels.csv").write_text("x")
    assert list(read_names(tmp_path / "known")) == ["9", "10"]
    (tmp_path / "names.tsv").write_text("n02012849\tcrane\nn03126707\tcrane\tmachine\nox\n")
    called = {"n02012849": "crane", "n03126707": "crane", "ox": "ox"}
    assert read_names(tmp_path / "names.tsv") == read_names(called) == called
    assert list(read_names("ox, bee ,")) == list(read_names(["ox", "bee"])) == ["ox", "bee"]
    assert read_names("ox") == {"ox": "ox"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a,b,a", "class 'a' is named twice: name each class once and write what it is called beside it"),
        ("names.txt", "names.txt: there is no such file or folder"),
        ("photos/known", "photos/known: there is no such file or folder"),
        (" , ", "there are no class names"),
        ([], "there are no class names"),
        (["ox", ""], "a class has no name"),
        ({"ox": 3}, "says what each class is called, as text"),
    ],
)
def test_class_names_that_cannot_be_used(given, message):
    with pytest.raises(BadInput, match=message):
        read_names(given)


def test_words_at_hand():
    words = Words.of(["ox", " bee ", "OX", ""])
    assert words.words == ("bee", "ox")
    assert words.dropped == {"blank": 1, "repeated": 1}


def test_wordnet_by_nltk(database, monkeypatch):
    """The library's own corpus where there is one; its absence is one line."""
    wordnet = pytest.importorskip("nltk.corpus").wordnet
    try:
        wordnet.ensure_loaded()
    except LookupError:
        with pytest.raises(BadInput, match=r"run nltk.download\('wordnet'\)"):
            read_words("nltk")

    class Synset:
        def __init__(self, category, *words):
            self.category, self.words = category, words

        def lexname(self):
            return self.category

        def lemmas(self):
            return [Named(word) for word in self.words]

    class Named(str):
        def name(self):
            return str(self)

    class Corpus:
        def ensure_loaded(self):
            pass

        def all_synsets(self, part):
            return {"n": [Synset("noun.animal", "Ox", "golden_retriever")], "a": [Synset("adj.all", "blue")]}[part]

    monkeypatch.setattr("nltk.corpus.wordnet", Corpus())
    words = read_words("nltk")
    assert (words.words, words.kinds) == (("blue", "golden_retriever", "ox"), ("adjective", "noun", "noun"))
    assert words.categories[1] == ("noun.animal",)
