"""Questions, answers and passages made from Debian's package lists: two packages a passage, a question on one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bang_plugin.errors import BangError

from ..classification.docstrings import place
from ..descriptions import family, part_of, read, records
from ..hub import Pair

FIELDS = ("Package", "Source", "Section", "Version", "Maintainer", "Homepage", "Description-md5")
# kinds of questions; the answer is what stands in the passage under the same name
QUESTIONS = {
    "synopsis": "what is {name}?",
    "name": "which package is {synopsis}?",
    "section": "in which section is {name}?",
    "version": "which version of {name} is there?",
    "maintainer": "who maintains {name}?",
    "homepage": "where is the homepage of {name}?",
}


@dataclass(frozen=True)
class Package:
    """What a passage says about a package; ``source`` is its source package without version."""

    source: str
    name: str
    synopsis: str
    section: str
    version: str
    maintainer: str
    homepage: str

    def told(self) -> str:
        """A sentence with all of it, the homepage only where there is one."""
        page = f", homepage {self.homepage}" if self.homepage else ""
        return (
            f"{self.name} is {self.synopsis}, in section {self.section}, version {self.version}, "
            f"maintained by {self.maintainer}{page}."
        )


def packages(lists: Path) -> Iterator[Package]:
    """Those of a folder's lists that have a description, in their order.

    Raises:
        BangError: if the lists of packages are missing, which apt keeps beside the descriptions.
    """
    files = sorted(lists.glob("*_Packages*"))
    if not files:
        raise BangError(f"{lists}: no *_Packages, as apt keeps it, from which the passages are made")
    synopses = {description.key: description.synopsis for description in read(lists)}
    for file in files:
        for record in records(file, list(FIELDS)):
            synopsis = synopses.get(record.get("Description-md5", ""))
            if synopsis and "Section" in record and "Version" in record and "Maintainer" in record:
                yield Package(
                    source=family(record.get("Source", record["Package"]).split()[0]),
                    name=record["Package"],
                    synopsis=synopsis,
                    section=record["Section"].split("/")[-1],
                    version=record["Version"],
                    maintainer=re.sub(r"\s*<.*", "", record["Maintainer"]),
                    homepage=record.get("Homepage", ""),
                )


def rows(lists: Path) -> Iterator[tuple[str, Pair]]:
    """Source package, and the answer from question and passage.

    Kind of question and order of the passage depend on the package's name alone. The other package of a passage is the
    one before it in the same part of the data, so that no test passage is read in training.
    """
    before: dict[str, Package] = {}
    for package in packages(lists):
        part = part_of(package.source)
        other = before.get(part)
        before[part] = package
        if other is None or other.synopsis == package.synopsis:
            continue
        kinds = [kind for kind in QUESTIONS if getattr(package, kind)]
        kind = kinds[int(place(f"{package.name} asks") * len(kinds))]
        two = [package.told(), other.told()]
        passage = " ".join(two if place(f"{package.name} first") < 0.5 else two[::-1])
        question = QUESTIONS[kind].format(name=package.name, synopsis=package.synopsis)
        yield package.source, (f"{question} [SEP] {passage}", getattr(package, kind))
