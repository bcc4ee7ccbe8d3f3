//! The MQTT protocol binding 1.0.2, binary mode (MQTT 5 only): user properties to and from attributes.
//!
//! Names are case-sensitive and travel unchanged. User properties with names that no attribute can have (`Trace-Id`) are no
//! fault: they are for the listener's allow-list of headers. A content type of an event format says structured mode; then,
//! and without `specversion`, all user properties are such headers.
//!
//! The message expiry interval becomes the attribute `expirytime`, an RFC 3339 time, and back ([`expirytime`],
//! [`expiry_seconds`]).
use super::{Found, finish, is_event_format, set_once};
use crate::{AttributeFault, Attributes, ByteStr, Door, Envelope, Kind, Value, Word};
use jiff::Timestamp;
use std::time::{Duration, SystemTime};

/// The name of the attribute that says until when an event is of use (CloudEvents extension "Expiry Time").
pub const EXPIRYTIME: &str = "expirytime";

/// Reads the user properties and the content type of a PUBLISH; properties that are no attributes go to `other`.
///
/// # Errors
/// `malformed`, `reserved_attribute` (also for a bare message), `too_large`.
pub fn read<'a, I>(
    properties: I,
    content_type: Option<&str>,
    mut other: impl FnMut(&'a str, &'a str),
) -> Result<Found, AttributeFault>
where
    I: IntoIterator<Item = (&'a str, &'a str)>,
    I::IntoIter: Clone,
{
    let properties = properties.into_iter();
    let structured = content_type.is_some_and(is_event_format);
    let binary = !structured && properties.clone().any(|(name, _)| name == "specversion");
    let mut attributes = Attributes::default();
    for (name, value) in properties {
        if name.starts_with("anygate") {
            // Refused by name, whatever the mode.
            attributes.set_from_sender(name, value, Kind::String)?;
        }
        let legal = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if binary && legal {
            set_once(&mut attributes, name, value)?;
        } else {
            other(name, value);
        }
    }
    finish(attributes, content_type.filter(|text| !text.is_empty()).map(ByteStr::from))
}

/// Gives the user properties of an event in binary mode to `visit`: one per attribute, with the `anygate…` attributes when a
/// `door` is given. `datacontenttype` is the content type property ([`Envelope::content_type`]), the payload [`Envelope::data`].
pub fn write(envelope: &Envelope, door: Option<&Door>, mut visit: impl FnMut(&str, &str)) {
    visit("specversion", "1.0");
    let own = envelope.attributes().filter(|(name, _)| *name != "datacontenttype");
    let door = door.into_iter().flat_map(Door::attributes).map(|(name, value)| -> (&str, Value<'_>) { (name, value) });
    for (name, value) in own.chain(door) {
        visit(name, value.text);
    }
}

/// Sets `expirytime` from a message expiry interval, unless the sender set it.
///
/// # Errors
/// As [`Attributes::set`].
pub fn set_expirytime(attributes: &mut Attributes, received: SystemTime, seconds: u32) -> Result<(), AttributeFault> {
    if attributes.get(EXPIRYTIME).is_some() {
        return Ok(());
    }
    attributes.set(EXPIRYTIME, &expirytime(received, seconds)?, Kind::String)
}

/// The time at which a message expires that came at `received` with a message expiry interval of `seconds`.
///
/// # Errors
/// `malformed` when that time is beyond the year 9999.
pub fn expirytime(received: SystemTime, seconds: u32) -> Result<String, AttributeFault> {
    let fault =
        || AttributeFault::new(Word::Malformed, format!("a message expiry of {seconds} s is beyond the year 9999"));
    let until = received.checked_add(Duration::from_secs(u64::from(seconds))).ok_or_else(fault)?;
    Timestamp::try_from(until).map(|time| time.to_string()).map_err(|_| fault())
}

/// The message expiry interval for an event that is sent at `now`: whole seconds until its `expirytime`, rounded up; 0 when
/// that is past. `None` without a valid `expirytime`.
pub fn expiry_seconds(envelope: &Envelope, now: SystemTime) -> Option<u32> {
    let until: Timestamp = envelope.get(EXPIRYTIME)?.text.parse().ok()?;
    let left = SystemTime::from(until).duration_since(now).unwrap_or(Duration::ZERO);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    Some(u32::try_from(seconds).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Mode;
    use bytes::Bytes;

    const EVENT: [(&str, &str); 4] = [("id", "1"), ("source", "/s"), ("type", "t"), ("specversion", "1.0")];

    #[test]
    fn binary_mode_there_and_back() {
        let properties = EVENT.into_iter().chain([("partitionkey", "k é"), ("Trace-Id", "7")]);
        let mut others = Vec::new();
        let found = read(properties, Some("text/plain"), |name, value| others.push((name, value))).unwrap();
        assert_eq!((found.mode, others), (Mode::Binary, vec![("Trace-Id", "7")]));
        let envelope = found.attributes.freeze(Bytes::new()).unwrap();
        assert_eq!(envelope.content_type(), Some("text/plain"));
        let mut written = Vec::new();
        write(&envelope, None, |name, value| written.push((name.to_owned(), value.to_owned())));
        let again = read(written.iter().map(|(n, v)| (n.as_str(), v.as_str())), Some("text/plain"), |_, _| {}).unwrap();
        assert_eq!(again.attributes.freeze(Bytes::new()).unwrap(), envelope);
        assert_eq!(written.len(), 5);
    }

    #[test]
    fn bare_and_structured_keep_user_properties_as_headers() {
        for (properties, content_type) in [(&EVENT[..3], None), (&EVENT[..], Some("application/cloudevents+json"))] {
            let mut count = 0;
            let found = read(properties.iter().copied(), content_type, |_, _| count += 1).unwrap();
            assert_eq!((found.mode, found.attributes.is_empty(), count), (Mode::ByContentType, true, properties.len()));
        }
    }

    #[test]
    fn refusals() {
        let faulty = |extra| read(EVENT.into_iter().chain([extra]), None, |_, _| {}).unwrap_err().word;
        assert_eq!(faulty(("id", "2")), Word::Malformed);
        assert_eq!(faulty(("anygatetenant", "acme")), Word::ReservedAttribute);
        assert_eq!(read([("anygatetenant", "acme")], None, |_, _| {}).unwrap_err().word, Word::ReservedAttribute);
        let wrong = [("specversion", "0.3")];
        assert_eq!(read(wrong, None, |_, _| {}).unwrap_err().word, Word::Malformed);
        // The binding's own example repeats the content type as a user property.
        let same = EVENT.into_iter().chain([("datacontenttype", "a/b")]);
        assert!(read(same.clone(), Some("a/b"), |_, _| {}).is_ok());
        assert!(read(same, Some("a/c"), |_, _| {}).is_err());
    }

    #[test]
    fn expiry_there_and_back() {
        let received = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let mut attributes = read(EVENT, None, |_, _| {}).unwrap().attributes;
        set_expirytime(&mut attributes, received, 60).unwrap();
        assert_eq!(attributes.get(EXPIRYTIME), Some("2023-11-14T22:14:20.5Z"));
        set_expirytime(&mut attributes, received, 5).unwrap();
        assert_eq!(attributes.get(EXPIRYTIME), Some("2023-11-14T22:14:20.5Z"), "the sender's stays");
        let envelope = attributes.freeze(Bytes::new()).unwrap();
        assert_eq!(expiry_seconds(&envelope, received), Some(60));
        assert_eq!(expiry_seconds(&envelope, received + Duration::from_millis(59_100)), Some(1));
        assert_eq!(expiry_seconds(&envelope, received + Duration::from_secs(90)), Some(0));
        assert!(expirytime(received, u32::MAX).is_ok());
    }
}
