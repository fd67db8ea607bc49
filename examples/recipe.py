"""What one example consists of: data, tokenisation, settings and metrics; see ``scripts.published`` for its peers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bang_plugin.evaluation import Options

Flags = Mapping[str, object]  # command-line options


@dataclass(frozen=True)
class Mode:
    """A way to train.

    Attributes:
        options: of fairseq-train, on top of the recipe's; None leaves an option out, True makes it a bare flag.
        decodings: names in ``Recipe.decodings`` by which such a model writes the test set.
        write: writes the test set instead of fairseq-generate: ``write(work, run, checkpoint)``.
        trained: False for what needs no model; ``write`` then gets None for the checkpoint.
        teaches_nar_alone: with ``--distil`` NAR updates take the teacher's targets, all others keep the data's.
    """

    options: Flags
    decodings: tuple[str, ...]
    write: Callable | None = None
    trained: bool = True
    teaches_nar_alone: bool = False


@dataclass(frozen=True)
class Recipe:
    """An example.

    Attributes:
        name: of its folder.
        title: a line for ``--help``.
        source: writes ``{train,dev,test}.{src,tgt}``, a sentence per line, into a folder, of each part at
            most so many lines: ``source(folder, most)``.
        raw: the same from what the data are made of, where ``--data`` names a folder of it and not of pairs:
            ``raw(data, folder, most)``.
        corpora: other sources, by name, for ``prepare --corpus``.
        training: options of fairseq-train for every mode.
        modes: ways to train, by name; their options may name another task, architecture and criterion.
        decodings: options of fairseq-generate, by name.
        metrics: names that ``bang evaluate`` knows, with those of their numbers that the table shows.
        judging: how texts are compared, outputs mended included.
        references_as_written: references are scored as the data have them, as published scripts do; else they go
            through the tokeniser like the outputs.
        tables: names in `scripts.published` of the results to print beside ours; default: the recipe's own name.
        pooled: sentences with the same source count once, with all their references.
        pieces: size of the sentencepiece vocabulary; 0: the text is symbols separated by blanks already; None: the
            user has to say (``--vocab`` or ``--pieces``).
        source_pieces: what of a source is kept, for models that cannot cut it themselves; None: all.
        processes: workers that the settings are meant for; another number shares the same batch.
        extra_data: makes more data from the pieces: ``extra_data(work)``.
        report: what to tell beyond the table: ``report(work, runs)``, with a ``scripts.results.Run`` per
            written test set; what it returns, if anything, joins ``details.json``.
    """

    name: str
    title: str
    source: Callable[[Path, int | None], None]
    training: Flags
    modes: Mapping[str, Mode]
    decodings: Mapping[str, Flags]
    metrics: Mapping[str, tuple[str, ...]]
    judging: Options = Options()
    references_as_written: bool = False
    tables: tuple[str, ...] = ()
    pooled: bool = False
    pieces: int | None = None
    source_pieces: int | None = None
    processes: int = 1
    extra_data: Callable | None = None
    raw: Callable[[Path, Path, int | None], None] | None = None
    corpora: Mapping[str, Callable[[Path, int | None], None]] = field(default_factory=dict)
    report: Callable | None = None


def option_list(*options: Flags) -> list[str]:
    """Command-line arguments; later options replace earlier ones of the same name."""
    merged = {name: value for part in options for name, value in part.items()}
    arguments = []
    for name, value in merged.items():
        if value is not None:
            arguments += [name] if value is True else [name, str(value)]
    return arguments


# Fine-tuning as published with the official release: 8 GPUs, Adam, inverse square root after 1,000 warm-up updates
FINE_TUNING = {
    "--arch": "bang_base",
    "--criterion": "nstream_loss",
    "--label-smoothing": 0.1,
    "--optimizer": "adam",
    "--adam-betas": "(0.9, 0.999)",
    "--clip-norm": 0.1,
    "--lr": 1e-4,
    "--lr-scheduler": "inverse_sqrt",
    "--warmup-updates": 1000,
    "--weight-decay": 0.01,
    "--dropout": 0.1,
    "--attention-dropout": 0.1,
    "--max-tokens": 3072,
    "--max-source-positions": 512,
    "--max-target-positions": 512,
    "--truncate-source": True,
    "--skip-invalid-size-inputs-valid-test": True,
}

SOURCE_PIECES = 127
# A small model trained from nothing on two cores: small batches, since in so short a time the number of updates counts
TWO_CORES = {
    "--arch": "bang_tiny",
    "--encoder-layers": 2,
    "--decoder-layers": 2,
    "--criterion": "nstream_loss",
    "--label-smoothing": 0.1,
    # what is seen once or twice is not learnt by heart, and random numbers take a fifth of a CPU's time
    "--dropout": 0,
    "--attention-dropout": 0,
    "--activation-dropout": 0,
    "--optimizer": "torch_adamw",
    "--adam-betas": "(0.9, 0.98)",
    "--clip-norm": 1.0,
    "--lr": 2e-3,
    "--lr-scheduler": "polynomial_decay",
    "--warmup-updates": 400,
    "--max-tokens": 1500,
    "--max-source-positions": SOURCE_PIECES + 2,  # and the symbols that fairseq puts around them
    "--max-target-positions": 128,
    "--truncate-source": True,
    "--skip-invalid-size-inputs-valid-test": True,
    "--save-interval-updates": 1000,
    "--keep-interval-updates": 1,
}


def short_outputs(source_pieces: int, target_positions: int) -> Flags:
    """`TWO_CORES` for targets much shorter than their sources: a batch is counted by its longer side, so it holds more.

    Args:
        source_pieces: what of a source is read.
        target_positions: most pieces of a target.
    """
    return {
        **TWO_CORES,
        "--max-source-positions": source_pieces + 2,
        "--max-target-positions": target_positions,
        "--max-tokens": 4000,
    }


# fairseq's own models in bang_tiny's sizes; the options of NAT and CMLM are those of fairseq's README for them,
# but for learned positions: a length is predicted, and may be more than training had
SAME_SIZE = {
    **{
        f"--{side}-{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("embed-dim", 192), ("ffn-embed-dim", 768), ("attention-heads", 4))
    },
    "--share-all-embeddings": True,
}
PARALLEL = {
    **SAME_SIZE,
    "--task": "translation_lev",
    "--criterion": "nat_loss",
    "--pred-length-offset": True,
    "--length-loss-factor": 0.1,
    "--apply-bert-init": True,
}
BASELINES: dict[str, Flags] = {
    # the task bang is fairseq's translation, whose beam search then tells its passes
    "transformer": {**SAME_SIZE, "--arch": "transformer", "--criterion": "label_smoothed_cross_entropy"},
    "nat": {**PARALLEL, "--arch": "nonautoregressive_transformer", "--noise": "full_mask"},
    "cmlm": {**PARALLEL, "--arch": "cmlm_transformer", "--noise": "random_mask"},
}
ITERATIONS = (1, 4, 10)
BASELINE_DECODINGS = {
    "transformer": ("ar", "ar-greedy"),
    "nat": ("nat",),
    "cmlm": tuple(f"cmlm-{n}" for n in ITERATIONS),
}

# of the updates of one checkpoint for all decodings train AR alone, the first ones: what is learnt of the source then
# serves all of them (docs/training.md)
AR_SHARE = 0.6
# how the others train: two places a sentence cost little more than AR alone, all of them nearly three times as much
CHEAP_STREAMS = {"--nar-ratio": 0.45, "--anchors": 2, "--stream-weights": "6,1,1,1"}

BLOCK = 4  # tokens per block, and so the streams that training all modes at once needs


def fine_tuning_modes(ar_updates: int, ar_epochs: int = 10, nar_epochs: int = 50) -> dict[str, Mode]:
    """Training AR alone, NAR alone, and one checkpoint for all decodings (whose settings are this project's).

    Args:
        ar_updates: with which the one checkpoint begins, AR alone; about as many as ``ar_epochs`` have.
        ar_epochs: of AR alone.
        nar_epochs: of NAR alone, and of the one checkpoint.
    """
    every = ("ar", "nar", "semi_nar", "adaptive", "speculative")
    return {
        "ar": Mode({"--nar-ratio": 0, "--max-epoch": ar_epochs}, ("ar",)),
        "nar": Mode({"--nar-ratio": 1, "--max-epoch": nar_epochs}, ("nar",)),
        "all": Mode(
            {"--ar-updates": ar_updates, "--nar-ratio": 0.5, "--ngram": BLOCK, "--max-epoch": nar_epochs},
            every,
            teaches_nar_alone=True,
        ),
    }


def two_core_modes(updates: int) -> dict[str, Mode]:
    """As `fine_tuning_modes`, in so many updates each, and before them fairseq's own models of the same size."""
    length = {"--max-update": updates, "--total-num-update": updates}
    modes = fine_tuning_modes(ar_updates=round(AR_SHARE * updates))
    written = {"ar": ("ar", "ar-greedy"), "nar": ("nar",), "all": DIAL}
    modes["all"] = replace(modes["all"], options={**modes["all"].options, **CHEAP_STREAMS})
    changes = {"--max-epoch": None, **length}
    return {
        **{name: Mode({**BASELINES[name], **length}, BASELINE_DECODINGS[name]) for name in BASELINES},
        **{
            name: replace(mode, options={**mode.options, **changes}, decodings=written[name])
            for name, mode in modes.items()
        },
    }


def decodings(longest: int, collapse: bool = True) -> dict[str, Flags]:
    """fairseq-generate's options for every decoding; AR as published (beam 4, length penalty 1.2).

    Args:
        longest: most tokens that are written.
        collapse: drop repeated neighbours in the parallel modes, as published for NAR.
    """
    limit = {"--max-len-b": longest}
    parallel = {**limit, "--collapse-repeats": True} if collapse else limit
    block = {**parallel, "--block-size": BLOCK}
    return {
        "ar": {"--decoding": "ar", "--beam": 4, "--lenpen": 1.2, **limit},
        "nar": {"--decoding": "nar", **parallel},
        "semi_nar": {"--decoding": "semi_nar", **block},
        # what AR wrote or finds good: repetitions in it are the model's words
        "adaptive": {"--decoding": "adaptive", **limit, "--block-size": BLOCK},
        "speculative": {"--decoding": "speculative", "--beam": 1, **limit, "--block-size": BLOCK},
    }


CANDIDATES, BLOCKS, TOLERANCES = 5, (2, BLOCK), (1, 2, 4, 8)
# what one checkpoint writes: greedy AR, the same in fewer passes, and down to NAR
DIAL = (
    *("ar", "lookahead", "ar-greedy", "speculative"),
    *(f"adaptive-{tolerance}" for tolerance in TOLERANCES),
    *(f"semi_nar-{size}" for size in BLOCKS),
    *("nar", f"nar-{CANDIDATES}"),
)


def two_core_decodings(longest: int, collapse: bool = True) -> dict[str, Flags]:
    """Every setting of `two_core_modes`: blocks and tolerances of several sizes, candidates, fairseq's refinements.

    Args:
        longest: most tokens that are written; fairseq's parallel models know no such limit.
        collapse: see `decodings`.
    """
    known = decodings(longest, collapse)
    refine = {"--print-step": True, "--beam": 1}
    return {
        "ar": known["ar"],
        "lookahead": {**known["ar"], "--decoding": "speculative", "--block-size": BLOCK},
        "ar-greedy": {**known["ar"], "--beam": 1},
        "speculative": known["speculative"],
        **{f"adaptive-{tolerance}": {**known["adaptive"], "--tolerance": tolerance} for tolerance in TOLERANCES},
        **{f"semi_nar-{size}": {**known["semi_nar"], "--block-size": size} for size in BLOCKS},
        "nar": known["nar"],
        f"nar-{CANDIDATES}": {**known["nar"], "--nar-candidates": CANDIDATES},
        "nat": {**refine, "--iter-decode-max-iter": 0},
        # fairseq counts the iterations after the first
        **{f"cmlm-{n}": {**refine, "--iter-decode-max-iter": n - 1} for n in ITERATIONS},
    }
