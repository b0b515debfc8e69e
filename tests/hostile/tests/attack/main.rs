//! Attacks by roles that may do little: a stranger with a login and the right to make objects, and each of the
//! extension's own levels. The verdict is always the same: nothing leaks, nothing moves, and no code of the attacker's
//! runs with anybody else's rights.

mod code;
mod denial;
mod identity;
mod install;
mod privileges;
mod settings;
mod visibility;
mod world;
