"""The Python CloudEvents SDK sends one event in binary and one in structured mode to POST PATH.

    ce_http.py HOST PORT [--path /events] [--type T] [--source S] [--id ID] [--ext NAME=VALUE]… [--data JSON]

Prints one JSON line: {"binary": ANSWER, "structured": ANSWER, "sent": {"binary": EVENT, "structured": EVENT}} with
ANSWER = {"status","headers","body"}. The ids are ID-binary and ID-structured.
"""

import argparse
import json
import uuid
from datetime import datetime, timezone

from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent

from common import event_as_json, post, say


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--path", default="/events")
    parser.add_argument("--type", default="com.acme.client.python")
    parser.add_argument("--source", default="/clients/python")
    parser.add_argument("--id", default=str(uuid.uuid4()))
    parser.add_argument("--ext", action="append", default=[])
    parser.add_argument("--data", default='{"celsius":21.5}')
    given = parser.parse_args()
    result = {"sent": {}}
    for mode, encode in (("binary", http.to_binary_event), ("structured", http.to_structured_event)):
        attributes = {
            "id": f"{given.id}-{mode}",
            "type": given.type,
            "source": given.source,
            "time": datetime.now(timezone.utc),
            "datacontenttype": "application/json",
            "subject": "é% \"quoted\"",  # must be percent-encoded in a header, and come back as it was
        }
        attributes.update(extension.split("=", 1) for extension in given.ext)
        event = CloudEvent(attributes=attributes, data=json.loads(given.data))
        message = encode(event)
        result[mode] = post(given.host, given.port, given.path, message.headers, message.body)
        result["sent"][mode] = event_as_json(event)
    say(result)


if __name__ == "__main__":
    main()
