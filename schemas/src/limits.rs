//! Every constant limit of the envelope, with its reason. Limits that a config can change have their default here too.

/// Longest attribute name taken from a sender, in bytes. CloudEvents asks for 20; some SDKs send more.
pub const ATTRIBUTE_NAME_MAX: usize = 64;
/// Longest attribute name that Anygate itself or its config may set (CloudEvents 1.0.2, "Naming conventions").
pub const OWN_ATTRIBUTE_NAME_MAX: usize = 20;
/// Most extension attributes of one event: what a CloudEvents header block of a common HTTP server can hold.
pub const EXTENSIONS_MAX: usize = 64;
/// Most bytes of attribute names and values of one event together (CloudEvents asks intermediaries for 64 KiB an event).
pub const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
/// Most headers kept beside the attributes, and their bytes.
pub const HEADERS_MAX: usize = 64;
/// Most bytes of kept header names and values together.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of a JSON payload (acceptance: depth at most 64, else `malformed`).
pub const JSON_DEPTH_MAX: usize = 64;
/// Most events of one message.
pub const EVENTS_PER_MESSAGE_MAX: usize = 10_000;
/// Largest message payload unless the listener says otherwise.
pub const MESSAGE_BYTES_DEFAULT: usize = 1024 * 1024;
/// Longest `tracestate` kept, in bytes (W3C Trace Context section 3.3.1.1 asks for at least 512).
pub const TRACESTATE_MAX: usize = 512;
