#!/usr/bin/env python3
"""Writes the seeds that are made by hand into corpus/: real messages of each kind, and inputs that are known to be nasty."""

import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"

EVENT = {
    "specversion": "1.0", "id": "A234-1234-1234", "source": "/devices/17", "type": "com.example.temperature",
    "subject": "room/3", "time": "2026-11-21T12:00:00.5Z", "datacontenttype": "application/json",
    "partitionkey": "17", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "severity": 17, "urgent": True, "data": {"celsius": 21.5, "tags": ["a", None, {"b": "\u20ac \U0001f600"}]},
}


def event(**changes):
    return {name: value for name, value in {**EVENT, **changes}.items() if value is not ...}


def envelopes():
    yield json.dumps(EVENT)
    yield json.dumps(EVENT, indent=2)
    yield json.dumps([event(), event(id="2", data=...), event(id="3", data_base64="AAEC/w==", data=...)])
    yield json.dumps(event(data="text", datacontenttype="text/plain"))
    yield "[]"
    yield json.dumps(event(id=..., source=""))
    yield json.dumps(event(data_base64="AA==="))
    yield json.dumps(event(Upper="x", anygateprincipal="root", **{"with-dash": 1}))
    yield '{"specversion":"1.0","id":"\\u0000\\ud83d\\ude00\\ud800","source":"/","type":"t","data":1e400}'
    yield '{"specversion":"1.0","id":"1","id":"2","source":"/","type":"t","data":null}'
    yield "[" * 70 + "]" * 70
    yield '{"data":' * 66 + "0" + "}" * 66
    yield '\ufeff{"a":1}'
    yield '{"a":"\x01"}'
    yield "[1,]"
    yield "-0.0e-1"
    yield "1" * 400


def codecs():
    texts = list(envelopes())
    for kind in range(10):
        for mode in range(3):
            yield bytes([kind, mode]) + texts[(kind * 3 + mode) % len(texts)].encode()
    lines = "\n".join(json.dumps(event(id=str(n))["data"]) for n in range(3))
    yield bytes([4, 0]) + lines.encode() + b"\r\n\r\n{bad\n\xff\n"
    yield bytes([0, 0]) + b"plain text"
    yield bytes([6, 0]) + bytes(range(256))


def http_requests():
    ce = "ce-specversion: 1.0\nce-id: 1\nce-source: /s\nce-type: t"
    yield f"/events\n{ce}\ncontent-type: application/json\n\n" '{"a":1}'
    yield f"/events/com.example.a\n{ce}\nce-subject: Euro%20%E2%82%AC\nCe-X1: \"a \\\"b\\\\ c\"\n\nbody"
    yield "/events\ncontent-type: application/cloudevents+json; charset=UTF-8\n\n" + json.dumps(EVENT)
    yield "/events\ncontent-type: application/cloudevents-batch+json\n\n" + json.dumps([EVENT, event(id="2")])
    trace = f"traceparent: {EVENT['traceparent']}\ntracestate: a=b"
    yield f"/events/t?x=1\nidempotency-key: k1\nprefer: handling=lenient\n{trace}\n\n{{}}"
    yield f"/events\n{ce}\nce-id: 2\n\n"
    yield f"/events\n{ce}\nce-anygatetenant: x\nce-UPPER-dash: 1\nce-time: yesterday\n\n"
    yield f"/events\n{ce}\nce-x: %ff%zz%\ncontent-type: \n\n"
    yield "/events/%2e%2e/a%00b\ncontent-encoding: gzip\ncontent-type: text/plain;charset=latin1\n\nx"
    yield "*\nhost: a\n\n"


def wire_requests():
    def post(head, body="", cut="\x01\x02\x03\x04\x05\x06\x07\x3f"):
        return (cut + head.replace("\n", "\r\n") + body).encode("latin-1")

    line = "POST /events HTTP/1.1\nHost: a\n"
    yield post(line + "Content-Length: 2\n\n", "{}" + line.replace("\n", "\r\n") + "Content-Length: 0\r\n\r\n")
    yield post(line + "Transfer-Encoding: chunked\n\n", "2;x=\"y\"\r\n{}\r\n0\r\nTrailer: 1\r\n\r\n")
    for bad in [
        "Content-Length: 2\nTransfer-Encoding: chunked\n", "Content-Length: 2\nContent-Length: 3\n",
        "Content-Length: +2\n", "Content-Length: 2, 2\n", "Content-Length : 2\n", "Transfer-Encoding: chunked, identity\n", "X: a\n folded\n",
        "X: a\rb\n", "X: \x00\n", ": x\n", "Transfer-Encoding: xchunked\n", "X: " + "y" * 600 + "\n", "a: b\n" * 9,
        "Content-Length: 99999999999999999999\n", "Host: b\n", "Transfer-Encoding:\x0bchunked\n",
    ]:
        yield post(line + bad + "\n", "{}")
    yield b"\x01" * 8 + b"POST / HTTP/1.1\nHost: a\n\n"
    yield b"\x01" * 8 + b"\r\nHEAD /" + b"a" * 80 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"\x01" * 8 + b"GET http://a/ HTTP/1.0\r\n\r\n" * 40
    for chunks in [
        "g\r\n", "2\n{}\r\n0\r\n\r\n", "2\r\n{}x", "ffffffffffffffff1\r\n", "0\r\nContent-Length: 5\r\n\r\n", "-1\r\n",
    ]:
        yield post(line + "Transfer-Encoding: chunked\n\n", chunks)


def packet(first, body):
    length, rest = b"", len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length += bytes([digit | (0x80 if rest else 0)])
        if not rest:
            return bytes([first]) + length + body


def string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">H", len(data)) + data


def connect(version, flags=2, properties=b"", rest=b""):
    properties = bytes([len(properties)]) + properties if version == 5 else b""
    return packet(0x10, string("MQTT") + bytes([version, flags]) + b"\x00\x3c" + properties + string("c1") + rest)


def mqtt_sessions():
    def publish(version, qos, payload, properties=b"", first=0x30, topic="devices/17"):
        body = string(topic) + (struct.pack(">H", 7) if qos else b"")
        properties = bytes([len(properties)]) + properties if version == 5 else b""
        return packet(first | qos << 1, body + properties + payload)

    user = b"".join(b"\x26" + string(name) + string(value) for name, value in
                    [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")])
    goodbye, ping = b"\xe0\x00", b"\xc0\x00"
    for version in (4, 5):
        for payload in (b'{"a":1}', b"!no", b"~later", b"?who knows", json.dumps(EVENT).encode()):
            sends = b"".join(publish(version, qos, payload) for qos in (0, 1, 2))
            yield b"\x20" + connect(version) + sends + packet(0x62, b"\x00\x07") + ping + goodbye
        no_properties = b"\x00" if version == 5 else b""
        yield b"\x05" + connect(version, 0x2E, rest=no_properties + string("will/t") + string("gone"))
        yield b"\x05" + connect(version, 0xC2, rest=string("user") + string("pass")) + goodbye
        subscribe = b"\x00\x01" + (b"\x00" if version == 5 else b"") + string("a/#") + b"\x01"
        yield b"\x09" + connect(version) + packet(0x82, subscribe) + packet(0xA2, subscribe[:-1])
        for topic in ("", "a/+", "a/#", "$SYS/x", b"\xff", "a\x00b", "\ufeff"):
            yield b"\x11" + connect(version) + publish(version, 1, b"x", topic=topic)
        for first in (0x00, 0xF0, 0x36, 0x3E, 0x10, 0x20, 0x40, 0x60, 0x61, 0x80, 0xC1, 0xE1):
            yield b"\x11" + connect(version) + packet(first, b"\x00\x07")
    typed = user + b"\x03" + string("application/json") + b"\x02\x00\x00\x00\x05"
    yield b"\x30" + connect(5) + publish(5, 1, b"{}", typed)
    limits, alias = b"\x21\x00\x05\x27\x00\x00\x10\x00", b"\x23\x00\x01"
    yield b"\x30" + connect(5, properties=limits) + publish(5, 1, b"x", alias) + publish(5, 0, b"y", alias, topic="")
    yield b"\x30" + connect(5) + publish(5, 1, b"x", b"\x23\x00\x00") + publish(5, 1, b"x", b"\x0b\x01")
    yield b"\x02\x10\xff\xff\xff\xff\xff"
    yield b"\x02" + connect(3) + connect(4)
    yield b"\x02GET / HTTP/1.1\r\n\r\n"


def expressions():
    values = "\ncom.example\n1\ntrue\n-5\n"
    for text in [
        "type = 'com.example' AND a > 1", "type LIKE 'com.%' OR NOT EXISTS b", "a IN (1, 2, 'x') XOR b", "ABS(c) = 5",
        "CONCAT_WS('-', a, b) <> SUBSTRING(type, 1, 3)", "INT('0x') / 0 % 1", "-2147483648 - 1", "'a\\'b' = \"x\"",
        "(" * 60 + "TRUE" + ")" * 60, "NOT " * 60 + "FALSE", "a LIKE '%_\\%%_' AND a LIKE b", "UPPER(LOWER(TRIM(type)))",
        "", "1 = = 2", "FOO(1)", "type = 'unterminated", "\ufeffTRUE", "a.b", "1 + TRUE",
    ]:
        yield text + values


def configs():
    yield "listen: 127.0.0.1:8080\nmax_body: 2MiB\n"
    yield "listen: ${ADDR:-127.0.0.1:1}\nauth: { network: { allow: [10.0.0.0/8] } }\noverload: { hold: 20s }\n"
    yield "a: &x [*x]\nb: !!int 1\nc: {? [1]: 2}\n<<: {d: 1}\n"
    yield "a:\n\t- b\n"
    yield "? " * 200
    yield "[" * 300
    yield "a: |2\n   x\n  y\n...\n---\nb: >-\n  z\n"
    yield '"\\ud800": "${A:?${B}}"\n'


SEEDS = {
    "cesql": expressions, "codecs": codecs, "config": configs, "http_binding": http_requests, "http_guard": wire_requests,
    "json_envelope": envelopes, "mqtt_session": mqtt_sessions,
}


def main():
    for name, seeds in SEEDS.items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            data = seed if isinstance(seed, bytes) else seed.encode("utf-8", "surrogatepass")
            (folder / f"seed-{number:02}").write_bytes(data)


if __name__ == "__main__":
    main()
