//! x
use super::Problems;
use std::path::PathBuf;
/// x
pub struct Settings {
    /// x
    pub data: PathBuf,
}
/// x
pub fn load() -> Result<Settings, Problems> {
    Err(Problems::default())
}
