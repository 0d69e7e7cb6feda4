//! What the kernel's tables take, as the kernel itself accounts for it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData};

/// A handle on every map of the object.
pub(super) struct Memory(Vec<OwnedFd>);

impl Memory {
    /// The maps of an object. To be called before they are taken out of it; one that gives no handle is left out.
    pub(super) fn of(object: &Ebpf) -> Self {
        let handle = |map: &Map| data(map)?.fd().as_fd().try_clone_to_owned().ok();
        Self(object.maps().filter_map(|(_, map)| handle(map)).collect())
    }

    /// Bytes of all of them now. Exact from Linux 6.4 on; before that the kernel estimates.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = |map: &OwnedFd| {
            let facts = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd())).unwrap_or_default();
            memlock(&facts).unwrap_or(0)
        };
        self.0.iter().map(bytes).sum()
    }
}

/// The bytes that the facts about a map's descriptor name.
fn memlock(facts: &str) -> Option<u64> {
    facts.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}

const fn data(map: &Map) -> Option<&MapData> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the object has maps of these types only")]
    match map {
        Map::Array(data) | Map::PerCpuArray(data) | Map::HashMap(data) | Map::LpmTrie(data) | Map::RingBuf(data) => {
            Some(data)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::memlock;

    #[test]
    fn the_kernels_account_is_read() {
        let facts = "pos:\t0\nmap_type:\t2\nmax_entries:\t1\nmemlock:\t4096\nmap_id:\t7\n";
        assert_eq!(memlock(facts), Some(4_096));
        assert_eq!(memlock("pos:\t0\n"), None);
    }
}
