//! Ground floor: values that every part may use and that know none of them.

pub mod amount;
pub mod clock;
pub mod hex32;
pub mod secret;
pub mod shutdown;
