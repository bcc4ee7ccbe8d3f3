"""One span by OpenTelemetry for Python, exported to an OTLP endpoint: what otel_http.py and otel_mqtt.py share."""

from opentelemetry.propagate import inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind


def exporter(endpoint):
    """`grpc://host:port` or `http://host:port` (the path /v1/traces is added)."""
    if endpoint.startswith("grpc://"):
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        return OTLPSpanExporter(endpoint=endpoint[len("grpc://"):], insecure=True)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    return OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")


def with_span(service, endpoint, work):
    """Calls `work(carrier)` inside a producer span; returns its answer with `trace_id`, `span_id` and `traceparent`."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if endpoint:
        provider.add_span_processor(SimpleSpanProcessor(exporter(endpoint)))
    with provider.get_tracer("anygate-tests").start_as_current_span("publish", kind=SpanKind.PRODUCER) as span:
        carrier = {}
        inject(carrier)
        answer = work(carrier)
        context = span.get_span_context()
    provider.shutdown()
    answer.update(trace_id=f"{context.trace_id:032x}", span_id=f"{context.span_id:016x}", traceparent=carrier["traceparent"])
    return answer
