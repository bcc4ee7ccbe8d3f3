//! An event as a row, and a row as an event.
use rusqlite::{Row, named_params, types::ValueRef};
use schemas::{AckLevel, AttributeFault, Attributes, Door, Event, Headers, Kind, TraceContext};
use serde::{
    Deserializer as _, Serializer as _,
    de::{MapAccess, Visitor},
    ser::SerializeMap as _,
};
use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// The columns in the order in which [`to_event`] reads them.
pub(crate) const COLUMNS: &str = "seq, lsn, id, source, type, subject, time, datacontenttype, dataschema, received_ns, trace_id, \
    span_id, trace_flags, listener, principal, tenant, door_subject, route, ack, attributes, headers, data";

const INSERT: &str = "INSERT INTO events (lsn, id, source, type, subject, time, datacontenttype, dataschema, received_ns, trace_id, \
    span_id, trace_flags, listener, principal, tenant, door_subject, route, ack, attributes, headers, data, data_hash) \
    VALUES (:lsn, :id, :source, :type, :subject, :time, :datacontenttype, :dataschema, :received_ns, :trace_id, \
    :span_id, :trace_flags, :listener, :principal, :tenant, :door_subject, :route, :ack, :attributes, :headers, :data, :data_hash) \
    ON CONFLICT (lsn) DO NOTHING";

/// Inserts a row; `None` when another row has this LSN.
pub(crate) fn insert(
    connection: &rusqlite::Connection,
    event: &Event,
    lsn: Option<i64>,
    data_hash: i64,
) -> rusqlite::Result<Option<i64>> {
    let envelope = &event.envelope;
    let text = |name| envelope.get(name).map(|value| value.text);
    let changed = connection.prepare_cached(INSERT)?.execute(named_params! {
        ":lsn": lsn,
        ":id": envelope.id(),
        ":source": envelope.source(),
        ":type": envelope.event_type(),
        ":subject": text("subject"),
        ":time": text("time"),
        ":datacontenttype": text("datacontenttype"),
        ":dataschema": text("dataschema"),
        ":received_ns": i64::try_from(event.received_ns()).unwrap_or(i64::MAX),
        ":trace_id": event.trace.trace_id_hex(),
        ":span_id": event.trace.span_id_hex(),
        ":trace_flags": event.trace.flags,
        ":listener": event.door.listener.as_str(),
        ":principal": event.door.principal.as_str(),
        ":tenant": event.door.tenant.as_str(),
        ":door_subject": event.door.subject.as_str(),
        ":route": event.route.as_str(),
        ":ack": event.level.as_str(),
        ":attributes": extensions_json(event),
        ":headers": headers_json(event),
        ":data": envelope.data().as_ref(),
        ":data_hash": data_hash,
    })?;
    Ok((changed == 1).then(|| connection.last_insert_rowid()))
}

fn extensions_json(event: &Event) -> String {
    let mut json = Vec::with_capacity(64);
    let mut serializer = serde_json::Serializer::new(&mut json);
    // Writing into memory cannot fail, and every key is text.
    let written = serializer.serialize_map(None).and_then(|mut map| {
        for (name, value) in event.envelope.extensions() {
            match (value.kind, value.text.parse::<i32>(), value.text) {
                (Kind::Integer, Ok(number), _) => map.serialize_entry(name, &number)?,
                (Kind::Boolean, _, "true") => map.serialize_entry(name, &true)?,
                (Kind::Boolean, _, "false") => map.serialize_entry(name, &false)?,
                (Kind::String | Kind::Integer | Kind::Boolean, _, text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    });
    debug_assert!(written.is_ok());
    String::from_utf8(json).unwrap_or_default()
}

fn headers_json(event: &Event) -> String {
    if event.headers.is_empty() {
        return "[]".to_owned();
    }
    let pairs: Vec<_> = event.headers.iter().collect();
    serde_json::to_string(&pairs).unwrap_or_default()
}

/// Why a row is no event: somebody else wrote it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowFault {
    /// A column has another type.
    #[error("{0}")]
    Column(#[from] rusqlite::Error),
    /// A JSON column cannot be read.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The attributes are no CloudEvent.
    #[error("{0}")]
    Attribute(#[from] AttributeFault),
    /// Trace ids or ack level.
    #[error("the column {0} cannot be read")]
    Text(&'static str),
}

/// Reads the columns of [`COLUMNS`].
pub(crate) fn to_event(row: &Row<'_>) -> Result<Event, RowFault> {
    let text = |index| text_at(row, index);
    let core = ["id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];
    let mut attributes = Attributes::with_capacity(256);
    for (index, name) in (2..).zip(core) {
        if !matches!(row.get_ref(index)?, ValueRef::Null) {
            attributes.set(name, text(index)?, Kind::String)?;
        }
    }
    let extensions = serde_json::Deserializer::from_str(text(19)?).deserialize_map(Extensions)?;
    for (name, value, kind) in &extensions {
        attributes.set(name, value, *kind)?;
    }
    let mut headers = Headers::new();
    for (name, value) in serde_json::from_str::<Vec<(String, String)>>(text(20)?)? {
        headers.keep(&name, &value);
    }
    let data = row.get_ref(21)?.as_blob().map_err(|_| RowFault::Text("data"))?;
    let envelope = attributes.freeze(bytes::Bytes::copy_from_slice(data))?;
    let traceparent = format!("00-{}-{}-{:02x}", text(10)?, text(11)?, row.get::<_, u8>(12)?);
    let received = u64::try_from(row.get::<_, i64>(9)?).unwrap_or(0);
    Ok(Event {
        lsn: row.get::<_, Option<i64>>(1)?.map_or(0, i64::cast_unsigned),
        lanes: 0,
        key: schemas::order_key(&envelope),
        envelope,
        door: Door {
            listener: text(13)?.into(),
            principal: text(14)?.into(),
            tenant: text(15)?.into(),
            subject: text(16)?.into(),
        },
        headers,
        received: SystemTime::UNIX_EPOCH + Duration::from_nanos(received),
        trace: TraceContext::parse(&traceparent).ok_or(RowFault::Text("trace_id, span_id"))?,
        route: text(17)?.into(),
        level: text(18)?.parse::<AckLevel>().map_err(|_| RowFault::Text("ack"))?,
        death: None,
    })
}

fn text_at<'r>(row: &'r Row<'_>, index: usize) -> Result<&'r str, RowFault> {
    row.get_ref(index)?.as_str().map_err(|_| RowFault::Text("a text column"))
}

/// Reads the column `attributes`, keeping the order of its members.
struct Extensions;

impl<'de> Visitor<'de> for Extensions {
    type Value = Vec<(String, String, Kind)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings, numbers and booleans")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
            let (text, kind) = match value {
                serde_json::Value::String(text) => (text, Kind::String),
                serde_json::Value::Number(number) => (number.to_string(), Kind::Integer),
                serde_json::Value::Bool(yes) => (yes.to_string(), Kind::Boolean),
                serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                    return Err(serde::de::Error::custom(format!(
                        "the attribute {name:?} is no string, number or boolean"
                    )));
                }
            };
            found.push((name, text, kind));
        }
        Ok(found)
    }
}
