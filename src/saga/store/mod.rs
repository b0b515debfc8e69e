//! Sagas as rows. Locks are taken in one order: the saga's row first, and what belongs to it under that lock.

mod load;
mod prune;
mod save;
mod start;

pub use load::{Which, child_state, load, saga_of_step, work_types};
pub use prune::{Gone, are_keys_left, ended_types, forget_keys, is_left, prune, record};
pub use save::{save, wake_parents};
pub use start::{NewSaga, find_key, is_pruned, start, take_back};
