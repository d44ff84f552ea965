#!/usr/bin/env python3
"""Make the C of one schema file: generate.py SCHEMA HEADER SOURCE DEPFILE"""

import os
import sys

import cgen
from check import Checker
from model import SchemaError


def main(argv):
    if len(argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    schema, header, source, depfile = argv[1:]
    folder, file = os.path.split(schema)
    checker = Checker(folder or '.')
    try:
        module = checker.load(file[:-len('.schema')])
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    texts = {header: cgen.header(module), source: cgen.source(module)}
    for path, text in texts.items():
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)
    here = os.path.dirname(os.path.abspath(__file__))
    needed = [os.path.join(folder, name + '.schema') for name in checker.modules]
    needed += [os.path.join(here, name) for name in sorted(os.listdir(here)) if name.endswith('.py')]
    with open(depfile, 'w', encoding='utf-8') as out:
        out.write(f'{header} {source}: {" ".join(needed)}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
