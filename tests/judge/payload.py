"""What a message is, given who sends it and its number: everything follows from (run, producer, seq).

So the judge needs no copy of what was sent: it computes it again and compares byte by byte. A changed byte and an
invented message cannot look right. Producer names begin with their protocol: `http-3`, `mqtt-0`, `http-probe`.
"""

import hashlib
import json
import zlib

KEYS = 4  # keys per producer; no two producers share one, so the order per key is the order of one stream
KINDS = ("temperature", "humidity", "pressure")
HTTP_TYPE = "com.acme.judge.http"


def digest(run, producer, seq):
    """Twenty bytes that decide key, kind, length and padding."""
    return hashlib.sha256(f"{run}/{producer}/{seq}".encode()).digest()[:20]


def body(run, producer, seq):
    """The payload: compact JSON with the identity, a CRC over it, and 40 to 600 characters of padding."""
    seed = digest(run, producer, seq)
    pad = seed.hex() * (1 + seed[0] % 15)
    crc = zlib.crc32(f"{run}/{producer}/{seq}/{pad}".encode())
    return f'{{"run":"{run}","producer":"{producer}","seq":{seq},"crc":{crc},"pad":"{pad}"}}'.encode()


def key(run, producer, seq):
    """The partition key: for MQTT the device of the topic."""
    return f"{producer}.{digest(run, producer, seq)[1] % KEYS}"


def topic(run, producer, seq):
    """The MQTT topic sensors/SITE/DEVICE/KIND."""
    seed = digest(run, producer, seq)
    return f"sensors/{site(producer)}/{key(run, producer, seq)}/{KINDS[seed[2] % len(KINDS)]}"


def site(producer):
    """Fixed per producer: the source of an MQTT event."""
    return f"site{sum(producer.encode()) % 3}"


def identifier(run, producer, seq):
    """The event id that an HTTP producer sets. MQTT messages have none; their identity is in the payload."""
    return f"{run}-{producer}-{seq}"


def attributes(run, producer, seq):
    """The CloudEvents attributes that the event must carry wherever it arrives."""
    partition_key = key(run, producer, seq)
    if producer.startswith("http"):
        return {"id": identifier(run, producer, seq), "type": HTTP_TYPE, "source": f"/judge/{producer}",
                "partitionkey": partition_key}
    kind = topic(run, producer, seq).rsplit("/", 1)[1]
    return {"type": f"com.acme.sensor.{kind}", "source": f"/sites/{site(producer)}/devices/{partition_key}",
            "subject": partition_key, "partitionkey": partition_key}


def identity(data):
    """(run, producer, seq) that a payload claims to be, or None when it cannot be read. Says nothing about truth."""
    try:
        claimed = json.loads(data)
        run, producer, seq = claimed["run"], claimed["producer"], claimed["seq"]
    except (ValueError, KeyError, TypeError):
        return None
    return (run, producer, seq) if isinstance(run, str) and isinstance(producer, str) and type(seq) is int else None
