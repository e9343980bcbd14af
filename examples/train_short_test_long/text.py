"""The text: the Python standard library's sources, split by file.

    python3 text.py held_out > held_out.txt
"""

import hashlib
import pathlib
import sys
import sysconfig

SKIPPED = {"__pycache__", "dist-packages", "site-packages", "test", "tests", "encodings", "idlelib", "lib2to3"}


def split_of(name):
    """The split of a file, by its name alone: the same in every version of Python."""
    number = hashlib.sha256(name.encode()).digest()[0] % 10
    return "held_out" if number == 0 else "validation" if number == 1 else "training"


def files(split, folder=None):
    """The names of a split's files, relative to the folder, sorted."""
    folder = pathlib.Path(folder or sysconfig.get_path("stdlib"))
    names = []
    for path in folder.rglob("*.py"):
        name = path.relative_to(folder).as_posix()
        if not SKIPPED.intersection(path.relative_to(folder).parts) and split_of(name) == split:
            names.append(name)
    return sorted(names)


def digests(split, folder=None):
    """The SHA-256 of each of a split's files. An empty file has none: its content says nothing."""
    folder = pathlib.Path(folder or sysconfig.get_path("stdlib"))
    contents = {name: (folder / name).read_bytes() for name in files(split, folder)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items() if content}


def read(split, folder=None):
    """A split's files, one behind the other."""
    folder = pathlib.Path(folder or sysconfig.get_path("stdlib"))
    return b"".join((folder / name).read_bytes() for name in files(split, folder))


if __name__ == "__main__":
    sys.stdout.buffer.write(read(sys.argv[1]))
