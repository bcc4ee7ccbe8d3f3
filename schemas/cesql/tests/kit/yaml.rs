//! Just enough of a YAML tree to read the kit: mappings, sequences, scalars and whether they were quoted.

use granit_parser::{Event, Parser, ScalarStyle};

/// A YAML node.
#[derive(Debug)]
pub enum Yaml {
    /// Text, and whether it stood without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    Sequence(Vec<Yaml>),
    /// Names and values, in order.
    Mapping(Vec<(String, Yaml)>),
}

impl Yaml {
    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Yaml> {
        self.entries().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The entries of a mapping.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Yaml)> {
        let entries: &[(String, Yaml)] = if let Yaml::Mapping(entries) = self { entries } else { &[] };
        entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The items of a sequence.
    pub fn items(&self) -> &[Yaml] {
        if let Yaml::Sequence(items) = self { items } else { &[] }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        if let Yaml::Scalar { text, .. } = self { Some(text) } else { None }
    }
}

/// Reads a document.
pub fn read(text: &str) -> Yaml {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap().0);
    let first = events.find(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(..))).unwrap();
    node(first, &mut events)
}

fn node<'t>(event: Event<'t>, events: &mut impl Iterator<Item = Event<'t>>) -> Yaml {
    match event {
        Event::Scalar(text, style, ..) => {
            Yaml::Scalar { text: text.into_owned(), plain: matches!(style, ScalarStyle::Plain) }
        }
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => return Yaml::Sequence(items),
                    event => items.push(node(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::MappingEnd => return Yaml::Mapping(entries),
                    event => {
                        let key = node(event, events).text().unwrap().to_owned();
                        let value = events.next().unwrap();
                        entries.push((key, node(value, events)));
                    }
                }
            }
        }
        other => panic!("unexpected in the kit: {other:?}"),
    }
}
