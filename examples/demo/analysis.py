#!/usr/bin/env python3
"""Finds the Z boson in pairs of muons."""

import csv
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib", "python"))
# A read-only file system takes no compiled modules.
sys.dont_write_bytecode = True

from physics import MUON_MASS, Z_MASS, FourVector, invariant_mass


def masses(path):
    with open(path, newline="") as table:
        for event in csv.DictReader(table):
            pair = [
                FourVector.from_collider(
                    float(event["pt" + n]), float(event["eta" + n]), float(event["phi" + n]), MUON_MASS
                )
                for n in "12"
            ]
            yield invariant_mass(*pair)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "data", "dimuons.csv")
    found = list(masses(path))
    for low in range(80, 102, 2):
        count = sum(low <= mass < low + 2 for mass in found)
        print(f"{low:3d}-{low + 2:3d} GeV {'#' * count}")
    mean = sum(found) / len(found)
    print(f"{len(found)} muon pairs, mean mass {mean:.2f} GeV (Z boson: {Z_MASS:.2f} GeV)")


if __name__ == "__main__":
    main()
