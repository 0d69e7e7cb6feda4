//! Loads the XDP program and hangs it on an interface: by one pinned link, replaced in one step, never displacing
//! another program.

use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use sensor_common::names;
use sensor_common::settings::Sizes;

use super::maps::Maps;
use super::pin::{Earlier, Pins};
use super::probe::{self, Occupant};
use super::refusal;
use super::size::{Capacity, cpus, shapes};
use super::{Attachment, KernelError, Ring, XdpMode};
use crate::exit::{Code, Failure};

/// The built eBPF object, as it is loaded.
pub static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sensor.bpf.o"));

/// Which mode the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeChoice {
    /// Native, and if that is not to be had generic.
    #[default]
    Auto,
    Native,
    Generic,
}

/// An interface that is this process's, with nothing in the kernel yet.
pub struct Claimed {
    pins: Pins,
    interface: String,
    index: u32,
    sizes: Sizes,
    /// Whether the pinned link of an earlier run holds a program on the interface.
    linked: bool,
}

/// The program in the kernel, not attached yet.
pub struct Loaded {
    object: Ebpf,
    pins: Pins,
    interface: String,
    index: u32,
    linked: bool,
}

/// Keeps the interface to this process. Dropping it leaves program and rules in force.
pub struct Hold {
    _pins: Pins,
    interface: String,
    index: u32,
    program_id: u32,
}

impl Hold {
    /// What is wrong, if the program no longer hangs on the interface.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let advice = "nothing is seen or refused: `sensor detach`, then start again";
        if !probe::interface_index(&self.interface).is_ok_and(|index| index == self.index) {
            return Some(format!("interface {} is gone; {advice}", self.interface));
        }
        match probe::occupant(self.index) {
            Ok(Some(occupant)) if occupant.program_id == self.program_id => None,
            Ok(_) => Some(format!("the program is no longer attached to {}; {advice}", self.interface)),
            // Not an answer: the next look will tell.
            Err(_) => None,
        }
    }
}

impl Claimed {
    /// Checks the host, takes the interface's lock, and looks at what an earlier run left there.
    ///
    /// # Errors
    /// Exit code 4 for what the host lacks, 6 if the interface is taken.
    pub fn claim(bpffs: &Path, interface: &str, capacity: &Capacity) -> Result<Self, Failure> {
        let index = probe::interface_index(interface)?;
        probe::host()?;
        let sizes = capacity.sizes(cpus());
        let pins = Pins::open(bpffs, interface, &sizes)?;
        let linked = match (linked_program(&pins)?, probe::occupant(index)?) {
            (Some(ours), Some(occupant)) if occupant.program_id == ours => true,
            (_, Some(occupant)) => return Err(probe::busy(interface, &occupant)),
            (Some(_), None) => {
                tracing::warn!(
                    interface,
                    "the link of an earlier run holds an interface that is gone: a new one is made"
                );
                pins.drop_link()?;
                false
            }
            (None, None) => false,
        };
        Ok(Self { pins, interface: interface.to_owned(), index, sizes, linked })
    }

    /// Loads program and tables; the tables are ready to be written. Those of an earlier run are taken over if their
    /// layout and capacity are what this daemon wants, and their seed the stored one (`None`: any). Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// Exit code 4 for what the host lacks.
    pub fn load(self, seed: Option<u64>) -> Result<(Loaded, Maps, Ring), Failure> {
        let Self { mut pins, interface, index, sizes, linked } = self;
        if let Some(seed) = seed {
            pins.expect_seed(seed);
        }
        let mut object = create_maps(&pins, &sizes)?;
        program(&mut object)?.load().map_err(|error| refusal::verifying(&error))?;
        let maps = Maps::take(&mut object, &sizes).map_err(internal)?;
        let ring = Ring::take(&mut object).map_err(internal)?;
        Ok((Loaded { object, pins, interface, index, linked }, maps, ring))
    }
}

impl Loaded {
    /// Whether tables of an earlier run were taken over.
    #[must_use]
    pub fn reused(&self) -> bool {
        *self.pins.earlier() == Earlier::Same
    }

    /// Attaches the program, in the place of an earlier run's if there is one.
    ///
    /// # Errors
    /// Exit code 6 if another program came first, 4 if the mode asked for is not to be had.
    pub fn attach(self, choice: ModeChoice) -> Result<(Attachment, Hold), Failure> {
        let reused = self.reused();
        let Self { mut object, pins, interface, index, linked } = self;
        let mut warnings = Vec::new();
        let program = program(&mut object)?;
        let fallback = if linked {
            let standing = probe::occupant(index)?.map(|occupant| occupant.mode);
            let fallback = keep_mode(&interface, choice, standing)?;
            replace(program, &pins)?;
            fallback
        } else {
            attach_new(program, &pins, &interface, index, choice)?
        };
        if let Earlier::Other(why) = pins.earlier() {
            pins.promote_next()?;
            warnings.push(format!("counters and connections of the earlier run were not taken over: {why}"));
        }
        let Some(Occupant { program_id, mode, .. }) = probe::occupant(index)? else {
            return Err(Failure::new(Code::Runtime, format!("nothing is attached to {interface} after all"), REPORT));
        };
        let hold = Hold { _pins: pins, interface: interface.clone(), index, program_id };
        Ok((Attachment { interface, mode, fallback, reused, warnings }, hold))
    }
}

fn program(object: &mut Ebpf) -> Result<&mut Xdp, Failure> {
    let program = object.program_mut(names::PROGRAM).map(TryInto::try_into);
    match program {
        Some(Ok(program)) => Ok(program),
        _ => {
            Err(Failure::new(Code::Runtime, format!("the eBPF object has no XDP program `{}`", names::PROGRAM), REPORT))
        }
    }
}

const REPORT: &str = "this is a fault of the sensor: please report it";

fn internal(error: KernelError) -> Failure {
    Failure::new(Code::Runtime, error.to_string(), REPORT)
}

/// Creates the maps, or opens those of an earlier run.
fn create_maps(pins: &Pins, sizes: &Sizes) -> Result<Ebpf, Failure> {
    let folder = match pins.earlier() {
        Earlier::Nothing | Earlier::Same => pins.folder().to_owned(),
        Earlier::Other(why) => {
            tracing::warn!(
                why,
                "tables of an earlier run do not fit: its rules stay in force until the new ones are in place"
            );
            pins.clear_next()?;
            pins.next()
        }
    };
    let mut loader = EbpfLoader::new();
    for shape in shapes(sizes) {
        loader.map_pin_path(shape.name, folder.join(shape.name)).map_max_entries(shape.name, shape.entries);
    }
    loader.load(OBJECT).map_err(|error| refusal::loading(&error))
}

/// The program that the pinned link holds; `None` without a link.
fn linked_program(pins: &Pins) -> Result<Option<u32>, Failure> {
    let path = pins.link();
    if !path.exists() {
        return Ok(None);
    }
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(
            Code::Runtime,
            format!("{}: {error}", path.display()),
            "`sensor detach` takes away what an earlier run left",
        )
    };
    let link: FdLink = PinnedLink::from_pin(&path).map_err(|error| unreadable(&error))?.into();
    link.info().map(|info| Some(info.program_id())).map_err(|error| unreadable(&error))
}

/// Why the mode stays what it is; fails if another was asked for, since a link cannot change it.
fn keep_mode(interface: &str, choice: ModeChoice, standing: Option<XdpMode>) -> Result<Option<String>, Failure> {
    let other = |standing: &str| {
        Failure::new(
            Code::Busy,
            format!("the sensor of an earlier run is attached to {interface} in {standing} mode"),
            format!("a link cannot change its mode: `sensor detach --interface {interface}`, then start again"),
        )
    };
    match (choice, standing) {
        (ModeChoice::Native, Some(XdpMode::Generic)) => Err(other("generic")),
        (ModeChoice::Generic, Some(XdpMode::Native)) => Err(other("native")),
        (ModeChoice::Auto, Some(XdpMode::Generic)) => Ok(Some(
            "attached in generic mode by an earlier run; `sensor detach` and a new start try native again".into(),
        )),
        _ => Ok(None),
    }
}

/// Puts the program in the place of the one that the pinned link holds, without a frame in between.
fn replace(program: &mut Xdp, pins: &Pins) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::new(
            Code::Runtime,
            format!("the attached program could not be replaced: {}", refusal::chain(error)),
            "`sensor detach` removes the earlier one, then start again",
        )
    };
    let link: FdLink = PinnedLink::from_pin(pins.link()).map_err(|error| failed(&error))?.into();
    let link = XdpLink::try_from(link).map_err(|error| failed(&error))?;
    program.attach_to_link(link).map_err(|error| failed(&error))?;
    Ok(())
}

/// Attaches by a new link and pins it. Gives why native mode was not to be had, if it was tried.
fn attach_new(
    program: &mut Xdp,
    pins: &Pins,
    interface: &str,
    index: u32,
    choice: ModeChoice,
) -> Result<Option<String>, Failure> {
    let mut fallback = None;
    let attached = match choice {
        ModeChoice::Generic => program.attach_to_if_index(index, aya::programs::XdpMode::Skb),
        ModeChoice::Native => program.attach_to_if_index(index, aya::programs::XdpMode::Driver),
        ModeChoice::Auto => match program.attach_to_if_index(index, aya::programs::XdpMode::Driver) {
            Err(error) if !taken(&error) => {
                let reason = native_refused(&error);
                tracing::warn!(
                    interface,
                    reason,
                    "native XDP is not to be had: falling back to generic, which is slower"
                );
                fallback = Some(reason);
                program.attach_to_if_index(index, aya::programs::XdpMode::Skb)
            }
            result => result,
        },
    };
    let id = attached.map_err(|error| not_attached(interface, index, choice, &error))?;
    let path = pins.link();
    let unpinned = |error: &dyn std::error::Error| {
        Failure::new(
            Code::Runtime,
            format!("the link could not be pinned at {}: {}", path.display(), refusal::chain(error)),
            "the sensor needs a BPF file system and Linux 5.18; see --bpffs",
        )
    };
    let link: FdLink = program
        .take_link(id)
        .map_err(|error| unpinned(&error))
        .and_then(|link| link.try_into().map_err(|error| unpinned(&error)))?;
    link.pin(&path).map_err(|error| unpinned(&error))?;
    Ok(fallback)
}

fn taken(error: &ProgramError) -> bool {
    matches!(refusal::os_error(error), Some(libc::EBUSY | libc::EEXIST))
}

fn native_refused(error: &ProgramError) -> String {
    let why = match refusal::os_error(error) {
        Some(libc::EOPNOTSUPP) => "the driver has no native XDP",
        Some(libc::EINVAL) => "the driver refuses it as it is set up (MTU, LRO, ring or channel counts)",
        Some(libc::ENOMEM | libc::ENOSPC) => "the driver lacks queues or memory for it",
        _ => "the driver refuses it",
    };
    let cause =
        refusal::os_error(error).map(io::Error::from_raw_os_error).map(|e| format!(": {e}")).unwrap_or_default();
    format!("{why}{cause}")
}

fn not_attached(interface: &str, index: u32, choice: ModeChoice, error: &ProgramError) -> Failure {
    if taken(error)
        && let Ok(Some(occupant)) = probe::occupant(index)
    {
        return probe::busy(interface, &occupant);
    }
    if choice == ModeChoice::Native {
        return Failure::new(
            Code::Capability,
            format!("native XDP on {interface}: {}", native_refused(error)),
            "`--mode auto` falls back to generic mode, which works everywhere and is slower",
        );
    }
    let doing = format!("the program could not be attached to {interface}");
    refusal::os(&doing, refusal::os_error(error).unwrap_or(0), error)
}
