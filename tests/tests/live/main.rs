//! The shipped sensor before servers and clients that others wrote: counts are exact, and rules hit whom they name.

mod count;
mod evidence;
mod flood;
mod refuse;
