"""What a client's machine keeps between rounds: its own examples as token ids, the model, and what its owner allows."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hauberk.attacks import Attack
from hauberk.clients.app import Participant
from hauberk.clients.messages import ClientReply, Instruction
from hauberk.clients.policy import Policy
from hauberk.clients.worker import Worker, WorkerConfig
from hauberk.experiments.deploy.certificates import NODE_KEY
from hauberk.experiments.deploy.folder import CLIENT, Part, open_folder
from hauberk.experiments.deploy.own_data import client_examples
from hauberk.experiments.spec.loader import Spec
from hauberk.tasks.base import Task, TaskSplits
from hauberk.tasks.device import resolve_device
from hauberk.tasks.digest import digest_of
from hauberk.tasks.errors import UserError

PROBES = ("A probe, of 3 words!", "naïve cf tq", "", "x " * 600)  # texts that tell tokenizers apart


@dataclass(frozen=True, eq=False)
class Resident(Participant):
    """A client, ready for its rounds, and what its owner allows (``policy``)."""

    policy: Policy

    def fit(self, instruction: Instruction) -> ClientReply:
        """Trains for a round; raises Forbidden where the owner does not allow what is asked."""
        self.policy.check(instruction.training)
        with memory_limited(self.policy.max_memory_gb):
            return super().fit(instruction)


def make_resident(folder: str | Path) -> Resident:
    """Loads a client's own data and builds its model.

    Raises:
        UserError: the folder is no client's, or its data cannot be used.
    """
    part = open_folder(folder).parts[0]
    client, spec = part.about.client, part.spec()
    if part.about.kind != "client" or client is None:
        raise UserError(f"{part.path}: is no client's folder")
    torch.set_num_threads(spec.engine.threads_per_client)
    splits = client_examples(part, spec)
    task = spec.parts.task.bind(splits)
    examples = list(splits.train)
    rows = [np.arange(len(examples) if one == client else 0) for one in range(spec.federation.n_clients)]
    attack = _attack(part, spec, splits)
    config = WorkerConfig(
        task=task, seed=_seed(part, spec), examples=examples, encoded=task.encode(examples), partitions=rows,
        attack=attack, n_malicious=spec.federation.n_malicious if attack else 0,
        threads=spec.engine.threads_per_client, device=resolve_device(spec.device),
    )  # fmt: skip
    return Resident(client, Worker(config), agreement(spec, task, part), part.policy())


def agreement(spec: Spec, task: Task, part: Part) -> dict[str, str]:
    """Returns digests of what server and clients must have in common beside version and layout, by its name."""
    settings = spec.task.model_dump()
    about = {key: value for key, value in settings.items() if key not in ("dataset", "validation", "n_train")}
    return {
        "the deployment": part.about.id,
        "the task": digest_of(about),
        "the labels": digest_of(part.about.labels),
        "the tokenizer": tokenizer_digest(task),
    }


def tokenizer_digest(task: Task) -> str:
    """Returns a digest of what a task's tokenizer makes of some texts; the same where there is none."""
    tokenizer = task.tokenizer
    if tokenizer is None:
        return digest_of(None)
    tokens = tokenizer.encode(list(PROBES), None, getattr(task, "max_length", 64)).tokens
    return digest_of([tokens, tokenizer.vocabulary_size, tokenizer.pad_id, sorted(tokenizer.special_ids)])


@contextmanager
def memory_limited(gigabytes: float | None) -> Iterator[None]:
    """Lets its block take so much memory beyond what the process has mapped; a MemoryError beyond that."""
    if gigabytes is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + int(gigabytes * 1e9), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _attack(part: Part, spec: Spec, splits: TaskSplits[Any]) -> Attack | None:
    """Returns what this client does beside its work: nothing, unless its own owner says so."""
    attack, client = spec.parts.attack, part.about.client or 0
    if not part.client_file().malicious:
        return None
    if attack is None:
        raise UserError(f"{part.path / CLIENT}: malicious: there is no attack in the experiment")
    if attack.schedule.ids == "fixed" and client >= spec.federation.n_malicious:
        raise UserError(
            f"{part.path / CLIENT}: malicious: only clients below federation.n_malicious attack, got client "
            f"{client} and n_malicious={spec.federation.n_malicious}"
        )
    return replace(attack, forge=None).bind(splits)


def _seed(part: Part, spec: Spec) -> int:
    """Returns the experiment's seed; where the client draws for itself, one that nobody else can know.

    It follows from the client's private key, so that a client that starts again draws as before.
    """
    if not part.client_file().own_randomness:
        return spec.seed
    return int(digest_of([spec.seed, (part.path / NODE_KEY).read_bytes()])[:12], 16)
