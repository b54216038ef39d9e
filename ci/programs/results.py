"""Compares two results of CPython's test suite, test by test: results.py PLAIN.xml OURS.xml."""
import collections
import sys
import xml.etree.ElementTree as tree


def results(path):
    """The outcome of each test by its name; `passed` if nothing is told of it."""
    found = {}
    for case in tree.parse(path).getroot().iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        found[case.get("name")] = min(kinds) if kinds else "passed"
    return found


plain, ours = map(results, sys.argv[1:3])
different = [name for name in sorted(plain | ours) if plain.get(name) != ours.get(name)]
for name in different:
    print(f"{name}: {plain.get(name)}, but here {ours.get(name)}")
count = collections.Counter(ours.values())
print(f"{len(ours)} tests: " + ", ".join(f"{number} {kind}" for kind, number in sorted(count.items())) + f"; {len(different)} different")
sys.exit(bool(different))
