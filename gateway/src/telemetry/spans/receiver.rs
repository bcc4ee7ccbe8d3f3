//! Where spans are sent: the collector's address, and the exporter that speaks to it.
use super::SCHEMA_URL;
use crate::config::model::{OtlpProtocol, Telemetry};
use http::Uri;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::{Resource, trace::SpanExporter as _};
use std::{fmt, time::Duration};

/// How long one request may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// The port of OTLP over gRPC.
const GRPC_PORT: u16 = 4317;
/// The path of traces (OTLP 1.x, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";

/// An OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    protocol: OtlpProtocol,
    endpoint: String,
}

impl Receiver {
    /// The collector that the config names; `None` when it names none.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn of(telemetry: &Telemetry) -> Result<Option<Self>, String> {
        let Some(given) = telemetry.otlp.as_deref().filter(|given| !given.trim().is_empty()) else { return Ok(None) };
        let fault = |what: &str| format!("{given:?} {what}");
        let uri: Uri = given.trim().parse().map_err(|error| fault(&format!("is no address: {error}")))?;
        let authority = uri.authority().ok_or_else(|| fault("has no host"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(fault(
                    "asks for TLS, which this exporter has not: send to a collector on this machine or network",
                ));
            }
            _ => return Err(fault("does not begin with http://")),
        }
        let by_port = if uri.port_u16() == Some(GRPC_PORT) { OtlpProtocol::Grpc } else { OtlpProtocol::Http };
        let protocol = telemetry.protocol.unwrap_or(by_port);
        let base = format!("http://{authority}");
        let endpoint = match (protocol, uri.path().trim_end_matches('/')) {
            (OtlpProtocol::Grpc, _) => base,
            (OtlpProtocol::Http, path) if path.ends_with(TRACES) => format!("{base}{path}"),
            (OtlpProtocol::Http, path) => format!("{base}{path}{TRACES}"),
        };
        Ok(Some(Receiver { protocol, endpoint }))
    }

    /// The exporter; connects when it first sends. Must be called inside a runtime.
    ///
    /// # Errors
    /// What the exporter says of the address.
    pub(super) fn exporter(&self) -> Result<SpanExporter, String> {
        // One try: the worker has its own pause, and spans are not worth a queue of retries.
        let once = RetryPolicy::disabled();
        let built = match self.protocol {
            OtlpProtocol::Grpc => SpanExporter::builder()
                .with_tonic()
                .with_endpoint(&self.endpoint)
                .with_timeout(TIMEOUT)
                .with_retry_policy(once)
                .build(),
            OtlpProtocol::Http => SpanExporter::builder()
                .with_http()
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .with_endpoint(&self.endpoint)
                .with_timeout(TIMEOUT)
                .with_retry_policy(once)
                .build(),
        };
        let mut exporter = built.map_err(|error| error.to_string())?;
        exporter.set_resource(&resource());
        Ok(exporter)
    }
}

/// `http://127.0.0.1:4318/v1/traces (http)`, for logs.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            OtlpProtocol::Grpc => "grpc",
            OtlpProtocol::Http => "http",
        };
        write!(f, "{} ({protocol})", self.endpoint)
    }
}

/// Who sends: this process, since its start.
fn resource() -> Resource {
    let own = [
        KeyValue::new("service.name", "anygate"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ];
    Resource::builder_empty().with_schema_url(own, SCHEMA_URL).build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(otlp: &str, protocol: Option<OtlpProtocol>) -> Result<Option<String>, String> {
        let telemetry = Telemetry { otlp: Some(otlp.to_owned()), protocol, ..Telemetry::default() };
        Receiver::of(&telemetry).map(|found| found.map(|receiver| receiver.to_string()))
    }

    #[test]
    fn the_protocol_is_chosen_by_key_then_by_port() {
        for (given, protocol, wanted) in [
            ("http://127.0.0.1:4317", None, "http://127.0.0.1:4317 (grpc)"),
            ("http://127.0.0.1:4318", None, "http://127.0.0.1:4318/v1/traces (http)"),
            ("http://collector:4318/", None, "http://collector:4318/v1/traces (http)"),
            ("http://collector:4318/otlp", None, "http://collector:4318/otlp/v1/traces (http)"),
            ("http://collector/v1/traces", None, "http://collector/v1/traces (http)"),
            ("http://[::1]:9000", Some(OtlpProtocol::Grpc), "http://[::1]:9000 (grpc)"),
            ("http://127.0.0.1:4317", Some(OtlpProtocol::Http), "http://127.0.0.1:4317/v1/traces (http)"),
        ] {
            assert_eq!(of(given, protocol).unwrap().unwrap(), wanted, "{given}");
        }
        assert_eq!(of("", None), Ok(None));
        assert_eq!(Receiver::of(&Telemetry::default()), Ok(None));
    }

    #[test]
    fn what_cannot_work_is_said_at_start() {
        for (given, wanted) in
            [("127.0.0.1:4318", "http://"), ("https://c:4318", "TLS"), ("/v1", "no host"), ("http://a b", "no address")]
        {
            let error = of(given, None).unwrap_err();
            assert!(error.contains(wanted) && error.contains(given), "{given}: {error}");
        }
    }
}
