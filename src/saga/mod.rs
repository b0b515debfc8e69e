//! Schema `saga`: long transactions of steps that all finish, or are undone in reverse order.
