//! The MQTT listener.
