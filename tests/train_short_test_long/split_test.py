#!/usr/bin/env python3
"""No held-out file was trained on: neither a file of that name, nor one of that content.

usage: split_test.py FOLDER, which has text.py and weights/files.json
"""

import hashlib
import json
import pathlib
import sys
import sysconfig

folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
import text

trained = json.loads((folder / "weights" / "files.json").read_text())["training"]
stdlib = pathlib.Path(sysconfig.get_path("stdlib"))
held_out = text.files("held_out", stdlib)

wrong = [name for name in trained if text.split_of(name) != "training"]
if len(trained) < 100 or wrong:
    sys.exit(f"{len(trained)} files were trained on, of these not of the split: {wrong}")
if len(held_out) < 10:
    sys.exit(f"{stdlib} has only {len(held_out)} held-out files")
contents = set(trained.values())
for name in held_out:
    content = (stdlib / name).read_bytes()
    if name in trained or content and hashlib.sha256(content).hexdigest() in contents:
        sys.exit(f"{name} was trained on")
print(f"{len(held_out)} held-out files, none of them among {len(trained)} that were trained on")
