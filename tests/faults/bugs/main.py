"""Builds the copy with all seeded bugs, wakes one after the other, and writes who caught it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from catalogue import BUGS

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../.."))
TARGET = os.path.abspath(os.environ.get("BUGS_TARGET") or os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target"))
AWAKE = 'std::env::var_os("ANYGATE_BUG").is_some_and(|bug| bug == "{}")'
LIMITS = {"fault": 400, "test": 900, "journal": 600}  # seconds per catcher


def place(text, old):
    """Where `old` is in `text`, however its lines are broken: (start, end), and how often."""
    pattern = r"\s+".join(re.escape(word) for word in old.split())
    found = [match.span() for match in re.finditer(pattern, text)]
    return (found[0] if found else None), len(found)


def apply(copy, bug):
    """All edits of a bug, or an error that says which one must follow the code."""
    for file, old, new in bug.edits:
        path = os.path.join(copy, file)
        with open(path, encoding="utf-8") as source:
            text = source.read()
        span, count = place(text, old)
        if count != 1:
            sys.exit(f"{bug.name}: {count} places in {file} for {old!r}: the bug must follow the code")
        new = re.sub(r'BUG\("([a-z-]+)"\)', lambda match: AWAKE.format(match.group(1)), new)
        with open(path, "w", encoding="utf-8") as source:
            source.write(text[:span[0]] + new + text[span[1]:])


def build(copy):
    archive = subprocess.run(["git", "-C", ROOT, "archive", "HEAD"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", copy], input=archive, check=True)
    for bug in BUGS:
        apply(copy, bug)
    began = time.monotonic()
    subprocess.run(["cargo", "build", "--quiet", "-p", "gateway", "--bin", "anygate"], cwd=copy, check=True,
                   env={**os.environ, "CARGO_TARGET_DIR": TARGET})
    program = os.path.join(copy, "anygate")
    shutil.copy2(os.path.join(TARGET, "debug/anygate"), program)
    say(f"built with {len(BUGS)} bugs, all asleep, in {time.monotonic() - began:.0f} s")
    return program


def run(words, limit, **settings):
    """(exit code, output); a catcher that takes too long has caught nothing."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit, check=False, **settings)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        return None, "took too long"


def catch(copy, program, catcher, bug):
    """Why the catcher went red, or None. `bug` is None for the control: then everything must be green."""
    kind, *words = catcher.split()
    environment = {**os.environ, "CARGO_TARGET_DIR": TARGET, "ANYGATE_BUG": bug.name if bug else ""}
    if kind == "fault":
        code, said = run([os.path.join(HERE, "../run"), words[0], "--rounds", words[1] if bug else "1", "--seed", "7", "--anygate", program],
                         LIMITS[kind], env=environment)
        return reason(said) if code == 1 else None if bug else None if code == 0 else f"exit {code}: {said[-1500:]}"
    if kind == "test":
        code, said = run(["cargo", "test", "--quiet", "-p", *words], LIMITS[kind], cwd=copy, env={**environment, "RUST_BACKTRACE": "0"})
        return panic(said) if code not in (0, None) and ("panicked" in said or not bug) else None
    if not bug:
        return None
    code, said = run([os.path.join(ROOT, "gateway/journal/mutants/run.sh"), words[0]], LIMITS[kind])
    found = re.search(r"^\S+ +caught +(.*)$", said, re.MULTILINE)
    return found.group(1) if code == 0 and found else None


def reason(said):
    """The figures that a round of faults was blamed for."""
    found = re.findall(r"^    ([a-z_]+): \d+\+ such as (.*)$", said, re.MULTILINE)
    return "; ".join(f"{figure} ({example[:70].strip()})" for figure, example in found[:2])


def panic(said):
    test = re.search(r"^    ([a-z_:]+)$|^---- (\S+) stdout", said, re.MULTILINE)
    return (test.group(1) or test.group(2)) if test else said[-300:]


def judge(copy, program, bug):
    for catcher in bug.catchers:
        why = catch(copy, program, catcher, bug)
        say(f"{bug.name:28} {'caught' if why else 'missed'} by {catcher}{': ' + why if why else ''}")
        if why:
            return catcher, why
    return None, None


def say(text):
    print(text, file=sys.stderr, flush=True)


def table(rows):
    lines = ["| seeded bug | what it does | caught by | with the words |", "|---|---|---|---|"]
    for bug, catcher, why in rows:
        lines.append(f"| {bug.name} | {bug.about} | {catcher or '**nobody**'} | {(why or '').replace('|', '/')} |")
    return "\n".join(lines)


def main():
    chosen = [bug for bug in BUGS if not sys.argv[1:] or bug.name in sys.argv[1:]]
    unknown = set(sys.argv[1:]) - {bug.name for bug in BUGS}
    if unknown:
        sys.exit(f"no seeded bug named {', '.join(sorted(unknown))}")
    copy = tempfile.mkdtemp(prefix="anygate-bugs.")
    try:
        program = build(copy)
        control = sorted({catcher for bug in chosen for catcher in bug.catchers})
        broken = [(catcher, why) for catcher in control if (why := catch(copy, program, catcher, None))]
        for catcher, why in broken:
            say(f"control: {catcher} is red without a bug: {why}")
        rows = [(bug, *judge(copy, program, bug)) for bug in chosen]
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    print(table(rows))
    caught = sum(why is not None for *_, why in rows)
    print(f"\n{caught} of {len(rows)} seeded bugs caught")
    if len(rows) == len(BUGS):
        with open(os.path.join(HERE, "../bugs.md"), "w", encoding="utf-8") as file:
            file.write(f"# Seeded bugs and who catches them\n\nWritten by `tests/faults/bugs/run` on {time.strftime('%Y-%m-%d')}: "
                       f"{caught} of {len(rows)} caught.\n\n{table(rows)}\n")
    sys.exit(bool(broken) or caught < len(rows))


if __name__ == "__main__":
    main()
