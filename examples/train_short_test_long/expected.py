#!/usr/bin/env python3
"""Writes weights/logits.json: what PyTorch computes from the weights, for the test of parity."""

import json
import pathlib

import torch
from safetensors.torch import load_file

from model import Model

HERE = pathlib.Path(__file__).parent
ROWS = (0, 100, 299)


@torch.no_grad()
def main():
    text = (HERE / "model.py").read_bytes()[:300]
    models = {}
    for path in sorted((HERE / "weights").glob("*.safetensors")):
        model = Model(path.stem.rsplit("-", 1)[0])
        model.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
        logits = model(torch.tensor(list(text))[None])[0]
        models[path.stem] = {str(row): [round(x, 5) for x in logits[row].tolist()] for row in ROWS}
    (HERE / "weights" / "logits.json").write_text(
        json.dumps({"text": list(text), "models": models}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
