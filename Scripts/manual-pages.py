#!/usr/bin/env python3
"""Manual pages, in mdoc, of a program that swift-argument-parser reads the arguments of.

manual-pages.py OUTPUT_DIR WRITTEN_DIR VERSION DATE <DUMP: writes one page for each command. DUMP is what the program
prints for --experimental-dump-help. WRITTEN_DIR/PAGE.mdoc, if there is one, holds sections written by hand, which come
between the description and the examples.
"""
import json
import os
import re
import sys

output, written, version, date = sys.argv[1:]
CONFIGURED = ".Xr haredo.conf 5"


def escaped(text, literal=False):
    """Text that stands for itself. In literals every sign is that of ASCII, so that it can be copied."""
    text = text.replace("\\", "\\e")
    if literal:
        for sign, escape in [("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")]:
            text = text.replace(sign, escape)
    else:
        text = re.sub(r"(?<![\w-])(--?)(?=\w)", lambda match: match[1].replace("-", "\\-"), text)
    return "\\&" + text if text[:1] in (".", "'") else text


def argument(text):
    """A word on a line that begins with a macro: never a macro itself, nor punctuation."""
    text = escaped(text, literal=True).replace(" ", "\\ ")
    return "\\&" + text if re.fullmatch(r"%?[A-Z][a-z0-9]{1,2}|[A-Z][a-z]|\W", text) else text


def running(text):
    """Running text: each sentence on a line, what stands between backticks in bold."""
    lines = []
    for sentence in re.split(r"(?<=[.!?:;])\s+(?=[A-Z`<-])", text.strip()):
        parts = sentence.split("`")
        marked = [
            "\\fB" + escaped(part, literal=True) + "\\fR" if index % 2 else escaped(part)
            for index, part in enumerate(parts)
        ]
        lines.append("".join(marked))
    return lines


def indented(lines):
    """Lines that are set off: what is typed as it is, the rest, `term: what it is`, as a list."""
    if all(re.match(r"(haredo|[A-Z_]+=\S+ haredo)( |$)", line) for line in lines):
        return [".Bd -literal -offset indent", *(escaped(line, literal=True) for line in lines), ".Ed"]
    result = [".Bl -tag -width Ds"]
    for line in lines:
        term, colon, text = line.partition(": ")
        result += [".It " + " ".join(argument(word) for word in term.split()), *running(text)] if colon else [
            ".It", *running(line)]
    return result + [".El"]


def discussion(text):
    """What a command says of itself, and its examples."""
    # All exit statuses stand in one place.
    text = re.sub(r"Exit status(es)?: [^.]*\.[ \n]*", "", text or "")
    body, examples = [], []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        target = body
        if body and block.strip():
            body.append(".Pp")
        lines, index = block.split("\n"), 0
        while index < len(lines):
            if not lines[index].startswith("  "):
                if re.fullmatch(r"Examples?:\s*", lines[index]):
                    target = examples
                    if body[-1:] == [".Pp"]:
                        body.pop()
                elif lines[index].strip():
                    if index > 0 and target:
                        target.append(".Pp")
                    target += running(lines[index])
                index += 1
                continue
            end = index
            while end < len(lines) and lines[end].startswith("  "):
                end += 1
            target += indented([line.strip() for line in lines[index:end]])
            index = end
    return body, examples


def names(info):
    # Short ones first, as in --help.
    order = {"short": 0, "longWithSingleDash": 1, "long": 2}
    return [
        ("-" if name["kind"] == "long" else "") + name["name"]
        for name in sorted(info.get("names", []), key=lambda name: order[name["kind"]])
    ]


def flags(info):
    value = f" Ar {argument(info['valueName'])}" if info["kind"] == "option" else ""
    return [f"Fl {argument(name)}{value}" for name in names(info)]


def explained(info):
    text = info.get("abstract") or ""
    if info.get("discussion"):
        text += " " + info["discussion"]
    values = info.get("allValueStrings") or info.get("allValues") or []
    if not all(value in text for value in values):
        text += f" One of: {', '.join(values)}."
    if info.get("defaultValue") and "Default:" not in text:
        text += f" Default: {info['defaultValue']}."
    return running(text)


def arguments_of(command):
    """Those that are shown; a flag and its opposite, which have one text, in one."""
    result = []
    for info in command.get("arguments", []):
        if not info.get("shouldDisplay", True):
            continue
        last = result[-1] if result else None
        if (last and info["kind"] == last["kind"] == "flag" and info.get("abstract") == last.get("abstract")):
            last["names"] = last["names"] + info["names"]
        else:
            result.append(dict(info))
    return result


def synopsis(path, command):
    lines = [".Nm " + " ".join(path)]
    for info in arguments_of(command):
        if info["kind"] == "positional":
            lines.append((".Op Ar " if info["isOptional"] else ".Ar ") + argument(info["valueName"]))
        else:
            lines.append((".Op " if info["isOptional"] else ".") + " | ".join(flags(info)))
        if info.get("isRepeating"):
            lines[-1] += " ..."
    if shown(command):
        lines += [".Nm " + " ".join(path), ".Ar command", ".Op Ar argument ..."]
    return lines


def shown(command):
    return [
        sub for sub in command.get("subcommands", [])
        if sub.get("shouldDisplay", True) and sub["commandName"] != "help"
    ]


def page(path, command):
    name = "-".join(path)
    abstract = (command.get("abstract") or "").strip().removesuffix(".")
    body, examples = discussion(command.get("discussion"))
    lines = [
        ".\\\" Made from the program itself; do not edit.",
        f".Dd {date}", f".Dt {name.upper()} 1", f".Os HareDo {version}", ".Sh NAME", f".Nm {name}",
        ".Nd " + " ".join(argument(word) for word in (abstract[:1].lower() + abstract[1:]).split()),
        ".Sh SYNOPSIS", *synopsis(path, command), ".Sh DESCRIPTION", *running(abstract + "."),
    ]
    if body:
        lines += [".Pp", *body]
    shown_arguments = arguments_of(command)
    if shown_arguments:
        lines += [".Pp", "Arguments and options:", ".Bl -tag -width Ds"]
        for info in shown_arguments:
            term = f"Ar {argument(info['valueName'])}" if info["kind"] == "positional" else " , ".join(flags(info))
            lines += [".It " + term, *explained(info)]
        lines.append(".El")
    if shown(command):
        lines += [".Pp", "Commands, each with a page of its own:", ".Bl -tag -width Ds"]
        for sub in shown(command):
            lines += [f".It Xr {name}-{sub['commandName']} 1", *running(sub.get("abstract") or "")]
        lines.append(".El")
    try:
        with open(os.path.join(written, name + ".1.mdoc"), encoding="utf-8") as file:
            lines += [line for line in file.read().splitlines() if not line.startswith('.\\"')]
    except FileNotFoundError:
        lines += [".Sh EXIT STATUS", "0 if it is done.", "All others are listed in", ".Xr haredo 1 ."]
    if examples:
        lines += [".Sh EXAMPLES", *examples]
    others = {"-".join(path[:count]) for count in range(1, len(path))}
    others |= {f"{name}-{sub['commandName']}" for sub in shown(command)} if len(path) > 1 else set()
    references = [f".Xr {other} 1" for other in sorted(others)]
    if len(path) == 1 or any("-config" in names(info) for info in command.get("arguments", [])) or path[1] == "config":
        references.append(CONFIGURED)
    lines += [".Sh SEE ALSO", *(line + " ," for line in references[:-1]), references[-1]]
    with open(os.path.join(output, name + ".1"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    for sub in shown(command):
        page(path + [sub["commandName"]], sub)


dump = json.load(sys.stdin)
if dump["serializationVersion"] != 0:
    sys.exit(f"manual-pages: the dump has version {dump['serializationVersion']}, and only 0 is known")
page([dump["command"]["commandName"]], dump["command"])
