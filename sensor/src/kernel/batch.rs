//! Reads many entries of a hash table or trie by one system call: `BPF_MAP_LOOKUP_BATCH`, which aya lacks.
//!
//! The one place of the daemon that calls `bpf(2)` itself.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use sensor_common::plain::Plain;

/// `enum bpf_cmd` in linux/bpf.h.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// Entries asked for at once. A bucket with more makes the kernel ask for a larger buffer.
pub(super) const ENTRIES: usize = 4_096;

/// Entries asked for at once, at most.
const MOST_ENTRIES: usize = 1 << 20;

/// Some entries, and where to go on; `None`: there are no more.
pub(super) type Piece<K, V> = (Vec<(K, V)>, Option<K>);

/// The `batch` member of `union bpf_attr`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Every entry of a hash map whose keys are `K` and whose values are `V`. The caller has checked both sizes against
/// the map's. A sample: entries that come or go meanwhile may be missed.
///
/// # Errors
/// What the kernel says; `EINVAL` where the map type knows no batches.
pub(super) fn entries<K: Plain, V: Plain>(map: BorrowedFd<'_>) -> io::Result<Vec<(K, V)>> {
    let mut found = Vec::new();
    let mut size = ENTRIES;
    let mut keys = vec![0_u8; size * size_of::<K>()];
    let mut values = vec![0_u8; size * size_of::<V>()];
    // The kernel keeps a bucket number (u32) in it; a key's size is what it may write for other map types.
    let mut position = vec![0_u8; size_of::<K>().max(4)];
    let mut started = false;
    loop {
        let (count, result) = lookup(map, started.then_some(()), &mut position, &mut keys, &mut values, size);
        let done = match result {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && size < MOST_ENTRIES => {
                size *= 2;
                keys.resize(size * size_of::<K>(), 0);
                values.resize(size * size_of::<V>(), 0);
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        started = true;
        let pairs = keys.chunks_exact(size_of::<K>()).zip(values.chunks_exact(size_of::<V>()));
        found.extend(pairs.take(count).filter_map(|(key, value)| Some((K::from_bytes(key)?, V::from_bytes(value)?))));
        if done {
            return Ok(found);
        }
    }
}

/// The entries of a trie that follow `from`, or its first ones, at most [`ENTRIES`]; and where to go on, unless those
/// were the last. A trie begins again if `from` is gone. As for sizes and samples, see [`entries`].
///
/// # Errors
/// As [`entries`].
pub(super) fn piece<K: Plain, V: Plain>(map: BorrowedFd<'_>, from: Option<&K>) -> io::Result<Piece<K, V>> {
    let mut keys = vec![0_u8; ENTRIES * size_of::<K>()];
    let mut values = vec![0_u8; ENTRIES * size_of::<V>()];
    let mut position = from.map_or_else(|| vec![0_u8; size_of::<K>()], |key| key.as_bytes().to_vec());
    let started = from.map(|_| ());
    let (count, result) = loop {
        match lookup(map, started, &mut position, &mut keys, &mut values, ENTRIES) {
            (_, Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => break answer,
        }
    };
    let done = match result {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
        Err(error) => return Err(error),
    };
    let pairs = keys.chunks_exact(size_of::<K>()).zip(values.chunks_exact(size_of::<V>())).take(count);
    let found: Vec<(K, V)> =
        pairs.filter_map(|(key, value)| Some((K::from_bytes(key)?, V::from_bytes(value)?))).collect();
    let next = found.last().map(|(key, _)| *key).filter(|_| !done);
    Ok((found, next))
}

/// One call: how many entries came, and whether there is more (`ENOENT`: that was the last).
fn lookup(
    map: BorrowedFd<'_>,
    started: Option<()>,
    position: &mut [u8],
    keys: &mut [u8],
    values: &mut [u8],
    size: usize,
) -> (usize, io::Result<()>) {
    let position = position.as_mut_ptr() as u64;
    let mut attributes = Attributes {
        in_batch: started.map_or(0, |()| position),
        out_batch: position,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(size).unwrap_or(u32::MAX),
        map_fd: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
        ..Attributes::default()
    };
    // SAFETY: the attributes outlive the call and have the kernel's layout; `keys` and `values` hold `size` entries
    // of the map's key and value sizes, and `position` at least a key: the kernel writes no more than that.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_LOOKUP_BATCH,
            std::ptr::from_mut(&mut attributes),
            size_of::<Attributes>() as libc::c_long,
        )
    };
    // With ENOENT the count is that of the last entries; with any other error nothing was read.
    let error = (result < 0).then(io::Error::last_os_error);
    match error {
        None => (attributes.count as usize, Ok(())),
        Some(error) if error.raw_os_error() == Some(libc::ENOENT) => (attributes.count as usize, Err(error)),
        Some(error) => (0, Err(error)),
    }
}
