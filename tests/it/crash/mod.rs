//! SIGKILL in the middle of work, start again, and see that every promise was kept.

mod payments;
mod publishes;
