//! The event ring as an asynchronous source of connection records.

use std::io;

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use sensor_common::event::ConnectionEvent;
use sensor_common::names;
use sensor_common::plain::Plain;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{KernelError, Records};

/// Records taken in one go at most, so that the tick is never starved.
const BATCH: usize = 4_096;

/// The ring, registered with the runtime.
pub struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
    /// Records whose length was not that of a [`ConnectionEvent`].
    malformed: u64,
}

impl Ring {
    /// Takes the ring out of a loaded object. Must be called within a tokio runtime.
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, KernelError> {
        let doing = "open the event ring";
        let map = object.take_map(names::EVENTS).ok_or_else(|| KernelError::new(doing, "not in the object"))?;
        let ring = RingBuf::try_from(map).map_err(|error| KernelError::new(doing, error))?;
        // SAFETY: the ring owns its descriptor, keeps it open as long as it lives, and always gives the same one.
        let registered = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = registered.map_err(|error| KernelError::new(doing, error))?;
        Ok(Self { ring, malformed: 0 })
    }
}

impl Records for Ring {
    async fn next(&mut self) -> io::Result<Vec<ConnectionEvent>> {
        loop {
            let mut guard = self.ring.readable_mut().await?;
            let mut records = Vec::new();
            let ring = guard.get_inner_mut();
            let mut drained = false;
            while records.len() < BATCH {
                let Some(record) = ring.next() else {
                    drained = true;
                    break;
                };
                match ConnectionEvent::from_bytes(&record) {
                    Some(event) => records.push(event),
                    None => self.malformed = self.malformed.saturating_add(1),
                }
            }
            if drained {
                guard.clear_ready();
            }
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }
}
