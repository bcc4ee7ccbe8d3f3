//! Writing the small JSON bodies of answers.

/// Appends a JSON string. Ids come from senders, so they are escaped.
pub(super) fn string(text: &mut Vec<u8>, value: &str) {
    // Looks at all bytes: that runs many at a time.
    if !value.bytes().fold(false, |special, byte| special | (byte < 0x20) | (byte == b'"') | (byte == b'\\')) {
        text.push(b'"');
        text.extend_from_slice(value.as_bytes());
        text.push(b'"');
        return;
    }
    let start = text.len();
    if serde_json::to_writer(&mut *text, value).is_err() {
        // Writing a string into a vector has nothing that could fail.
        text.truncate(start);
        text.extend_from_slice(b"\"\"");
    }
}

/// Appends `"name":"value"`, with a comma before unless it is the first member.
pub(super) fn member(text: &mut Vec<u8>, name: &str, value: &str) {
    if !matches!(text.last(), None | Some(b'{')) {
        text.push(b',');
    }
    text.push(b'"');
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\":");
    string(text, value);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let mut text = b"{".to_vec();
        member(&mut text, "id", "a\"b\\c\u{1}\n\u{e9}");
        member(&mut text, "ack", "durable");
        text.push(b'}');
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["id"], "a\"b\\c\u{1}\n\u{e9}");
        assert_eq!(value["ack"], "durable");
    }
}
