//! Types that cross the kernel boundary: fixed layout, no padding, every bit pattern valid.

/// A type whose bytes are its value: no padding, no invalid bit pattern, no pointer.
///
/// # Safety
/// Implementors promise that any sequence of `size_of::<Self>()` bytes is a valid value and that the type has no
/// padding. [`crate::plain!`] proves both at compile time; implement it in no other way.
pub unsafe trait Plain: Copy + 'static {
    /// The value's bytes, in memory order.
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: a `Plain` type has no padding, so every one of its bytes is initialised.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast::<u8>(), size_of::<Self>()) }
    }

    /// The value whose bytes these are; `None` unless there are exactly `size_of::<Self>()`.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: the length was checked, the read is unaligned, and every bit pattern is a valid `Self`.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }

    /// The value whose bytes are all zero.
    #[must_use]
    fn zeroed() -> Self {
        // SAFETY: every bit pattern is a valid `Self`.
        unsafe { core::mem::zeroed() }
    }
}

/// Copies a value word by word. On BPF a plain assignment becomes a call that copies byte by byte.
#[inline(always)]
pub(crate) fn copy<T: Plain>(from: &T, to: &mut T) {
    const { assert!(align_of::<T>() == 8) };
    let (from, to) = (core::ptr::from_ref(from).cast::<u64>(), core::ptr::from_mut(to).cast::<u64>());
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: both are valid, aligned and that many words long; a `Plain` type of alignment 8 is whole words.
        unsafe { to.add(word).write_volatile(from.add(word).read()) };
    }
}

/// Begins to fetch the cache line with a value's first byte, and waits for nothing: what is begun together takes the
/// time of one.
#[inline(always)]
pub(crate) fn fetch<T: Plain>(value: &T) {
    // SAFETY: a live value without padding. Volatile, or the compiler would leave out what nobody uses.
    unsafe { core::ptr::from_ref(value).cast::<u8>().read_volatile() };
}

macro_rules! plain_integers {
    ($($integer:ty),*) => {$(
        // SAFETY: integers have no padding and no invalid bit pattern.
        unsafe impl Plain for $integer {}
    )*};
}
plain_integers!(u8, u16, u32, u64, i8, i16, i32, i64);

// SAFETY: an array adds no padding between elements.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Declares structs that cross the kernel boundary.
///
/// Each becomes `repr(C)` and [`Plain`]; a field that is not plain, or a layout with padding, does not compile.
#[macro_export]
macro_rules! plain {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        const _: () = {
            const fn plain<T: $crate::plain::Plain>() -> usize { size_of::<T>() }
            assert!(0 $(+ plain::<$type>())* == size_of::<$name>(), "padding: reorder or add reserved fields");
        };

        // SAFETY: the assertion above shows that every field is plain and that there is no padding.
        unsafe impl $crate::plain::Plain for $name {}

        impl $name {
            /// Name, offset and size in bytes of every field, in declaration order: the layout test's input.
            pub const LAYOUT: &'static [(&'static str, usize, usize)] =
                &[$((stringify!($field), core::mem::offset_of!($name, $field), size_of::<$type>()),)*];
        }
    )*};
}
