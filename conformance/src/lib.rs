//! Conformance suites for any endpoint, contract suites for plug-ins.
