//! CloudEvents SQL 1.0: parser, type rules, evaluation. No dependencies.
