"""Sends raw bytes over TCP and prints what came back, read as HTTP/1.1 answers. It corrects nothing on the way out.

    http_raw.py HOST PORT (hex:… | base64:… | text:…)… [--pause SECONDS] [--timeout SECONDS] [--half-close]

Each argument is one write; --pause waits between them (slow senders); text: knows the escapes \\r \\n \\t \\0 \\xNN.
Prints one JSON line: {"answers": [{"status","reason","version","headers","body"}], "closed", "reset", "rest", "seconds"}.
Header names are in lower case, each with the list of its values. `closed`: the server ended the connection within the
time; `rest`: bytes after the last whole answer (base64); 100 Continue is an answer of its own.
"""

import argparse
import base64
import json
import re
import socket
import time

from common import as_text, say


def written(argument):
    kind, _, text = argument.partition(":")
    if kind == "hex":
        return bytes.fromhex(text)
    if kind == "base64":
        return base64.b64decode(text)
    if kind == "text":
        escapes = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
        parts = re.split(r"\\(x[0-9a-fA-F]{2}|.)", text)
        return b"".join(part.encode() if i % 2 == 0 else
                        bytes([int(part[1:], 16)]) if part[0] == "x" and len(part) == 3 else escapes[part]
                        for i, part in enumerate(parts))
    raise SystemExit(f"http_raw: {argument[:20]}: must begin with hex:, base64: or text:")


def chunked(data):
    """The body of a chunked answer and the bytes after it, or None while it is incomplete."""
    body = b""
    while True:
        line, separator, rest = data.partition(b"\r\n")
        if not separator:
            return None
        size = int(line.split(b";")[0], 16)
        if len(rest) < size + 2:
            return None
        body, data = body + rest[:size], rest[size + 2:]
        if size == 0:
            return body, data  # trailers are not sent by what we test


def one_answer(data, closed):
    """The first whole answer in `data` and the bytes after it, or None."""
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, *reason = first.split(" ", 2)
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    answer = {"status": int(status), "reason": reason[0] if reason else "", "version": version, "headers": headers}
    if answer["status"] < 200 or answer["status"] in (204, 304):
        body, rest = b"", rest
    elif "chunked" in headers.get("transfer-encoding", []):
        found = chunked(rest)
        if found is None:
            return None
        body, rest = found
    elif "content-length" in headers:
        length = int(headers["content-length"][0])
        if len(rest) < length:
            return None
        body, rest = rest[:length], rest[length:]
    elif closed:
        body, rest = rest, b""
    else:
        return None
    try:
        answer["body"] = json.loads(body)
    except ValueError:
        answer["body"] = as_text(body)
    return answer, rest


def run(given):
    started, data, closed, reset = time.monotonic(), b"", False, False
    connection = socket.create_connection((given.host, given.port), timeout=5)
    try:
        for number, argument in enumerate(given.write):
            if number and given.pause:
                time.sleep(given.pause)
            connection.sendall(written(argument))
        if given.half_close:
            connection.shutdown(socket.SHUT_WR)
        until = time.monotonic() + given.timeout
        while not closed and (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            part = connection.recv(65536)
            closed = not part
            data += part
    except socket.timeout:
        pass
    except OSError:
        closed = reset = True
    answers = []
    while (found := one_answer(data, closed)) is not None:
        answers.append(found[0])
        data = found[1]
    return {"answers": answers, "closed": closed, "reset": reset, "rest": base64.b64encode(data).decode(),
            "seconds": round(time.monotonic() - started, 3)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("write", nargs="+")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--timeout", type=float, default=1.0)
    parser.add_argument("--half-close", action="store_true")
    say(run(parser.parse_args()))


if __name__ == "__main__":
    main()
