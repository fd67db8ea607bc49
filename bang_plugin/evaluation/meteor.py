"""METEOR: nltk's, or the original program (version 1.5), whose numbers papers report."""

import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import IO, cast

import nltk
import numpy as np
from nltk.corpus import wordnet
from nltk.translate.meteor_score import meteor_score

from ..errors import BangError
from .base import Number, Options, Signature, mean, progress


def meteor(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """METEOR by the jar if its path is given (named ``meteor15``), else by nltk (``meteor``).

    The two differ by points: nltk has the matching and weights of 2007 and takes the mean over sentences, the
    jar has tuned weights, paraphrases and normalisation and sums its counts over the corpus.

    Raises:
        BangError: if the jar cannot be run.
    """
    if options.meteor_jar:
        return [by_jar(hypotheses, references, options.meteor_jar)]
    return [by_nltk(hypotheses, references)]


class NoSynonyms:
    """Stands for WordNet where its data are missing."""

    def synsets(self, word: str) -> list[str]:
        """None, of any word."""
        return []


def by_nltk(hypotheses: list[str], references: list[list[str]]) -> Number:
    """Mean METEOR of nltk, with WordNet's synonyms if its data are there."""
    try:
        wordnet.ensure_loaded()
        lexicon, match = wordnet, "exact+stem+wordnet"
    except LookupError:
        lexicon, match = NoSynonyms(), "exact+stem"
    values = [
        meteor_score([other.split() for other in alternatives], text.split(), wordnet=lexicon)
        for text, alternatives in progress(hypotheses, references, "METEOR")
    ]
    how = {"nltk": nltk.__version__, "match": match, "tok": "split", "case": "lc", "agg": "mean-best"}
    return mean(Signature("meteor", **how), values)


def by_jar(hypotheses: list[str], references: list[list[str]], jar: Path) -> Number:
    """METEOR 1.5 over the corpus.

    Raises:
        BangError: if the jar cannot be run.
    """
    program = MeteorProgram(jar)
    rows = [program.counts(*pair) for pair in progress(hypotheses, references, "METEOR")]
    how = {"jar": jar.name, "options": "-l en -norm", "tok": "norm", "case": "lc", "agg": "corpus"}
    return Number(Signature("meteor15", **how), np.array(rows), program.score)


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process and close its pipes."""
    process.kill()
    process.communicate()


class MeteorProgram:
    """The METEOR jar, asked over its standard input.

    Raises:
        BangError: here and in the methods, if Java or the jar cannot be run, with what it said last.
    """

    def __init__(self, jar: Path):
        if not jar.is_file():
            raise BangError(f"--meteor-jar {jar}: no such file")
        self.jar = jar
        self.complaints = tempfile.TemporaryFile()
        command = ["java", "-Dfile.encoding=UTF-8", "-Xmx2G", "-jar", str(jar), "-", "-"]
        try:
            self.process = subprocess.Popen(
                [*command, "-stdio", "-l", "en", "-norm"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.complaints,
                encoding="utf-8",
                bufsize=1,
            )
        except FileNotFoundError:
            raise BangError("--meteor-jar needs java, which is not on the PATH") from None
        # pipes, as asked for above
        self.stdin, self.stdout = cast(IO[str], self.process.stdin), cast(IO[str], self.process.stdout)
        weakref.finalize(self, end, self.process)

    def ask(self, question: str) -> str:
        """Send a line; return the first line of what it answers."""
        try:
            self.stdin.write(question + "\n")
        except BrokenPipeError:
            pass  # why it ended is in its complaints
        return self.answer()

    def answer(self) -> str:
        """The next line of what it answers."""
        line = self.stdout.readline()
        if not line:
            self.complaints.seek(0)
            said = self.complaints.read().decode(errors="replace").split("\n")
            # below Java's message come indented lines, the places in its code
            last = next((line for line in reversed(said) if line[:1].strip()), "it ended without a word")
            raise BangError(f"--meteor-jar {self.jar}: {last}")
        return line.strip()

    def counts(self, hypothesis: str, references: list[str]) -> list[float]:
        """The sentence's statistics with its best reference; their sums score a corpus."""
        fields = [" ".join(text.replace("|||", " ").split()) for text in (*references, hypothesis)]
        return [float(count) for count in self.ask(" ||| ".join(["SCORE", *fields])).split()]

    def score(self, total: np.ndarray) -> float:
        """METEOR in percent of summed statistics."""
        # the first line answers for each sentence given, the second for all of them: here both are the same
        self.ask("EVAL ||| " + " ".join(map(str, total.tolist())))
        return 100 * float(self.answer())
