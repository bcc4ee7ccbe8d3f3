//! The codes of faults. A code is stable: people search for it. C = error, W = warning; 0xx the text, 1xx the shape,
//! 2xx references, 3xx addresses and templates, 4xx expressions and routes, 5xx environment and files, 6xx later capabilities.

/// The file cannot be read.
pub const UNREADABLE: &str = "C001";
/// The text is not YAML.
pub const SYNTAX: &str = "C002";
/// The text is larger, deeper or longer than allowed.
pub const LIMIT: &str = "C003";
/// More than one YAML document.
pub const DOCUMENTS: &str = "C004";
/// A key stands twice in one map.
pub const DUPLICATE_KEY: &str = "C005";
/// A YAML feature that is not used here: merge keys, tags, keys that are no text.
pub const FEATURE: &str = "C006";
/// A key that the schema does not know.
pub const UNKNOWN_FIELD: &str = "C101";
/// A value of another type.
pub const WRONG_TYPE: &str = "C102";
/// A required key is missing.
pub const MISSING: &str = "C103";
/// Not one of the words allowed here.
pub const WORD: &str = "C104";
/// A one-key map with no key or with several.
pub const CHOICE: &str = "C105";
/// A number or a count out of its range.
pub const RANGE: &str = "C106";
/// A scalar that does not read as its format (size, time, rate, …).
pub const FORMAT: &str = "C107";
/// The typed reader refused what the schema let through.
pub const VALUE: &str = "C108";
/// A name that refers to nothing.
pub const REFERENCE: &str = "C201";
/// A name that is defined twice.
pub const TWICE: &str = "C202";
/// A name with characters that names cannot have.
pub const NAME: &str = "C203";
/// A template without a fixed prefix.
pub const PREFIX: &str = "C301";
/// A template that does not parse.
pub const TEMPLATE: &str = "C302";
/// A placeholder that nothing fills.
pub const PLACEHOLDER: &str = "C303";
/// Not an address.
pub const ADDRESS: &str = "C304";
/// Two listeners on one address.
pub const ADDRESS_TWICE: &str = "C305";
/// Open to the network without protection.
pub const OPEN: &str = "C306";
/// An expression that does not parse.
pub const EXPRESSION: &str = "C401";
/// Routes that would send one event over two kinds of path.
pub const MIXED: &str = "C402";
/// An environment variable that is not set.
pub const ENVIRONMENT: &str = "C501";
/// A `${…}` that does not parse.
pub const ENVIRONMENT_SYNTAX: &str = "C502";
/// A file that the configuration names is missing or wrong.
pub const FILE: &str = "C503";
/// A version that this program does not know.
pub const VERSION: &str = "C504";
/// At a reload: a key that only a restart changes.
pub const RESTART: &str = "C505";
/// At a reload: what the system refuses, such as an address that is taken.
pub const SYSTEM: &str = "C506";
/// At a reload: a backend that is gone still has events.
pub const LANE: &str = "C507";
/// A capability that is not built yet.
pub const LATER: &str = "C601";
/// A key that the gateway sets itself.
pub const OWNED: &str = "C602";
