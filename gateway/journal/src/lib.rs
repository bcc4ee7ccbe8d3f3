//! The write-ahead log: group commit, watermark, recovery. std threads, no tokio.
