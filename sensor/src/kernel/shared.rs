//! Kernel arrays mapped into this process, read and written without system calls.
//!
//! The one place of the daemon that maps memory. What is mapped is seen as atomics only: other CPUs change it at any
//! time, so nobody ever holds a reference to a plain value. Each type here is a boundary type with its integers made
//! atomic; the layouts are compared at compile time.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use sensor_common::connection::{Connection, ConnectionBucket, Tuple};
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::rule::Rule;
use sensor_common::stats::{NetworkBucket, NetworkStats, SourceBucket, SourceRecord};
use sensor_common::traffic::TrafficBucket;

/// A type made of atomics only, with the layout of a boundary type.
///
/// # Safety
/// Implementors promise that every bit pattern is a valid value and that all of it may change at any time. Their size
/// is a multiple of 8: the kernel pads the elements of an array to that.
pub(super) unsafe trait Cells: Sync + 'static {}

/// Declares the atomic twin of boundary types.
macro_rules! cells {
    ($($(#[$meta:meta])* $name:ident mirrors $plain:ty { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug)]
        pub(super) struct $name { $(pub(super) $field: $type,)* }

        const _: () = {
            const fn atomic<T: Atomic>() {}
            $(atomic::<$type>();)*
            assert!(size_of::<$name>() == size_of::<$plain>() && size_of::<$name>().is_multiple_of(8));
            $(assert!(std::mem::offset_of!($name, $field) == std::mem::offset_of!($plain, $field));)*
        };

        // SAFETY: every field is made of atomics, which the lines above check.
        unsafe impl Atomic for $name {}
        // SAFETY: as above; the size is checked there too.
        unsafe impl Cells for $name {}
    )*};
}

/// A type that consists of atomic integers.
///
/// # Safety
/// It must hold nothing else.
unsafe trait Atomic {}
// SAFETY: it is one.
unsafe impl Atomic for AtomicU32 {}
// SAFETY: it is one.
unsafe impl Atomic for AtomicU64 {}
// SAFETY: an array holds its elements and nothing else.
unsafe impl<T: Atomic, const N: usize> Atomic for [T; N] {}
// SAFETY: any 8 bytes are a value.
unsafe impl Cells for AtomicU64 {}

/// Words of what is never looked at.
const fn words<T>() -> usize {
    size_of::<T>() / 8
}

cells! {
    /// Four sources of one CPU.
    TrafficCells mirrors TrafficBucket {
        keys: [AtomicU64; 4],
        packets: [AtomicU32; 4],
        syns: [AtomicU32; 4],
        bytes: [AtomicU32; 4],
        seen: [AtomicU32; 4],
        dropped: [AtomicU32; 4],
        rules: [AtomicU32; 4],
    }
    /// Four attempts.
    AttemptCells mirrors HalfOpenBucket {
        tags: [AtomicU64; 4],
        isns: [AtomicU32; 4],
        times: [AtomicU32; 4],
    }
    /// A source that completed a handshake.
    RecordCells mirrors SourceRecord {
        first_seen_ns: AtomicU64,
        last_seen_ns: AtomicU64,
        second_start_ns: AtomicU64,
        minute_start_ns: AtomicU64,
        connections: AtomicU64,
        requests: AtomicU64,
        gap_samples: AtomicU64,
        gap_flagged: AtomicU64,
        second_connections: AtomicU32,
        minute_requests: AtomicU32,
    }
    /// Eight of them.
    SourceCells mirrors SourceBucket {
        keys: [AtomicU64; 8],
        records: [RecordCells; 8],
    }
    /// When a network was seen.
    SightCells mirrors NetworkStats {
        first_seen_ns: AtomicU64,
        last_seen_ns: AtomicU64,
    }
    /// Eight networks.
    NetworkCells mirrors NetworkBucket {
        keys: [AtomicU64; 8],
        records: [SightCells; 8],
    }
    /// Eight connections, of which only their places are looked at.
    ConnectionCells mirrors ConnectionBucket {
        tags: [AtomicU64; 8],
        keys: [AtomicU64; words::<[Tuple; 8]>()],
        records: [AtomicU64; words::<[Connection; 8]>()],
    }
    /// A prefix rule's terms.
    RuleCells mirrors Rule {
        expires_ns: AtomicU64,
        generation: AtomicU32,
        kind: AtomicU32,
    }
}

/// The elements of one array, mapped.
pub(super) struct Mapped<T: Cells> {
    start: NonNull<T>,
    length: usize,
    bytes: usize,
}

// SAFETY: it owns its mapping, and all there is to reach through it is atomic.
unsafe impl<T: Cells> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Cells> Sync for Mapped<T> {}

impl<T: Cells> Mapped<T> {
    /// Maps an array map (`BPF_F_MMAPABLE`) whose values are as large as `T`, which the caller has checked together
    /// with their number.
    ///
    /// # Errors
    /// What the kernel says; `EINVAL` for a map that cannot be mapped or is smaller.
    pub(super) fn of(map: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        Self::map(map.as_raw_fd(), libc::MAP_SHARED, length)
    }

    /// Plain memory of the same form: all zero, taken from the host as it is touched.
    #[cfg(test)]
    pub(super) fn anonymous(length: usize) -> Self {
        Self::map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, length).expect("there is memory for a test")
    }

    fn map(descriptor: i32, flags: i32, length: usize) -> io::Result<Self> {
        let bytes = size_of::<T>().checked_mul(length).filter(|bytes| *bytes > 0);
        let bytes = bytes.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of this process.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, descriptor, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<T>()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { start, length, bytes })
    }
}

impl<T: Cells> Deref for Mapped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `length` elements, starts on a page and lives as long as `self`; they are atomics,
        // valid whatever their bits, so that others may change them behind this shared reference.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T: Cells> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by this value, in this size, and no reference into it outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
