"""A Python consumer with OpenTelemetry: reads the record of one trace, and makes its span below the record's `traceparent` header.

    otel_kafka.py BROKERS TOPIC TRACE_ID OTLP [--timeout SECONDS]     OTLP: grpc://host:port | http://host:port | -

Prints one JSON line: {"headers","trace_id","parent_id","span_id"}; exit 1 when no such record came.
"""

import argparse
import sys

from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from ce_kafka_read import records
from common import as_text, say
from otel_common import exporter


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("brokers")
    parser.add_argument("topic")
    parser.add_argument("trace_id")
    parser.add_argument("otlp")
    parser.add_argument("--timeout", type=float, default=20.0)
    given = parser.parse_args()
    provider = TracerProvider(resource=Resource.create({"service.name": "python-consumer"}))
    if given.otlp != "-":
        provider.add_span_processor(SimpleSpanProcessor(exporter(given.otlp)))
    for record in records(given.brokers, given.topic, 1, given.timeout):
        headers = {name: as_text(value or b"") for name, value in record.headers() or []}
        if given.trace_id not in headers.get("traceparent", ""):
            continue
        tracer = provider.get_tracer("anygate-tests")
        with tracer.start_as_current_span("receive", context=extract(headers), kind=SpanKind.CONSUMER) as span:
            context, parent = span.get_span_context(), span.parent
        provider.shutdown()
        say({"headers": headers, "trace_id": f"{context.trace_id:032x}", "parent_id": f"{parent.span_id:016x}",
             "span_id": f"{context.span_id:016x}"})
        return
    sys.exit(f"otel_kafka: no record of trace {given.trace_id}")


if __name__ == "__main__":
    main()
