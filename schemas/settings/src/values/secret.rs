//! Secrets: named in the configuration, never written in it, never printed.

use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a secret is found. The configuration never holds the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// A file, relative to the configuration's folder; one line break at its end is cut off.
    File(String),
    /// An environment variable.
    Env(String),
}

/// A secret in memory; prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Takes a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for the one place that sends or compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The largest secret file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

impl Secret {
    /// Reads the secret; `folder` is the configuration's folder, `env` looks up the environment.
    ///
    /// # Errors
    /// One line that says what is missing; never the secret.
    pub fn read(&self, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<SecretText, String> {
        let text = match self {
            Secret::Env(name) => env(name).ok_or_else(|| format!("the environment variable {name} is not set"))?,
            Secret::File(path) => {
                let path = folder.join(path);
                let size = std::fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.len();
                if size > MAX_BYTES {
                    return Err(format!("{}: larger than 64 KiB", path.display()));
                }
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?
            }
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        Ok(SecretText::new(text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_and_never_printed() {
        let secret = Secret::Env("X".to_owned()).read(Path::new("."), &|_| Some("geheim\n".to_owned())).unwrap();
        assert_eq!(secret.expose(), "geheim");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert!(Secret::Env("X".to_owned()).read(Path::new("."), &|_| None).unwrap_err().contains('X'));
        assert!(Secret::File("/no/such".to_owned()).read(Path::new("."), &|_| None).unwrap_err().contains("/no/such"));
    }
}
