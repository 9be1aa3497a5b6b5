#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes one line for each public declaration, and for each stored property and enumeration case of a type that may lie in
a plugin's memory, with its place: what Scripts/abi.sh compares.

Usage: abi-declarations.py FOLDER MODULE...   FOLDER is what Scripts/symbol-graphs.sh wrote.
"""
import glob
import json
import os
import sys


def declarations(folder, module):
    for path in glob.glob(os.path.join(folder, module, "*.symbols.json")):
        with open(path, encoding="utf-8") as file:
            graph = json.load(file)
        for symbol in graph["symbols"]:
            # What other modules' extensions get by themselves is not ours.
            if "::SYNTHESIZED::" in symbol["identifier"]["precise"]:
                continue
            text = "".join(part["spelling"] for part in symbol["declarationFragments"])
            yield f"{module} {'.'.join(symbol['pathComponents'])}: {' '.join(text.split())}"


def layout(node, module, path=()):
    """Places of stored properties, of requirements of protocols, and of cases."""
    requirement = case = 0
    for child in node.get("children", []):
        kind, name = child.get("declKind"), child.get("printedName", "")
        place = None
        if child.get("hasStorage") and "fixedbinaryorder" in child:
            place = f"stored {child['fixedbinaryorder']}"
        elif kind == "EnumElement":
            place = f"case {case}"
            case += 1
        elif child.get("protocolReq"):
            place = f"requirement {requirement}"
            requirement += 1
        if place:
            of = next((c.get("printedName", "") for c in child.get("children", [])), "")
            yield f"{module} {'.'.join((*path, name))}: {place}, {of}"
        if child.get("kind") == "TypeDecl":
            yield from layout(child, module, (*path, name))


def main():
    folder, modules = sys.argv[1], sys.argv[2:]
    lines = set()
    for module in modules:
        lines.update(declarations(folder, module))
        with open(os.path.join(folder, module + ".abi.json"), encoding="utf-8") as file:
            lines.update(layout(json.load(file)["ABIRoot"], module))
    print("\n".join(sorted(lines)))


main()
