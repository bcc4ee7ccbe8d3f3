//! What the simulated senders send: readings, orders, and now and then something bad. Random, but no sockets and no clock.
use crate::random;
use schemas::{TraceContext, trace::SAMPLED};
use serde_json::{Value, json};

/// How a sender speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// MQTT 5.
    Mqtt5,
    /// MQTT 3.1.1.
    Mqtt311,
}

impl Protocol {
    /// All of them, in the order of the table.
    pub const ALL: [Protocol; 3] = [Protocol::Http, Protocol::Mqtt5, Protocol::Mqtt311];

    /// For people; at most 10 characters.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Mqtt5 => "mqtt 5",
            Protocol::Mqtt311 => "mqtt 3.1.1",
        }
    }

    /// Its place in tables.
    pub fn place(self) -> usize {
        match self {
            Protocol::Http => 0,
            Protocol::Mqtt5 => 1,
            Protocol::Mqtt311 => 2,
        }
    }
}

/// The services that post orders.
pub const SERVICES: [&str; 3] = ["shop-eu", "shop-us", "warehouse"];
/// The devices and their protocol: site, device.
pub const DEVICES: [(&str, &str, Protocol); 6] = [
    ("hamburg", "press-1", Protocol::Mqtt5),
    ("hamburg", "press-2", Protocol::Mqtt5),
    ("bremen", "oven-1", Protocol::Mqtt5),
    ("kiel", "pump-4", Protocol::Mqtt5),
    ("bremen", "oven-0", Protocol::Mqtt311),
    ("kiel", "pump-1", Protocol::Mqtt311),
];

/// Messages per second of one sender: nine of them make 30.
pub const RATE: f64 = 30.0 / (SERVICES.len() + DEVICES.len()) as f64;

/// One message to send.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The sender's own trace; `None` when the bytes cannot carry one.
    pub trace: Option<TraceContext>,
    /// How many events it holds; bytes that nobody can read count as one.
    pub events: u32,
    /// The path (HTTP) or the topic (MQTT).
    pub to: String,
    /// Headers or user properties; `traceparent` among them where the protocol has room for it.
    pub fields: Vec<(String, String)>,
    /// The content type (MQTT 5; HTTP has it among its headers).
    pub content_type: Option<&'static str>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A new trace, sampled.
pub fn new_trace() -> TraceContext {
    TraceContext::from_random(random::bytes(), SAMPLED)
}

fn new_id() -> String {
    format!("{:016x}", random::u64())
}

/// Less than `limit`, which must not be 0.
pub fn below(limit: u64) -> u64 {
    random::u64() % limit
}

/// Every such message is bad on purpose: about one in eleven.
fn is_bad() -> bool {
    below(11) == 0
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A device: its temperature walks at random and sometimes jumps; an alarm is one that is too high.
#[derive(Clone, Debug)]
pub struct Device {
    site: &'static str,
    name: &'static str,
    protocol: Protocol,
    celsius: f64,
}

impl Device {
    /// A device at rest.
    pub fn new((site, name, protocol): (&'static str, &'static str, Protocol)) -> Self {
        let warmth = f64::from(u32::try_from(below(150)).unwrap_or(0)) / 10.0;
        Device { site, name, protocol, celsius: 55.0 + warmth }
    }

    /// Its MQTT client id.
    pub fn client_id(&self) -> String {
        format!("{}-{}", self.site, self.name)
    }

    /// The next message that it sends.
    pub fn send(&mut self) -> Parcel {
        self.celsius += random::unit() * 4.0 - 1.95 + if below(40) == 0 { 25.0 } else { 0.0 };
        let celsius = (self.celsius * 10.0).round() / 10.0;
        let too_hot = celsius >= 80.0;
        if too_hot {
            // Somebody opens a valve.
            self.celsius -= 20.0;
        }
        let reading = json!({ "celsius": celsius, "severity": if too_hot { 17 } else { 9 } });
        let fault = if is_bad() { Some(below(4)) } else { None };
        match self.protocol {
            Protocol::Mqtt5 | Protocol::Http => self.modern(&reading, fault),
            Protocol::Mqtt311 => self.old(&reading, fault),
        }
    }

    fn topic(&self) -> String {
        format!("sensors/{}/{}/temperature", self.site, self.name)
    }

    /// MQTT 5: a bare reading; the trace is a user property, and the envelope comes from the listener's rule.
    fn modern(&self, reading: &Value, fault: Option<u64>) -> Parcel {
        let trace = new_trace();
        let mut parcel = Parcel {
            trace: Some(trace),
            events: 1,
            to: self.topic(),
            fields: vec![field("traceparent", &trace.to_string())],
            content_type: Some("application/json"),
            payload: reading.to_string().into_bytes(),
        };
        match fault {
            None => {}
            // Cut in the middle, as a device with a full buffer does it.
            Some(0) => parcel.payload.truncate(parcel.payload.len() / 2),
            Some(1) => parcel.payload = br#"{"celsius":"warm"}"#.to_vec(),
            Some(2) => parcel.fields.extend([
                field("specversion", "1.0"),
                field("id", &new_id()),
                field("type", "com.acme.temperature"),
                field("source", &format!("/{}/{}", self.site, self.name)),
                field("anygateprincipal", "root"),
            ]),
            Some(_) => parcel.to = format!("debug/{}/{}", self.site, self.name),
        }
        parcel
    }

    /// MQTT 3.1.1 has no user properties: a structured event is the only one that can carry a trace.
    fn old(&self, reading: &Value, fault: Option<u64>) -> Parcel {
        let trace = new_trace();
        let mut event = json!({
            "specversion": "1.0",
            "id": new_id(),
            "type": "com.acme.temperature",
            "source": format!("/{}/{}", self.site, self.name),
            "traceparent": trace.to_string(),
            "data": reading,
        });
        match fault {
            None | Some(0) => {}
            Some(1) => event["data"]["celsius"] = json!("warm"),
            Some(2) => event["anygateprincipal"] = json!("root"),
            Some(_) => event["type"] = json!("com.acme.debug"),
        }
        let mut parcel = Parcel {
            trace: Some(trace),
            events: 1,
            to: self.topic(),
            fields: Vec::new(),
            content_type: None,
            payload: event.to_string().into_bytes(),
        };
        if fault == Some(0) {
            parcel.payload.truncate(parcel.payload.len() / 2);
        }
        if let Some(0 | 2) = fault {
            // Nobody reads the trace of half an event, or of one that is no event because of an attribute.
            parcel.trace = None;
        }
        parcel
    }
}

/// A service: orders as bare requests, in CloudEvents' binary mode, and in batches.
#[derive(Clone, Debug)]
pub struct Service {
    name: &'static str,
}

impl Service {
    /// A service.
    pub fn new(name: &'static str) -> Self {
        Service { name }
    }

    /// The next message that it sends.
    pub fn send(&mut self) -> Parcel {
        if is_bad() {
            return self.bad();
        }
        match below(6) {
            0..3 => self.bare("/events/com.acme.order.created", order()),
            3..5 => self.binary(),
            _ => self.batch(false),
        }
    }

    fn bad(&self) -> Parcel {
        match below(4) {
            0 => self.bare("/events/com.acme.order.created", br#"{"order":17,"total":"#.to_vec()),
            1 => self.bare("/events", order()),
            2 => {
                let mut parcel = self.binary();
                parcel.fields.push(field("ce-anygatetenant", "somebody-else"));
                parcel
            }
            _ => self.batch(true),
        }
    }

    fn bare(&self, path: &str, payload: Vec<u8>) -> Parcel {
        self.request(path, "application/json", payload, 1)
    }

    fn binary(&self) -> Parcel {
        let mut parcel = self.request("/events", "application/json", order(), 1);
        let event = if below(3) == 0 { "com.acme.order.closed" } else { "com.acme.order.created" };
        parcel.fields.extend([
            field("ce-specversion", "1.0"),
            field("ce-id", &new_id()),
            field("ce-type", event),
            field("ce-source", &format!("/{}", self.name)),
        ]);
        parcel
    }

    /// Two to five events; with a bad one among them nothing of it may be kept.
    fn batch(&self, bad: bool) -> Parcel {
        let count = 2 + u32::try_from(below(4)).unwrap_or(0);
        let event = |index: u32| {
            let mut event = json!({
                "specversion": "1.0",
                "id": new_id(),
                "type": "com.acme.order.paid",
                "source": format!("/{}", self.name),
                "data": { "order": below(100_000), "total": below(500) },
            });
            if bad && index == 1 {
                event["type"] = json!("");
            }
            event
        };
        let events: Vec<_> = (0..count).map(event).collect();
        let payload = serde_json::Value::from(events).to_string().into_bytes();
        self.request("/events", "application/cloudevents-batch+json", payload, count)
    }

    fn request(&self, path: &str, content_type: &'static str, payload: Vec<u8>, events: u32) -> Parcel {
        let trace = new_trace();
        let fields = vec![
            field("content-type", content_type),
            field("traceparent", &trace.to_string()),
            field("user-agent", self.name),
        ];
        Parcel { trace: Some(trace), events, to: path.to_owned(), fields, content_type: None, payload }
    }
}

fn order() -> Vec<u8> {
    json!({ "order": below(100_000), "total": below(500) }).to_string().into_bytes()
}
