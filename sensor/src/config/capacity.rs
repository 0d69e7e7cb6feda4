//! The section `[capacity]`: how many entries the kernel's tables have. It takes effect at a start.

use crate::kernel::size::{Capacity, ROWS};

/// Changes one value.
///
/// # Errors
/// What is wrong with name or value, and what is allowed.
pub(super) fn set(capacity: &mut Capacity, name: &str, value: i64) -> Result<(), String> {
    let Some(row) = ROWS.iter().find(|row| row.name == name) else {
        let names: Vec<String> = ROWS.iter().map(|row| format!("`{}`", row.name)).collect();
        return Err(format!("capacity: unknown key `{name}`, expected one of {}", names.join(", ")));
    };
    let (low, high) = row.range;
    let value = u32::try_from(value)
        .ok()
        .filter(|value| (low..=high).contains(value))
        .ok_or_else(|| format!("capacity: {name} = {value} is out of range: give {low} to {high}"))?;
    let place = match row.name {
        "sources" => &mut capacity.sources,
        "records" => &mut capacity.records,
        "connections" => &mut capacity.connections,
        _ => &mut capacity.networks,
    };
    *place = value;
    Ok(())
}
