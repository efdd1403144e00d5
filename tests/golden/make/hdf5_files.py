"""Writes tests/fixtures/hdf5: small files of every layout that h5py writes. Element (i, j) of each matrix is 5 i + j / 2.

In a venv: pip install h5py numpy
Usage: python hdf5_files.py REPOSITORY
"""
import pathlib
import sys

import h5py
import numpy

SHAPE = (7, 10)


def values(dtype="float32"):
    rows, columns = numpy.indices(SHAPE)
    return (5 * rows + columns / 2).astype(dtype)


def main():
    folder = pathlib.Path(sys.argv[1]) / "tests/fixtures/hdf5"
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "layouts.h5", "w") as file:
        group = file.create_group("layer/model")
        group.create_dataset("contiguous", data=values())
        group.create_dataset("half", data=values("float16"))
        group.create_dataset("chunked", data=values(), chunks=(4, 3))
        group.create_dataset("deflated", data=values(), chunks=(4, 3), compression="gzip")
        group.create_dataset("shuffled", data=values(), chunks=(4, 3), compression="gzip", shuffle=True)
        group.create_dataset("double", data=values("float64"))
        group.create_dataset("text", data=numpy.array(b"abc"))
    with h5py.File(folder / "external.h5", "w") as file:
        file.create_dataset("a", SHAPE, "float32", external=[("/etc/passwd", 0, 280)])
    with h5py.File(folder / "filtered.h5", "w") as file:
        file.create_dataset("a", data=values(), chunks=(4, 3), fletcher32=True)
    with h5py.File(folder / "linked.h5", "w") as file:
        file["a"] = h5py.ExternalLink("layouts.h5", "/layer/model/contiguous")
        file["b"] = h5py.SoftLink("/nowhere")


main()
