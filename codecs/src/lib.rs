//! Codecs: one message into envelopes and an envelope back into bytes. Pure.
