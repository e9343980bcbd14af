"""Records attention of small models of transformers, with seeded random weights, for the tests in tests/models.

A case is the attention of one layer: q, k, v [batch, heads or key heads, position, channel] before rotation and bias,
after everything that a caller of relpos does too (projections, norms, a model's own scale of q), and out [batch, heads, position,
channel] before the output projection. Further arrays (tables, slopes, sinks, positions) are what the call needs.
"""

import json
import pathlib

import numpy

FOLDER = pathlib.Path(__file__).parent / "arrays"


class Recorder:
    """Collects cases, and writes NAME.f32 for each: its arrays one after another, float32, little endian, row-major."""

    def __init__(self):
        self.cases = {}

    def add(self, name, source, what, arrays):
        """`source`: the class, the arguments of its configuration that are not defaults, and the layer."""
        assert name not in self.cases, name
        index, data, offset = {}, [], 0
        for key, array in arrays.items():
            array = array.detach().numpy() if hasattr(array, "detach") else array
            array = numpy.ascontiguousarray(array, numpy.float32)
            assert numpy.isfinite(array).all(), (name, key)
            index[key] = {"offset": offset, "shape": list(array.shape)}
            offset += array.size
            data.append(array.ravel())
        FOLDER.mkdir(exist_ok=True)
        numpy.concatenate(data).astype("<f4").tofile(FOLDER / f"{name}.f32")
        self.cases[name] = {"what": what, **source, "arrays": index}

    def write_index(self, versions):
        text = json.dumps({"versions": versions, "cases": dict(sorted(self.cases.items()))}, indent=1)
        (FOLDER / "index.json").write_text(text + "\n")
