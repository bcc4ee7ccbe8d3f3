//! JSON Schemas of payloads: read and compiled in one place, for `check` and for `run`.

use std::path::Path;

use jsonschema::Validator;
use serde_json::Value as Json;

/// The largest schema file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads and compiles a JSON Schema. References to files beside it work, to the network they do not.
///
/// # Errors
/// One line: the file cannot be read, is larger than 1 MiB, is not JSON, or is no schema.
pub fn compile_schema(path: &Path) -> Result<Validator, String> {
    let place = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(|error| place(&error))?.len();
    if size > MAX_BYTES {
        return Err(place(&"larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| place(&error))?;
    let schema: Json = serde_json::from_str(&text).map_err(|error| place(&error))?;
    let full = std::fs::canonicalize(path).map_err(|error| place(&error))?;
    jsonschema::options()
        .with_base_uri(format!("file://{}", full.display()))
        .build(&schema)
        .map_err(|error| error.to_string())
}
