//! An array of the kernel in this process's memory.

use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::ptr::NonNull;

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Map, MapData};
use sensor_common::plain::Plain;

/// Elements of a mapped array. While it is read or written nothing else runs the packet path on it.
pub(super) struct Mapped<T> {
    memory: NonNull<T>,
    elements: usize,
    bytes: usize,
    /// Keeps the map.
    _map: MapData,
    _element: PhantomData<T>,
}

impl<T: Plain> Mapped<T> {
    /// Maps an array of `T`.
    ///
    /// # Errors
    /// If the map is no array, has other elements, or cannot be mapped.
    pub(super) fn new(map: Map, name: &str) -> Result<Self> {
        let Map::Array(data) = map else { bail!("{name} is no array") };
        let info = data.info().with_context(|| format!("ask for {name}"))?;
        ensure!(info.value_size() as usize == size_of::<T>(), "{name} has other elements");
        ensure!(size_of::<T>().is_multiple_of(8), "the kernel pads the elements of {name}");
        let elements = info.max_entries() as usize;
        let bytes = elements * size_of::<T>();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let memory = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, data.fd().as_fd().as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).with_context(|| format!("map {name} into memory"));
        }
        let memory = NonNull::new(memory.cast()).with_context(|| format!("{name} is mapped at 0"))?;
        Ok(Self { memory, elements, bytes, _map: data, _element: PhantomData })
    }
}

impl<T: Plain> Deref for Mapped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds as many elements until `self` goes, every bit pattern is a `T`, and the program
        // runs only inside calls of the executor that owns this.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.elements) }
    }
}

impl<T: Plain> DerefMut for Mapped<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.elements) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.bytes) };
    }
}
