#!/usr/bin/env python3
"""Trains the models at length 256 and writes their weights in float16, with a log of each run.

    python3 train.py                       all of them
    python3 train.py --models alibi t5-1   some; "-1" is a second seed
    python3 train.py --steps 100           fewer steps

A run that is stopped goes on where it was. PyTorch, NumPy and safetensors are needed. All runs see the same bytes in
the same order. Products are in bfloat16, weights in float32.
"""

import argparse
import json
import math
import pathlib
import platform
import random
import time

import numpy
import torch
from safetensors.torch import save_file

import text
from model import ENCODINGS, TRAINED_LENGTH, Model

MODELS = tuple(f"{encoding}-0" for encoding in ENCODINGS) + ("rope-1", "alibi-1")
BATCH = 32
HERE = pathlib.Path(__file__).parent


def with_key(piece, numbers):
    """A piece of text with a key of five digits in a line somewhere, and asked for in the last line."""
    key = f"{numbers.randrange(100000):05}"
    told, asked = f"\n# the key is {key}\n".encode(), f"\n# the key is {key}".encode()
    rest = piece[: len(piece) - len(told) - len(asked)]
    at = numbers.randrange(len(rest))
    return rest[:at] + told + rest[at:] + asked


def batches(data, first, last):
    """The bytes of each step, the same for every model: pieces of the text, every eighth with a key."""
    for step in range(first, last):
        numbers = random.Random(step)
        pieces = []
        for i in range(BATCH):
            at = numbers.randrange(len(data) - TRAINED_LENGTH - 1)
            piece = data[at : at + TRAINED_LENGTH + 1]
            pieces.append(with_key(piece, numbers) if i % 8 == 0 else piece)
        yield step, torch.from_numpy(numpy.frombuffer(b"".join(pieces), numpy.uint8).astype(numpy.int64)
                                     .reshape(BATCH, TRAINED_LENGTH + 1))


def bits_per_byte(model, tokens):
    logits = model(tokens[:, :-1]).float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()) / math.log(2)


@torch.no_grad()
def validation(model, data, device):
    """Bits per byte of 256 pieces, each alone."""
    rows = numpy.frombuffer(data, numpy.uint8).astype(numpy.int64)
    starts = numpy.linspace(0, len(rows) - TRAINED_LENGTH - 1, 256).astype(int)
    tokens = torch.from_numpy(numpy.stack([rows[at : at + TRAINED_LENGTH + 1] for at in starts])).to(device)
    return sum(bits_per_byte(model, part).item() for part in tokens.split(64)) / 4


def learning_rate(step, steps):
    warm_up = min(1.0, (step + 1) / 100)
    return 3e-3 * warm_up * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def train(name, arguments, training, held_for_validation):
    encoding, seed = name.rsplit("-", 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_device(device)
    torch.manual_seed(1000 + int(seed))
    model = Model(encoding)
    # T5's biases begin at 0 and have some units to go: they learn ten times as fast.
    biases = [model.table] if encoding == "t5" else []
    others = [weight for weight in model.parameters() if all(weight is not bias for bias in biases)]
    groups = [{"params": [weight for weight in others if weight.dim() == 2], "weight_decay": 0.1},
              {"params": [weight for weight in others if weight.dim() != 2], "weight_decay": 0.0}]
    if biases:
        groups.append({"params": biases, "weight_decay": 0.0, "rate": 10})
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    state = arguments.folder / f"{name}.state"
    log, first, seconds = [], 0, 0.0
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        log, first, seconds = saved["log"], saved["step"], saved["seconds"]
    began = time.process_time() - seconds
    for step, tokens in batches(training, first, arguments.steps):
        for group in optimizer.param_groups:
            group["lr"] = group.get("rate", 1) * learning_rate(step, arguments.steps)
        with torch.autocast(device, torch.bfloat16):
            loss = bits_per_byte(model, tokens.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0 or step + 1 == arguments.steps:
            seconds = time.process_time() - began
            log.append({"step": step + 1, "training": round(loss.item(), 4),
                        "validation": round(validation(model, held_for_validation, device), 4),
                        "seconds": round(seconds)})
            print(name, log[-1], flush=True)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "log": log,
                        "step": step + 1, "seconds": seconds}, state)
    save_file({key: value.to("cpu", torch.float16).contiguous() for key, value in model.state_dict().items()},
              arguments.folder / f"{name}.safetensors", metadata={"encoding": encoding})
    (arguments.folder / f"{name}.json").write_text(json.dumps(log, indent=0) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="NAME")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--folder", type=pathlib.Path, default=HERE / "weights")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    training, held_for_validation = text.read("training"), text.read("validation")
    (arguments.folder / "files.json").write_text(json.dumps(
        {"python": platform.python_version(), "training": text.digests("training")}, indent=0) + "\n")
    for name in arguments.models:
        train(name, arguments, training, held_for_validation)


if __name__ == "__main__":
    main()
