//! Kills and promotions in the middle of load, and what must survive them.
