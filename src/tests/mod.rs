//! Tests that run inside the server: `cargo pgrx test`.
