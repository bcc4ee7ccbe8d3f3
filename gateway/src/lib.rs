//! The gateway: config, stack, router, lanes, admin, CLI.
