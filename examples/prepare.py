"""Step ``prepare``: text, pieces, and fairseq's binary files."""

from pathlib import Path

from tqdm import tqdm

from bang_plugin.commands import tokenise
from bang_plugin.errors import BangError

from .recipe import Recipe
from .workspace import Workspace, fairseq, read_lines, whole, write_lines

PARTS, SIDES = ("train", "dev", "test"), ("src", "tgt")
LANGUAGES = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]


def prepare(recipe: Recipe, work: Workspace, args) -> None:
    """Fetch, split into pieces and binarise."""
    pieces = args.pieces or (None if args.vocab else recipe.pieces)
    if not args.vocab and pieces is None:
        raise BangError(
            "give --vocab FILE, the BERT vocabulary of the pretrained checkpoint (one symbol per line), or, to train "
            "without a checkpoint, --pieces N for a sentencepiece vocabulary of the data"
        )
    if args.vocab and args.pieces:
        raise BangError("give either --vocab or --pieces")
    if args.data and args.corpus:
        raise BangError("give either --data or --corpus")
    source = {"--data": args.data, "--most": args.most, **({"--corpus": args.corpus} if args.corpus else {})}
    work.step("text", source, lambda: text(recipe, work, args.data, args.most, args.corpus))
    work.step(
        "pieces",
        {"--vocab": args.vocab, "--pieces": pieces},
        lambda: split(work, args.vocab, pieces, recipe.source_pieces),
    )
    dictionary = work.pieces / "vocab.txt" if args.vocab else None
    work.step("binarise", {}, lambda: binarise(work.pieces, work.bin, dictionary, args.workers))
    if recipe.extra_data:
        work.step("extra data", {}, lambda: recipe.extra_data(work))


def text(recipe: Recipe, work: Workspace, data: Path | None, most: int | None, corpus: str | None = None) -> None:
    """Write ``raw/``, from a folder in GLGE's format or of raw files, or from a source of the example's own."""
    with whole(work.raw) as part:
        part.mkdir()
        if data and recipe.raw and not (data / "train.src").exists():
            recipe.raw(data, part, most)
        elif data:
            copy(data, part, most)
        else:
            (recipe.corpora[corpus] if corpus else recipe.source)(part, most)
        for name in PARTS:
            counts = [len(read_lines(part / f"{name}.{side}")) for side in SIDES]
            if len(set(counts)) > 1 or not counts[0]:
                raise BangError(
                    f"{name}.src has {counts[0]} lines and {name}.tgt {counts[1]}: they must match, not be empty"
                )
            print(f"{name}: {counts[0]} pairs")


def copy(data: Path, folder: Path, most: int | None) -> None:
    """Copy ``{train,dev,test}.{src,tgt}``, at most ``most`` lines of each; ``dev`` may be called ``valid``.

    ``test.refs``, several tab-separated references a line, is optional.

    Raises:
        BangError: if a file is missing.
    """
    for name in PARTS:
        for side in SIDES:
            file = data / f"{name}.{side}"
            if name == "dev" and not file.exists():
                file = data / f"valid.{side}"
            if not file.exists():
                raise BangError(f"{data}: no {name}.{side}; the folder must hold {{train,dev,test}}.{{src,tgt}}")
            write_lines(folder / f"{name}.{side}", read_lines(file)[:most])
    if (data / "test.refs").exists():
        write_lines(folder / "test.refs", read_lines(data / "test.refs")[:most])


class Words:
    """The tokeniser of text that consists of symbols separated by blanks."""

    def encode(self, text: str) -> str:
        return text

    def decode(self, text: str) -> str:
        return text


def tokeniser(pieces: Path):
    """The tokeniser that a ``pieces/`` folder was made with."""
    vocab, model = pieces / "vocab.txt", pieces / "sentencepiece.model"
    if vocab.exists():
        return tokenise.load(None, vocab)
    return tokenise.load(model, None) if model.exists() else Words()


def cut(line: str, longest: int) -> str:
    """The first pieces of a line."""
    return " ".join(line.split(" ")[:longest])


def split(work: Workspace, vocab: Path | None, size: int | None, longest: int | None = None) -> None:
    """Write ``pieces/``, with the vocabulary or the sentencepiece model; sources are cut to the longest."""
    with whole(work.pieces) as part:
        part.mkdir()
        if vocab:
            write_lines(part / "vocab.txt", read_lines(vocab))
        elif size:
            tokenise.train([work.raw / f"train.{side}" for side in SIDES], part / "sentencepiece.model", size)
        splitter = tokeniser(part)
        for name in (f"{name}.{side}" for name in PARTS for side in SIDES):
            lines = read_lines(work.raw / name)
            split_lines = (splitter.encode(line) for line in tqdm(lines, desc=name, unit="line"))
            if longest and name.endswith(SIDES[0]):
                split_lines = (cut(line, longest) for line in split_lines)
            write_lines(part / name, split_lines)


def binarise(
    pieces: Path, destination: Path, dictionary: Path | None, workers: int, targets: Path | None = None
) -> None:
    """Run fairseq-preprocess.

    Args:
        pieces: folder with the three parts in pieces.
        destination: folder to write.
        dictionary: to use instead of the training data's own.
        targets: other targets ``train.tgt`` for training, with their sources ``train.src``, in this folder.
    """
    folders = {"train": targets or pieces, "valid": pieces, "test": pieces}
    files = {"train": "train", "valid": "dev", "test": "test"}
    prefixes = [part for name in files for part in (f"--{name}pref", folders[name] / files[name])]
    given = ["--srcdict", dictionary] if dictionary else []
    with whole(destination) as part:
        fairseq("preprocess", "--task", "bang", *LANGUAGES, *prefixes, *given, "--destdir", part, "--workers", workers)
