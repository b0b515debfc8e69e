//! Schema `concurrency`: locks, versions and isolation, and named locks for applications.
