#!/usr/bin/env python3
"""Writes tests/models/arrays anew, from transformers 5.23.0 and torch on the CPU:

python3 -m venv env && env/bin/pip install transformers==5.23.0 torch numpy
env/bin/python tests/models/export.py
"""

import torch
import transformers

import biases
import rotations
from recording import Recorder

PINNED = "5.23.0"

if transformers.__version__ != PINNED:
    raise SystemExit(f"transformers is {transformers.__version__}, the arrays are of {PINNED}")
recorder = Recorder()
with torch.no_grad():
    rotations.record(recorder)
    biases.record(recorder)
recorder.write_index({"transformers": transformers.__version__, "torch": torch.__version__})
