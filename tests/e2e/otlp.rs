//! One trace from a Python client with OpenTelemetry through the gateway and Kafka to a consumer, as an OTLP receiver that is not
//! ours got it: HTTP with OTLP over gRPC, MQTT 5 with OTLP over HTTP.
use gateway::{config, runtime::Gateway};
use serde_json::Value;
use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

/// The services that `tests/services/with-services` has started.
struct Services {
    kafka: String,
    grpc: String,
    http: String,
    log: PathBuf,
    python: PathBuf,
}

fn services() -> Option<Services> {
    let value = |name: &str| env::var(name).map_err(|_| name.to_owned());
    let found = || -> Result<Services, String> {
        Ok(Services {
            kafka: value("ANYGATE_TEST_KAFKA")?,
            grpc: value("ANYGATE_TEST_OTLP_GRPC")?,
            http: value("ANYGATE_TEST_OTLP_HTTP")?,
            log: value("ANYGATE_TEST_OTLP_LOG")?.into(),
            python: PathBuf::from(value("ANYGATE_TEST_VENV")?).join("bin/python"),
        })
    };
    match found() {
        Ok(services) => Some(services),
        Err(missing) => {
            assert!(
                env::var("CI").as_deref() != Ok("true"),
                "{missing} is not set: run tests/services/with-services cargo test -p tests"
            );
            println!("SKIPPED: {missing} is not set; tests/services/with-services starts what is needed");
            None
        }
    }
}

/// One span of the receiver's log.
#[derive(Debug, Default)]
struct Seen {
    service: String,
    trace: String,
    parent: String,
    id: String,
    name: String,
    kind: String,
}

/// The spans of one trace in the receiver's log.
fn spans(log: &str, trace: &str) -> Vec<Seen> {
    let (mut found, mut service) = (Vec::<Seen>::new(), String::new());
    for line in log.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("-> service.name: Str(") {
            name.trim_end_matches(')').clone_into(&mut service);
        }
        if line.starts_with("Span #") {
            found.push(Seen { service: service.clone(), ..Seen::default() });
        }
        let (Some((name, value)), Some(span)) = (line.split_once(':'), found.last_mut()) else { continue };
        let place = match name.trim() {
            "Trace ID" => &mut span.trace,
            "Parent ID" => &mut span.parent,
            "ID" => &mut span.id,
            "Name" => &mut span.name,
            "Kind" => &mut span.kind,
            _ => continue,
        };
        value.trim().clone_into(place);
    }
    found.into_iter().filter(|span| span.trace == trace).collect()
}

fn script(program: &PathBuf, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{error}");
    out.into_owned()
}

fn client(services: &Services, name: &str, arguments: &[&str]) -> Value {
    let path = super::architecture::root().join("tests/clients").join(name);
    let all: Vec<&str> = [path.to_str().unwrap()].into_iter().chain(arguments.iter().copied()).collect();
    serde_json::from_str(&script(&services.python, &all)).unwrap()
}

fn start(services: &Services, topic: &str, otlp: &str, data_dir: &str) -> Gateway {
    let text = format!(
        r#"
version: 1
node: {{ data_dir: "{data_dir}", drain_timeout: 5s }}
admin: {{ listen: "127.0.0.1:0" }}
telemetry: {{ otlp: "http://{otlp}", protocol: {protocol}, sample: 0 }}
listeners:
  web: {{ http: {{ listen: "127.0.0.1:0" }} }}
  devices:
    mqtt:
      listen: "127.0.0.1:0"
      envelope:
        - topic: sensors/{{site}}/{{kind}}
          set: {{ type: "com.acme.{{kind}}", subject: "{{site}}" }}
routes:
  - {{ name: bus, when: "true", to: [bus] }}
backends:
  bus: {{ kafka: {{ brokers: ["{kafka}"], topic: "{topic}" }} }}
"#,
        protocol = if otlp == services.grpc { "grpc" } else { "http" },
        kafka = services.kafka,
    );
    let environment = |name: &str| env::var(name).ok();
    let checked = config::check_text("otlp.yaml", &text, &env::temp_dir(), &environment);
    let found = checked.render(false);
    Gateway::start(&checked.config.expect(&found), &environment).unwrap()
}

/// Sends one message with `client`, reads it from Kafka, stops the gateway, and returns what the receiver got of the trace.
fn traced(services: &Services, otlp: &str, kind: &str, send: impl FnOnce(&str) -> Value) -> (Value, Value, Vec<Seen>) {
    let topic = format!("otlp-{kind}-{}", std::process::id());
    let admin = super::architecture::root().join("tests/services/kafka");
    script(&admin, &["topic", "create", &topic, "1"]);
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(services, &topic, otlp, folder.path().to_str().unwrap());
    let port = gateway.listeners.iter().find(|listener| listener.kind == kind).unwrap().address.port().to_string();
    let sent = send(&port);
    let trace = sent["trace_id"].as_str().unwrap().to_owned();
    let receiver = if otlp == services.grpc { format!("grpc://{otlp}") } else { format!("http://{otlp}") };
    let received = client(services, "otel_kafka.py", &[&services.kafka, &topic, &trace, &receiver]);
    // Nothing waited: what the receiver has not got by now was lost at the stop.
    gateway.stop();
    script(&admin, &["topic", "delete", &topic]);
    let (until, mut found) = (Instant::now() + Duration::from_secs(10), Vec::new());
    while Instant::now() < until && found.len() < 4 {
        std::thread::sleep(Duration::from_millis(100));
        found = spans(&fs::read_to_string(&services.log).unwrap(), &trace);
    }
    (sent, received, found)
}

/// publish → message → delivery → receive, each below the one before.
fn check(sent: &Value, received: &Value, found: &[Seen], wanted: &[(&str, &str, &str); 4]) {
    assert_eq!(found.len(), 4, "{found:#?}");
    let mut parent = String::new();
    for (service, name, kind) in wanted {
        let span =
            found.iter().find(|span| span.service == *service && span.name.starts_with(name)).unwrap_or_else(|| {
                panic!("no span {name} of {service} in {found:#?}");
            });
        assert_eq!((span.parent.as_str(), span.kind.as_str()), (parent.as_str(), *kind), "{name}: {found:#?}");
        parent.clone_from(&span.id);
    }
    assert_eq!(received["span_id"], parent.as_str());
    let header = received["headers"]["traceparent"].as_str().unwrap();
    let delivery = &found.iter().find(|span| span.name.starts_with("send ")).unwrap().id;
    assert!(header.contains(delivery.as_str()), "the record names the delivery: {header}");
    // The starting trace stays what it was: the sender's own place in it.
    let creation = received["headers"]["ce_traceparent"].as_str().unwrap();
    assert!(creation.contains(sent["span_id"].as_str().unwrap()), "{creation}");
}

#[test]
fn http_to_kafka_is_one_trace_over_grpc() {
    let Some(services) = services() else { return };
    let receiver = format!("grpc://{}", services.grpc);
    let send = |port: &str| client(&services, "otel_http.py", &["127.0.0.1", port, &receiver]);
    let (sent, received, found) = traced(&services, &services.grpc, "http", send);
    assert_eq!(sent["status"], 202, "{sent}");
    assert_eq!(sent["body"]["trace_id"], sent["trace_id"]);
    check(
        &sent,
        &received,
        &found,
        &[
            ("python-http-client", "publish", "SPAN_KIND_PRODUCER"),
            ("anygate", "POST /events", "SPAN_KIND_SERVER"),
            ("anygate", "send otlp-http-", "SPAN_KIND_CLIENT"),
            ("python-consumer", "receive", "SPAN_KIND_CONSUMER"),
        ],
    );
}

#[test]
fn mqtt5_to_kafka_is_one_trace_over_http() {
    let Some(services) = services() else { return };
    let receiver = format!("http://{}", services.http);
    let send = |port: &str| client(&services, "otel_mqtt.py", &["127.0.0.1", port, &receiver, "sensors/berlin/heat"]);
    let (sent, received, found) = traced(&services, &services.http, "mqtt", send);
    assert_eq!(sent["results"][0]["reason"], 0, "{sent}");
    check(
        &sent,
        &received,
        &found,
        &[
            ("python-mqtt-client", "publish", "SPAN_KIND_PRODUCER"),
            ("anygate", "process sensors/{site}/{kind}", "SPAN_KIND_CONSUMER"),
            ("anygate", "send otlp-mqtt-", "SPAN_KIND_CLIENT"),
            ("python-consumer", "receive", "SPAN_KIND_CONSUMER"),
        ],
    );
}
