//! Lists of prefixes: in parts they hold what they hold as a whole.

use sensor::control::bulk;
use sensor::control::protocol::{Bulk, Deed};

pub(crate) fn run(input: &[u8]) {
    let Ok(lines) = std::str::from_utf8(input) else { return };
    let (reason, ttl_s) = (String::new(), None);
    let list = Bulk {
        deed: Deed::Block,
        lines: lines.to_owned(),
        first_line: 1,
        reason,
        ttl_s,
        force: false,
        skip_bad: true,
        check: true,
    };
    let whole: Vec<_> = bulk::read(&list).collect();
    let parts: Vec<_> = bulk::parts(&list).flat_map(|part| bulk::read(&part).collect::<Vec<_>>()).collect();
    assert_eq!(whole, parts);
}
