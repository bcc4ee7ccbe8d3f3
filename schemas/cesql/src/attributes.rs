//! How an expression reads an event: the trait [`Attributes`], and the attribute names resolved at compile time.
//!
//! An implementation hands out borrowed values; nothing is copied and nothing is allocated for a look-up. The eight
//! attributes that CloudEvents itself defines are asked for by number ([`Core`]), so that a struct that keeps them in
//! an array or in fields answers without comparing names.

use crate::value::Value;

/// An attribute that the CloudEvents 1.0 specification defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Core {
    /// `id`, required.
    Id,
    /// `source`, required.
    Source,
    /// `specversion`, required.
    SpecVersion,
    /// `type`, required.
    Type,
    /// `datacontenttype`, optional.
    DataContentType,
    /// `dataschema`, optional.
    DataSchema,
    /// `subject`, optional.
    Subject,
    /// `time`, optional.
    Time,
}

impl Core {
    /// All of them, in the order of the declaration: `Core::ALL[core as usize] == core`.
    pub const ALL: [Core; 8] = [
        Core::Id,
        Core::Source,
        Core::SpecVersion,
        Core::Type,
        Core::DataContentType,
        Core::DataSchema,
        Core::Subject,
        Core::Time,
    ];

    /// The attribute's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Core::Id => "id",
            Core::Source => "source",
            Core::SpecVersion => "specversion",
            Core::Type => "type",
            Core::DataContentType => "datacontenttype",
            Core::DataSchema => "dataschema",
            Core::Subject => "subject",
            Core::Time => "time",
        }
    }

    /// Whether every valid event has it: `EXISTS` of such a one is always true (section 3.4.4).
    #[must_use]
    pub fn is_required(self) -> bool {
        matches!(self, Core::Id | Core::Source | Core::SpecVersion | Core::Type)
    }

    /// The attribute with this name, which is in lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Core> {
        Core::ALL.into_iter().find(|core| core.name() == name)
    }
}

/// The attributes of one event.
///
/// Only [`get`](Attributes::get) is needed. A struct with fields overrides [`core`](Attributes::core) as well and saves
/// the comparison of names, because evaluation asks for attributes of the specification through it alone:
///
/// ```
/// use cesql::{Attributes, Core, Expression, Value};
///
/// struct Event<'a> { core: [Option<&'a str>; 8], extensions: &'a [(&'a str, &'a str)] }
///
/// impl Attributes for Event<'_> {
///     fn get(&self, name: &str) -> Option<Value<'_>> {
///         match self.extensions.iter().find(|(key, _)| *key == name) {
///             Some((_, value)) => Some(Value::from(*value)),
///             None => Core::from_name(name).and_then(|core| self.core(core)),
///         }
///     }
///     fn core(&self, core: Core) -> Option<Value<'_>> {
///         self.core[core as usize].map(Value::from)
///     }
/// }
///
/// let mut event = Event { core: [None; 8], extensions: &[("severity", "17")] };
/// event.core[Core::Type as usize] = Some("com.example.alarm");
/// let alarm = Expression::compile("type LIKE 'com.%' AND severity >= 17")?;
/// assert_eq!(alarm.matches(&event), Ok(true));
/// # Ok::<(), cesql::ParseError>(())
/// ```
pub trait Attributes {
    /// The value of the attribute or extension with this name (lower-case letters and digits), or `None` when the event
    /// has none.
    fn get(&self, name: &str) -> Option<Value<'_>>;

    /// The value of an attribute that the specification defines. Must answer as `get(core.name())` does.
    fn core(&self, core: Core) -> Option<Value<'_>> {
        self.get(core.name())
    }
}

impl<A: Attributes + ?Sized> Attributes for &A {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        (**self).get(name)
    }

    fn core(&self, core: Core) -> Option<Value<'_>> {
        (**self).core(core)
    }
}

/// A list of names and values; the first with the name counts.
impl<const N: usize> Attributes for [(&str, Value<'_>); N] {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value.borrowed())
    }
}

/// A list of names and strings; the first with the name counts.
impl<const N: usize> Attributes for [(&str, &str); N] {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| Value::from(*value))
    }
}

/// The name of an attribute in an expression: lower case, and resolved.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    pub(crate) core: Option<Core>,
}

impl Name {
    pub(crate) fn new(written: &str) -> Name {
        let text = written.to_ascii_lowercase().into_boxed_str();
        let core = Core::from_name(&text);
        Name { text, core }
    }

    #[inline]
    pub(crate) fn read<'a, A: Attributes + ?Sized>(&self, attributes: &'a A) -> Option<Value<'a>> {
        match self.core {
            Some(core) => attributes.core(core),
            None => attributes.get(&self.text),
        }
    }

    /// Whether every valid event has this attribute.
    pub(crate) fn is_required(&self) -> bool {
        self.core.is_some_and(Core::is_required)
    }
}
