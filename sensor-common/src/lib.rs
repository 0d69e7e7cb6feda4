#![no_std]
//! What both sides of the kernel boundary agree on, and the packet path itself.
