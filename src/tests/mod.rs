//! Tests that run inside the server: `cargo pgrx test`. What needs commits or several sessions is in `tests/sessions`.

mod faults;
mod paths;
mod posting;
