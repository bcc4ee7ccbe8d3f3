//! Arbitrary bytes from an MQTT client: the whole session layer answers them; it gives all room back, and says the same however
//! the bytes were cut.
//!
//! The first byte says where to cut; the rest is what the client sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transports::mqtt::{
    MqttSettings,
    fuzz::{session_bytes, session_chunks},
};

fuzz_target!(|data: &[u8]| {
    let Some((cut, input)) = data.split_first() else { return };
    let whole = session_bytes(input);
    assert_eq!(whole.held, 0, "room was not given back");
    let cut = session_chunks(input, usize::from(*cut), &MqttSettings::default());
    assert_eq!(cut.held, 0, "room was not given back");
    assert_eq!(whole.messages, cut.messages, "messages do not depend on how bytes came");
});
