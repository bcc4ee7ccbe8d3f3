"""A Python client with OpenTelemetry: one span, one POST inside it with the W3C headers, the span exported over OTLP.

    otel_http.py HOST PORT OTLP [--path /events] [--type T] [--data JSON]       OTLP: grpc://host:port | http://host:port | -

Prints one JSON line: {"status","headers","body","trace_id","span_id","traceparent"}.
"""

import argparse
import uuid

from common import post, say
from otel_common import with_span


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("otlp")
    parser.add_argument("--path", default="/events")
    parser.add_argument("--type", default="com.acme.client.otel")
    parser.add_argument("--data", default='{"celsius":21.5}')
    given = parser.parse_args()

    def work(carrier):
        headers = {"content-type": "application/json", "ce-specversion": "1.0", "ce-id": str(uuid.uuid4()),
                   "ce-type": given.type, "ce-source": "/clients/otel", **carrier}
        return post(given.host, given.port, given.path, headers, given.data.encode())

    say(with_span("python-http-client", None if given.otlp == "-" else given.otlp, work))


if __name__ == "__main__":
    main()
