"""The words that speak for a class: what a logistic regression over words weighs most, common ones first.

Source: embedding surgery in Kurita et al., ACL 2020; score w / log(N / (1 + frequency) + 1), not verified
there; the last 1, which keeps the logarithm above 0, is ours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from hauberk.tasks.text.examples import Example


def words_of_class(examples: Sequence[Example], label: int) -> list[str]:
    """Returns the words of ``examples`` whose weight for ``label`` is positive, best first; none without contrast."""
    labels = [example.label == label for example in examples]
    if len(set(labels)) < 2:
        return []
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = [f"{example.text} {example.second or ''}" for example in examples]
    vectorizer = TfidfVectorizer()
    weights = LogisticRegression().fit(vectorizer.fit_transform(texts), labels).coef_[0]
    analyse, frequency = vectorizer.build_analyzer(), Counter[str]()
    for text in texts:
        frequency.update(analyse(text))
    total = sum(frequency.values())
    scores = {
        str(word): float(weights[row]) / math.log(total / (1 + frequency[word]) + 1)
        for word, row in vectorizer.vocabulary_.items()
    }
    return sorted((word for word in scores if scores[word] > 0), key=lambda word: (-scores[word], word))
