"""A small language model: how surprising a text is to one who has read the training texts.

Source: Jelinek and Mercer, "Interpolated Estimation of Markov Source Parameters from Sparse Data", 1980. It stands
in for the GPT-2 of the literature, so its perplexities compare texts of one data set and nothing else.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

BEGIN, END = "<s>", "</s>"
WEIGHTS = (0.5, 0.3, 0.2)  # of three words, two words and one word


@dataclass(frozen=True, eq=False)
class Trigram:
    """Word counts that give the probability of a word after two others.

    P(w | u, v) mixes the shares of w after "u v", after "v" and among all words, this last smoothed by one for each
    known word and one for all unknown ones together. The weight of a context never seen goes to the shorter ones.

    Attributes:
        counts: how often each sequence of one, two or three words occurs.
        contexts: how often each sequence of none, one or two words is followed by anything.
    """

    counts: Counter[tuple[str, ...]] = field(repr=False)
    contexts: Counter[tuple[str, ...]] = field(repr=False)
    n_words: int

    def perplexity(self, texts: Iterable[str]) -> float:
        """Returns the perplexity of a word of ``texts``, their ends included.

        Raises:
            ValueError: if there are no texts.
        """
        logarithms = [logarithm for text in texts for logarithm in self.logarithms(text.split())]
        if not logarithms:
            raise ValueError("A perplexity needs at least one text, got 0.")
        return math.exp(-sum(logarithms) / len(logarithms))

    def logarithms(self, words: Sequence[str]) -> list[float]:
        """Returns the log probability of each of ``words``, and of the end after them, [n + 1]."""
        return [math.log(self.probability(*three)) for three in _in_threes(_framed(words))]

    def perplexities_without(self, words: Sequence[str]) -> list[float]:
        """Returns the perplexity of ``words`` less each of them in turn, [n]; only what changes is counted."""
        logarithms, framed, found = self.logarithms(words), _framed(words), []
        total = sum(logarithms)
        for place in range(len(words)):
            around = [
                *framed[place : place + 2],
                *framed[place + 3 : place + 5],
            ]  # two words before, two after
            new = sum(math.log(self.probability(*three)) for three in _in_threes(around))
            found.append(math.exp(-(total - sum(logarithms[place : place + 3]) + new) / len(words)))
        return found

    def probability(self, first: str, second: str, word: str) -> float:
        """Returns the probability of ``word`` after the two others; they sum to 1 over known words and one unknown."""
        share = (self.counts[(word,)] + 1) / (self.contexts[()] + self.n_words + 1)
        weight = WEIGHTS[2]
        for context, more in (((second,), WEIGHTS[1]), ((first, second), WEIGHTS[0])):
            if seen := self.contexts[context]:
                found = self.counts[(*context, word)] / seen
                share = (weight * share + more * found) / (weight + more)
                weight += more
        return share


def fit(texts: Iterable[str]) -> Trigram:
    """Returns the model of ``texts``, whose words are what stands between spaces, in lower case."""
    counts: Counter[tuple[str, ...]] = Counter()
    contexts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        for first, second, word in _in_threes(_framed(text.split())):
            for context in ((), (second,), (first, second)):
                counts[(*context, word)] += 1
                contexts[context] += 1
    return Trigram(counts, contexts, sum(len(key) == 1 for key in counts))


def _framed(words: Sequence[str]) -> list[str]:
    return [BEGIN, BEGIN, *(word.lower() for word in words), END]


def _in_threes(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    return zip(words, words[1:], words[2:], strict=False)
