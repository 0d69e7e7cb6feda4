//! The sensor's program on LRU hashes where a flood meets it, with the same settings as the sensor.

use anyhow::{Context, Result};
use aya::maps::Array;
use aya::programs::{ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use sensor_common::settings::{Settings, Sizes};
use sensor_common::{ABI_VERSION, capacity, names};

use crate::executor::kernel::Wire;
use crate::lab::address::{PLAIN_PORT, TLS_PORT};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lru.bpf.o"));
const PROGRAM: &str = "lru";
/// Buckets of each hash: so many that two entries hardly ever share one.
const BUCKETS: u32 = 1 << 31;
/// Places in each bucket of the arrays.
const WAYS: u32 = 8;

/// The loaded program with its tables.
pub(super) struct Lru {
    object: Ebpf,
}

impl Lru {
    pub(super) fn load() -> Result<Self> {
        let mut object = EbpfLoader::new().load(OBJECT).context("create the LRU tables")?;
        let program: &mut Xdp = object.program_mut(PROGRAM).context("the object has it")?.try_into()?;
        program.load().context("load the program on LRU hashes")?;
        let mut services: Array<_, u64> = object.map_mut(names::SERVICES).context("SERVICES")?.try_into()?;
        for port in [TLS_PORT, PLAIN_PORT] {
            let index = u32::from(port >> 6);
            let word = services.get(&index, 0)?;
            services.set(index, word | 1 << (port & 63), 0)?;
        }
        let mut settings: Array<_, Wire<Settings>> = object.map_mut(names::SETTINGS).context("SETTINGS")?.try_into()?;
        settings.set(0, Wire(wanted()), 0)?;
        Ok(Self { object })
    }

    pub(super) fn program(&self) -> Result<ProgramFd> {
        let program: &Xdp = self.object.program(PROGRAM).context("the object has it")?.try_into()?;
        Ok(program.fd()?.try_clone()?)
    }
}

fn wanted() -> Settings {
    Settings {
        seed: 0x5eed,
        abi_version: ABI_VERSION,
        enforce: 1,
        relay_gap_us: 25_000,
        relay_gap_rtt_percent: 25,
        events_per_s: 50_000,
        reserved: 0,
        sizes: Sizes {
            regions: 1,
            traffic: BUCKETS,
            half_open: BUCKETS,
            sources: capacity::RECORDS / WAYS,
            networks: capacity::NETWORKS / WAYS,
            connections: capacity::CONNECTIONS / WAYS,
        },
    }
}
