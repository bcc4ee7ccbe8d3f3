"""A Python client with OpenTelemetry: one span, one MQTT 5 PUBLISH inside it whose user properties carry the W3C context.

    otel_mqtt.py HOST PORT OTLP TOPIC [--payload TEXT] [--prop NAME=VALUE]…     OTLP: grpc://host:port | http://host:port | -

Prints one JSON line: what paho_pub.py prints, and {"trace_id","span_id","traceparent"}.
"""

import argparse

import paho_pub
from common import say
from otel_common import with_span


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("otlp")
    parser.add_argument("topic")
    parser.add_argument("--payload", default='{"celsius":21.5}')
    parser.add_argument("--prop", action="append", default=[])
    given = parser.parse_args()

    def work(carrier):
        return paho_pub.run(argparse.Namespace(
            host=given.host, port=given.port, topic=given.topic, payload=[given.payload], v=5, qos=1,
            client_id="otel-test", user=None, password=None, prop=given.prop + [f"{k}={v}" for k, v in carrier.items()],
            content_type="application/json", expiry=None, retain=False, timeout=10.0, will_topic=None, will_payload="",
            drop=False, subscribe=None))

    say(with_span("python-mqtt-client", None if given.otlp == "-" else given.otlp, work))


if __name__ == "__main__":
    main()
