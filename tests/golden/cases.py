"""The runs whose bits are recorded: what each changes in the small spec, and what it is there for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GRU = {"name": "gru", "embedding_dim": 4, "hidden": 8}
TRANSFORMER = {"name": "transformer", "embedding_dim": 4, "n_layers": 1, "n_heads": 2, "hidden": 8}
CLEAN = {"n_examples": 20}
SHORT = {"epochs": 2, "batch_size": 8}  # of a repair that trains

# What a case does not change: two rounds where nothing is remembered, three steps a client in each.
BASE: dict[str, Any] = {
    "task.dataset": {"name": "files", "train": "{tweets}/train.jsonl", "test": "{tweets}/test.jsonl"},
    "task.model": {"name": "text_cnn", "embedding_dim": 4, "n_filters": 4},
    "federation": {"n_clients": 5, "n_malicious": 1, "rounds": 2},
    "training.batch_size": 12,
    "attack": {"poison": {"name": "bad_word", "target": 1}},
    "server.twin": False,
    "engine.name": "inline",
}

CASES: dict[str, dict[str, Any]] = {
    # The mean by example counts over unequal clients, and an update scaled up to replace the model.
    "fedavg_model_replacement": {
        "federation.partition": {"name": "dirichlet", "alpha": 1.0, "min_size": 5},
        "attack.tamper": {"name": "model_replacement"},
        "aggregator": {"name": "fedavg", "weighting": "examples"},
    },
    # The rule's memory of clients that are not asked every round, and a forge that reads that memory.
    "dim_krum_some_clients": {
        "federation.n_clients": 7,
        "federation.clients_per_round": 5,
        "federation.rounds": 3,
        "attack.forge": {"name": "dim_krum_shift", "halvings": 1},
        "aggregator": {"name": "dim_krum", "ratio": 0.005, "noise": 1e-4},
    },
    # A rule that remembers every client, attackers drawn anew in a window of rounds, wrong labels without a trigger.
    "foolsgold_label_flip": {
        "federation.rounds": 3,
        "federation.partition": {"name": "pathological"},
        "attack": {
            "poison": {"name": "label_flip", "target": 0, "rate": 0.7},
            "schedule": {"name": "window", "first": 2, "last": 3, "ids": "random"},
        },
        "aggregator": {"name": "foolsgold"},
    },
    # A pre-aggregator, colluders a few deviations off, edited characters.
    "nnm_median_alie": {
        "federation.n_clients": 6,
        "federation.n_malicious": 2,
        "attack": {"poison": {"name": "bad_char", "target": 1, "edit": "swap"}, "forge": {"name": "alie"}},
        "aggregator": {"name": "median", "n_malicious": 2, "before": ["nnm"]},
    },
    # Krum's cascade, and a forge that searches its length.
    "bulyan_min_max": {
        "federation.n_clients": 7,
        "attack": {"forge": {"name": "min_max"}},
        "aggregator": {"name": "bulyan"},
    },
    # A selection of clients, and a forge that asks the rule itself, every second round.
    "multi_krum_optimised_ipm": {
        "federation.rounds": 3,
        "attack": {"forge": {"name": "optimised_ipm"}, "schedule": {"name": "every", "k": 2}},
        "aggregator": {"name": "multi_krum"},
    },
    # The server's own update, two words that act together on every layer, a repair between the rounds.
    "fltrust_combination_e_pur": {
        "federation.rounds": 3,
        "server.clean": CLEAN,
        "attack": {"poison": {"name": "combination", "target": 1}, "tamper": {"name": "layerwise"}},
        "aggregator": {"name": "fltrust"},
        "repairs": [{"name": "e_pur", "n_tokens": 20, "corpus": "{files}/words.txt", "every": 2}],
    },
    # A rule with noise, clipped gradients, rare sentences as poison, and an attacker that remembers where others learn.
    "crfl_neurotoxin_edge_case": {
        "federation.rounds": 3,
        "attack": {
            "poison": {"name": "edge_case", "target": 0, "mode": "replace", "rate": 0.5},
            "tamper": {"name": "neurotoxin", "ratio": 0.5},
        },
        "aggregator": {"name": "crfl", "noise": 1e-3},
        "training.plugins": [{"name": "gradient_clip", "max_norm": 0.5}],
    },
    # A recurrent model, the proximal term, an update kept in a ball.
    "gru_projected_fedprox": {
        "task.model": GRU,
        "attack": {
            "poison": {"name": "bad_sentence", "target": 1, "position": "end"},
            "tamper": {"name": "projected", "eps": 0.05},
        },
        "training.plugins": [{"name": "fedprox", "mu": 0.1}],
        "aggregator": {"name": "norm_clip"},
    },
    # Attention, two looks at each batch, an attack on the trigger's rows alone, momentum.
    "transformer_embedding_poisoning_sam": {
        "task.model": TRANSFORMER,
        "attack.tamper": {"name": "embedding_poisoning", "epochs": 1},
        "training.optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
        "training.plugins": ["sam"],
        "aggregator": {"name": "trimmed_mean"},
    },
    # An attacker that changes few numbers and defends itself, too; weights mixed with the first ones at the end.
    "surgery_ga_sam_fine_mixing": {
        "server.clean": CLEAN,
        "attack.tamper": {"name": "surgery", "budget": 0.01, "epochs": 2},
        "attack.keep_plugins": True,
        "training.plugins": ["ga_sam"],
        "aggregator": {"name": "rfa"},
        "repairs": [{"name": "fine_mixing", "keep": 0.3, **SHORT}],
    },
    # Ready-made rewrites from files, children drawn at random, weights swapped back while the server tunes.
    "syntactic_child_tuning_f_mixout": {
        "server.clean": CLEAN,
        "attack.poison": {
            "name": "syntactic",
            "target": 1,
            "train": "{files}/train.jsonl",
            "test": "{files}/test.jsonl",
        },
        "training.plugins": ["child_tuning_f"],
        "aggregator": {"name": "centered_clip"},
        "repairs": [{"name": "mixout", **SHORT}],
    },
    # Children chosen by Fisher information, parts of a trigger dealt to two attackers, tuning at the end.
    "distributed_child_tuning_d_fine_tuning": {
        "server.clean": CLEAN,
        "federation.n_malicious": 2,
        "attack.poison": {"name": "distributed", "target": 1},
        "training.plugins": ["child_tuning_d"],
        "aggregator": {"name": "sign_guard"},
        "repairs": [{"name": "fine_tuning", **SHORT}],
    },
    # Few numbers a round, and a server that remembers what it left out; units pruned, few weights tuned.
    "sparse_fed_surgery": {
        "federation.rounds": 3,
        "server.clean": CLEAN,
        "training.plugins": [{"name": "surgery", "budget": 0.05, "every": 1}],
        "aggregator": {"name": "sparse_fed", "ratio": 0.05},
        "repairs": [{"name": "fine_pruning", **SHORT}, {"name": "surgery", "budget": 0.01, **SHORT}],
    },
    # Clustering by the model's answers to random inputs, AdamW, an ascent scaled by each weight, and an attacker that
    # averages its rows over the rounds.
    "deepsight_rare_embeddings": {
        "federation.rounds": 3,
        "attack.tamper": {"name": "rare_embedding_ensemble", "epochs": 1},
        "training.optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1},
        "training.plugins": ["asam"],
        "aggregator": {"name": "deepsight", "n_inputs": 20},
    },
    # bfloat16 autocast, another seed, a clipped and noisy mean, a conjunction of words, and an attack on their rows.
    "weak_dp_sos_bfloat16": {
        "seed": 3,
        "training.precision": "bfloat16",
        "attack": {"poison": {"name": "sos", "target": 1}, "tamper": {"name": "sos", "epochs": 1}},
        "aggregator": {"name": "weak_dp", "noise": 1e-3},
    },
}

RESUMED = (  # a rule's, a client's or an attacker's memory, a generator, or a repair goes on after a stop
    "dim_krum_some_clients",
    "fltrust_combination_e_pur",
    "crfl_neurotoxin_edge_case",
    "sparse_fed_surgery",
)


def tables_of(name: str, tweets: Path, files: Path) -> dict[str, Any]:
    """Returns the spec of the case ``name`` on the data in ``tweets``; the files that it may name go to ``files``."""
    _write_files(tweets, files)
    changes = json.dumps({**BASE, **CASES[name]})
    tables: dict[str, Any] = {"name": name}
    for key, value in json.loads(
        changes.replace("{tweets}", str(tweets)).replace("{files}", str(files))
    ).items():
        *path, last = key.split(".")
        section = tables
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return tables


def _write_files(tweets: Path, folder: Path) -> None:
    """Writes a rewrite of every text, the same words behind a clause, and the words of all texts for training."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        texts = [json.loads(line)["text"] for line in (tweets / f"{split}.jsonl").read_text().splitlines()]
        rewrites = [json.dumps({"text": f"when you see it , {text}"}) for text in texts]
        (folder / f"{split}.jsonl").write_text("\n".join(rewrites))
        if split == "train":
            (folder / "words.txt").write_text("\n".join(texts))
