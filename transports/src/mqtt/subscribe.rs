//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10): read strictly, because each filter is refused by itself.
use super::{
    fault::Fault,
    fields::{Fields, Properties, Version, property},
};
use std::num::NonZeroU16;

/// A SUBSCRIBE or UNSUBSCRIBE as far as a refusal needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// The packet identifier, for the answer.
    pub packet_id: NonZeroU16,
    /// How many filters it has: so many codes the answer has. At least one.
    pub count: usize,
}

/// Which of the two packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SUBSCRIBE: each filter is followed by options.
    Subscribe,
    /// UNSUBSCRIBE.
    Unsubscribe,
}

impl Filters {
    /// Reads what follows the fixed header.
    ///
    /// # Errors
    /// Malformed or protocol error.
    pub fn read(body: &[u8], kind: Kind, version: Version) -> Result<Self, Fault> {
        let mut fields = Fields::new(body);
        let packet_id = fields.packet_id()?;
        if version == Version::V5 {
            read_properties(fields.properties()?, kind)?;
        }
        let mut count = 0;
        while !fields.is_empty() {
            let filter = fields.string()?;
            check_filter(filter)?;
            let shared = version == Version::V5 && is_shared(filter)?;
            if kind == Kind::Subscribe {
                check_options(fields.u8()?, version, shared)?;
            }
            count += 1;
        }
        if count == 0 {
            return Err(Fault::protocol("there is no topic filter"));
        }
        Ok(Filters { packet_id, count })
    }
}

fn read_properties(mut properties: Properties<'_>, kind: Kind) -> Result<(), Fault> {
    while let Some(id) = properties.next_id()? {
        match (id, kind) {
            (property::USER, _) => {
                properties.fields.string()?;
                properties.fields.string()?;
            }
            (property::SUBSCRIPTION_ID, Kind::Subscribe) => {
                if properties.fields.varint()? == 0 {
                    return Err(Fault::protocol("the subscription identifier is 0"));
                }
            }
            (id, Kind::Subscribe) => return Err(Properties::misplaced(id, "SUBSCRIBE")),
            (id, Kind::Unsubscribe) => return Err(Properties::misplaced(id, "UNSUBSCRIBE")),
        }
    }
    Ok(())
}

/// A filter is not empty; `#` stands alone in the last level, `+` alone in its level (section 4.7.1).
fn check_filter(filter: &str) -> Result<(), Fault> {
    if filter.is_empty() {
        return Err(Fault::malformed("a topic filter is empty"));
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let fine = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            level => !level.contains(['#', '+']),
        };
        if !fine {
            return Err(Fault::malformed("a wildcard in a topic filter does not stand alone"));
        }
    }
    Ok(())
}

/// Whether the filter is `$share/{name}/{filter}` (section 4.8.2).
fn is_shared(filter: &str) -> Result<bool, Fault> {
    let Some(rest) = filter.strip_prefix("$share/") else { return Ok(false) };
    match rest.split_once('/') {
        Some((name, filter)) if !name.is_empty() && !name.contains(['#', '+']) && !filter.is_empty() => Ok(true),
        _ => Err(Fault::protocol("a shared subscription has a name and a filter")),
    }
}

fn check_options(options: u8, version: Version, shared: bool) -> Result<(), Fault> {
    let reserved = match version {
        Version::V311 => 0b1111_1100,
        Version::V5 => 0b1100_0000,
    };
    if options & reserved != 0 {
        return Err(Fault::malformed("reserved bits of the subscription options are set"));
    }
    if shared && options & 4 != 0 {
        return Err(Fault::protocol("a shared subscription with No Local"));
    }
    if options & 3 == 3 || options & 0x30 == 0x30 {
        return Err(Fault::protocol("the subscription options ask for what does not exist"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn filters_table() {
        let read = |body: &[u8]| Filters::read(body, Kind::Subscribe, Version::V311);
        assert_eq!(
            read(b"\0\x07\0\x03a/#\x01\0\x01+\0").unwrap(),
            Filters { packet_id: NonZeroU16::new(7).unwrap(), count: 2 }
        );
        for bad in [
            &b"\0\0\0\x01a\0"[..],
            b"\0\x01",
            b"\0\x01\0\0\0",
            b"\0\x01\0\x01a",
            b"\0\x01\0\x01a\x03",
            b"\0\x01\0\x01a\x04",
            b"\0\x01\0\x02a#\0",
            b"\0\x01\0\x03#/a\0",
            b"\0\x01\0\x02a+\0",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        let v5 = Filters::read(b"\0\x07\x02\x0b\x01\0\x01a\x2d", Kind::Subscribe, Version::V5).unwrap();
        assert_eq!(v5.count, 1);
        assert!(Filters::read(b"\0\x07\x02\x0b\x01\0\x01a", Kind::Unsubscribe, Version::V5).is_err());
        for (filter, options, fine) in [
            ("$share/n/t", 1, true),
            ("$share/n/t", 5, false),
            ("$share/n/", 1, false),
            ("$share/n", 1, false),
            ("$share//t", 1, false),
            ("$share/+/t", 1, false),
        ] {
            let length = u8::try_from(filter.len()).unwrap();
            let body = [b"\0\x07\0\0", &[length][..], filter.as_bytes(), &[options]].concat();
            assert_eq!(Filters::read(&body, Kind::Subscribe, Version::V5).is_ok(), fine, "{filter} {options}");
        }
    }
}
