//! Placeholder
use crate::Invalid;
/// p
pub fn message(_type_url: &str, _bytes: &[u8]) -> Result<(), Invalid> {
    Ok(())
}
