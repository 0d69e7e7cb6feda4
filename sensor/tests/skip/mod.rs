//! How a test that cannot run here says so.

/// Prints `SKIP tier: reason`; with the tier in `SENSOR_REQUIRE` (a comma list) it is a failure.
pub(crate) fn skip(tier: &str, reason: &str) {
    let demanded = std::env::var("SENSOR_REQUIRE").unwrap_or_default();
    assert!(!demanded.split(',').any(|name| name.trim() == tier), "SENSOR_REQUIRE demands {tier}, but: {reason}");
    println!("SKIP {tier}: {reason}");
}
