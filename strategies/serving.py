"""What a rule answers with, where that is more than one pass of the aggregated model.

Most rules defend while updates become one, and what they leave is a model like any other. A rule may also defend while
the model answers: from the global parameters and what it remembers it makes a `Serving`, which asks for the answers of
several parameter vectors to the same inputs and says what is answered in their stead. Whoever measures, screens or
exports a model asks `serves` first: what is measured is what would be served.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from hauberk.strategies.base import State

# Of parameters [n_params], and of the numbers of the inputs that matter or None for all of them: the logits of a model
# with these parameters, float32 [n_inputs, n_classes]. The inputs are the same at every call.
Answer = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, eq=False)
class Served:
    """What is answered to some inputs.

    Attributes:
        logits: the answers, float32 [n_inputs, n_classes].
        left_out: whose contributions an answer does without, bool [n_inputs, n_vectors].
        passes: how many inputs went through a model for them.
        certified: how many malicious clients cannot change each answer whatever they send, int64 [n_inputs]; None where
            the rule proves nothing.
        votes: the class that each vector's model is for, int64 [n_inputs, n_vectors]; None where none has a vote.
    """

    logits: Tensor
    left_out: Tensor
    passes: int
    certified: Tensor | None = None
    votes: Tensor | None = None

    @property
    def flagged(self) -> Tensor:
        """Which inputs are answered without somebody's contribution, bool [n_inputs]."""
        return self.left_out.any(dim=1)


class Serving(Protocol):
    """Answers inputs; holds all that it needs, calibration included.

    Attributes:
        clients: the ids of those whose contributions are judged together, one tuple for each column of ``left_out``.
    """

    clients: Sequence[tuple[int, ...]]

    def __call__(self, answer: Answer) -> Served:
        """Returns what is answered to the inputs that ``answer`` stands for."""
        ...

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns all that it holds, as safetensors and JSON can: the rule's ``restored`` makes it of that again."""
        ...


@runtime_checkable
class BoundedServing(Protocol):
    """A serving of which it is known what the worst attacker could make of its answers."""

    def worst(self, served: Served, liars: Collection[int], target: int) -> Tensor:
        """Returns the logits [n_inputs, n_classes] if ``liars`` did for ``target`` the most that they can.

        Args:
            served: what was answered.
            liars: ids of clients.
            target: the class that they want.
        """
        ...


@runtime_checkable
class EvictingServing(Protocol):
    """A serving that knows how often it does without whom, and can do without somebody for good.

    Attributes:
        clients: as of any serving.
        most: how many vectors it may do without.
    """

    clients: Sequence[tuple[int, ...]]
    most: int

    def unusual(self, left_out: Tensor) -> Tensor:
        """Returns the logarithm of how likely so many clean answers would do without each vector, float64 [m].

        Args:
            left_out: of answers to different inputs, bool [n_inputs, m].
        """
        ...

    def evicted(self, vectors: Sequence[int]) -> Tensor:
        """Returns the parameters of a model without these vectors, which answers alone, [n_params]."""
        ...

    def balance(self, vectors: Sequence[int]) -> Tensor:
        """Returns what to add to that model's logits, so that clean answers stay on the median, [n_classes]."""
        ...


@runtime_checkable
class Serves(Protocol):
    """A rule that defends while the model answers.

    Attributes:
        least_clean: how many clean inputs it calibrates on at least; 0 where it needs none.
    """

    least_clean: int

    def serving(self, parameters: Tensor, state: State | None, clean: Answer | None) -> Serving:
        """Returns what answers in the place of the model.

        Args:
            parameters: the global ones, [n_params].
            state: what the rule remembers after the last round.
            clean: answers to clean inputs, which are not what anybody's examples or the test are; None where the
                server has none.

        Raises:
            ValueError: if the rule remembers nothing, or what it remembers is of another layout.
        """
        ...

    def passes(self, n_clients: int) -> int:
        """Returns how often an input goes through a model, usually, where there are so many clients."""
        ...

    def restored(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Serving:
        """Returns the serving that was ``packed``; raises KeyError where a part is missing."""
        ...


def serves(rule: Any) -> bool:
    """Returns whether ``rule`` defends while the model answers."""
    return isinstance(rule, Serves)
