"""What the Python clients share: one JSON line as the answer, and one HTTP request through the standard library."""

import base64
import http.client
import json


def say(answer):
    """Prints the answer of a client: one JSON object on one line."""
    print(json.dumps(answer, separators=(",", ":"), default=str), flush=True)


def as_text(body):
    """Bytes as JSON can carry them: text when they are UTF-8, else an object with `base64`."""
    try:
        return bytes(body).decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(bytes(body)).decode()}


def post(host, port, path, headers, body, timeout=10.0):
    """One POST; returns status, headers (names in lower case; repeated ones joined) and body (parsed when it is JSON)."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("POST", path, body=body, headers=headers)
        answer = connection.getresponse()
        raw = answer.read()
        received = {}
        for name, value in answer.getheaders():
            name = name.lower()
            received[name] = f"{received[name]}, {value}" if name in received else value
        try:
            parsed = json.loads(raw)
        except ValueError:
            parsed = as_text(raw)
        return {"status": answer.status, "headers": received, "body": parsed}
    finally:
        connection.close()


def event_as_json(event):
    """An event of the Python CloudEvents SDK as a plain object: its attributes, and `data`."""
    plain = {name: str(value) for name, value in event.get_attributes().items()}
    data = event.get_data()
    plain["data"] = as_text(data) if isinstance(data, (bytes, bytearray)) else data
    return plain
