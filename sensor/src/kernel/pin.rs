//! Where the link and the maps are pinned: one folder per interface on a BPF file system, locked by whoever uses it.
//!
//! `<bpffs>/sensor/<interface>/link` and beside it every map by its name. The lock is on the folder itself, so that
//! nothing is left behind by a crash, and two daemons cannot disagree about where it is.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use sensor_common::settings::{Settings, Sizes};
use sensor_common::{ABI_VERSION, names};

use super::maps::Plainly;
use super::size::shapes;
use crate::exit::{Code, Failure};

/// The folder's name for the link.
const LINK: &str = "link";
/// Where maps stand until the program that uses them is attached.
const NEXT: &str = "next";

/// The folder of one interface, locked.
pub(super) struct Pins {
    folder: PathBuf,
    /// What was there when the lock was taken.
    earlier: Earlier,
    _lock: Flock<File>,
}

/// What an earlier run left in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    /// No maps.
    Nothing,
    /// Maps of this daemon's layout.
    Same,
    /// Maps of another layout, and in which way.
    Other(String),
}

/// What `sensor detach` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    /// Whether a link was there.
    pub link: bool,
    /// How many maps were there.
    pub maps: usize,
}

impl Pins {
    /// Makes the folder of an interface and locks it, mounting the BPF file system if need be.
    ///
    /// # Errors
    /// Exit code 6 if another sensor holds it, 4 without a BPF file system.
    pub(super) fn open(bpffs: &Path, interface: &str, sizes: &Sizes) -> Result<Self, Failure> {
        ensure_bpffs(bpffs)?;
        let folder = folder(bpffs, interface);
        // `sensor detach` may take the folder away between these steps; then it is made anew.
        for _ in 0..8 {
            fs::create_dir_all(&folder).map_err(|error| unusable(&folder, &error))?;
            if let Some(mut pins) = lock(&folder, interface)? {
                pins.earlier = look(&folder, sizes);
                return Ok(pins);
            }
        }
        Err(Failure::new(
            Code::Runtime,
            format!("{} keeps going away", folder.display()),
            "is `sensor detach` running in a loop?",
        ))
    }

    pub(super) fn link(&self) -> PathBuf {
        self.folder.join(LINK)
    }

    /// Where the maps of a program that is not attached yet are pinned.
    pub(super) fn next(&self) -> PathBuf {
        self.folder.join(NEXT)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What an earlier run left.
    pub(super) const fn earlier(&self) -> &Earlier {
        &self.earlier
    }

    /// Gives up the maps of an earlier run unless they are filled by this seed: where things stand follows from it.
    pub(super) fn expect_seed(&mut self, seed: u64) {
        let standing = settings(&self.folder).map_or(0, |settings| settings.seed);
        if self.earlier == Earlier::Same && standing != seed {
            self.earlier = Earlier::Other("they belong to another state directory".to_owned());
        }
    }

    /// Takes away a link whose interface is gone.
    pub(super) fn drop_link(&self) -> Result<(), Failure> {
        remove_file(&self.link()).map_err(|error| unusable(&self.link(), &error))
    }

    /// Makes an empty folder for the next program's maps.
    pub(super) fn clear_next(&self) -> Result<(), Failure> {
        let next = self.next();
        remove_folder(&next).and_then(|()| fs::create_dir(&next)).map_err(|error| unusable(&next, &error))
    }

    /// Puts the next program's maps in the place of the old ones. The old program must be gone from the link.
    pub(super) fn promote_next(&self) -> Result<(), Failure> {
        let next = self.next();
        for name in names::MAPS {
            let place = self.folder.join(name);
            remove_file(&place)
                .and_then(|()| fs::rename(next.join(name), &place))
                .map_err(|error| unusable(&place, &error))?;
        }
        remove_folder(&next).map_err(|error| unusable(&next, &error))
    }

    fn clear_maps(&self) {
        for name in names::MAPS {
            let _ = remove_file(&self.folder.join(name));
        }
    }
}

impl Drop for Pins {
    /// A start that came to nothing leaves nothing behind; what is attached, or was there before, stays.
    fn drop(&mut self) {
        if self.earlier == Earlier::Nothing && !self.link().exists() {
            self.clear_maps();
        }
        let _ = remove_folder(&self.next());
        let _ = fs::remove_dir(&self.folder);
    }
}

/// What an earlier run left in a folder, compared with what is wanted.
fn look(folder: &Path, sizes: &Sizes) -> Earlier {
    if !names::MAPS.iter().any(|name| folder.join(name).exists()) {
        return Earlier::Nothing;
    }
    // Layouts first: what is in a map of another version means nothing.
    match settings(folder) {
        Some(settings) if settings.abi_version == ABI_VERSION && settings.sizes != *sizes => {
            return Earlier::Other("the tables have another capacity".to_owned());
        }
        Some(Settings { abi_version: ABI_VERSION, .. }) => {}
        Some(Settings { abi_version: 0, .. }) => return Earlier::Other("an earlier start was cut short".to_owned()),
        Some(Settings { abi_version, .. }) => {
            return Earlier::Other(format!("layout version {abi_version}, this sensor has {ABI_VERSION}"));
        }
        None => return Earlier::Other("the settings have another layout".to_owned()),
    }
    for shape in shapes(sizes) {
        let name = shape.name;
        let info = match MapData::from_pin(folder.join(name)).and_then(|map| map.info()) {
            Ok(info) => info,
            Err(_) => return Earlier::Other(format!("map {name} is missing")),
        };
        let found = (info.key_size() as usize, info.value_size() as usize, info.max_entries());
        if found != (shape.key, shape.value, shape.entries) {
            return Earlier::Other(format!("map {name} has another layout"));
        }
    }
    Earlier::Same
}

/// The settings of an earlier run; `None` if they cannot be read, or are none of ours.
fn settings(folder: &Path) -> Option<Settings> {
    let map = Map::from_map_data(MapData::from_pin(folder.join(names::SETTINGS)).ok()?).ok()?;
    let settings: Array<MapData, Plainly<Settings>> = map.try_into().ok()?;
    settings.get(&0, 0).ok().map(|Plainly(settings)| settings)
}

/// Removes link, maps and pins of an interface. Nothing there is no error.
///
/// # Errors
/// Exit code 6 if a daemon runs on the interface; 1 if a pin cannot be removed.
pub fn detach(bpffs: &Path, interface: &str) -> Result<Detached, Failure> {
    let folder = folder(bpffs, interface);
    let mut done = Detached { link: false, maps: 0 };
    if !folder.is_dir() {
        return Ok(done);
    }
    let Some(pins) = lock(&folder, interface)? else { return Ok(done) };
    let unpin = |path: &Path| match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unusable(path, &error)),
    };
    // The link first: from here on no frame meets the program.
    done.link = unpin(&pins.link())?;
    for name in names::MAPS {
        done.maps += usize::from(unpin(&folder.join(name))?);
    }
    remove_folder(&pins.next()).map_err(|error| unusable(&folder, &error))?;
    drop(pins);
    // Shared with other interfaces: goes when the last of them does.
    let _ = fs::remove_dir(bpffs.join("sensor"));
    Ok(done)
}

/// Interfaces that have pins.
#[must_use]
pub fn pinned(bpffs: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(bpffs.join("sensor")) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().replace(':', "."));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The folder of an interface. The BPF file system takes no dots; interface names have no colons.
fn folder(bpffs: &Path, interface: &str) -> PathBuf {
    bpffs.join("sensor").join(interface.replace('.', ":"))
}

/// Locks a folder; `None` if it went away meanwhile.
fn lock(folder: &Path, interface: &str) -> Result<Option<Pins>, Failure> {
    let handle = match File::open(folder) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(folder, &error)),
    };
    let inode = handle.metadata().map_err(|error| unusable(folder, &error))?.ino();
    let lock = match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Err(held(interface, inode)),
        Err((_, error)) => return Err(unusable(folder, &error.into())),
    };
    let still_there = fs::metadata(folder).is_ok_and(|found| found.ino() == inode);
    // Whoever wants the maps looks what they are; as it is, dropping this takes none of them away.
    let earlier = Earlier::Other(String::new());
    Ok(still_there.then(|| Pins { folder: folder.to_owned(), earlier, _lock: lock }))
}

fn held(interface: &str, inode: u64) -> Failure {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let (who, stop) = match holder(&locks, inode) {
        Some(pid) => (format!(" (process {pid})"), format!("`kill -TERM {pid}`")),
        None => (String::new(), "SIGTERM".to_owned()),
    };
    Failure::new(
        Code::Busy,
        format!("a sensor{who} is already running on {interface}"),
        format!(
            "look at it with `sensor status`; to end it use `systemctl stop sensor` or {stop}: the rules stay in force \
             until they expire or `sensor detach` removes them"
        ),
    )
}

/// The process that holds a lock on an inode, from `/proc/locks`.
fn holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = fields.as_slice() else { return None };
        let found = file.rsplit(':').next()?.parse::<u64>().ok()?;
        (found == inode).then(|| pid.parse().ok()).flatten()
    })
}

/// Makes sure that a BPF file system is mounted there.
fn ensure_bpffs(path: &Path) -> Result<(), Failure> {
    let hint = |path: &Path| format!("as root: `mkdir -p {0} && mount -t bpf bpf {0}`", path.display());
    if !path.exists() {
        fs::create_dir_all(path).map_err(|error| {
            Failure::new(
                Code::Capability,
                format!("no BPF file system: {} cannot be made: {error}", path.display()),
                hint(path),
            )
        })?;
    }
    let found = statfs(path).map_err(|error| unusable(path, &error.into()))?;
    if found.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    mount(Some("bpf"), path, Some("bpf"), MsFlags::empty(), None::<&Path>).map_err(|error| {
        Failure::new(
            Code::Capability,
            format!("no BPF file system on {}, and mounting one failed: {error}", path.display()),
            hint(path),
        )
    })?;
    tracing::info!(path = %path.display(), "no BPF file system was mounted: mounted one");
    Ok(())
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    let kind = error.kind();
    let (exit, hint) = if kind == io::ErrorKind::PermissionDenied {
        (Code::Capability, "run as root, or mount a BPF file system that belongs to the sensor's user (--bpffs)")
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        (Code::Capability, "the BPF file system is read-only here; with systemd, name it in ReadWritePaths=")
    } else {
        (Code::Runtime, "is it a BPF file system? `stat -f` tells")
    };
    Failure::new(exit, format!("{}: {error}", path.display()), hint)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes a folder of pins; nothing there is no error.
fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(entries) => {
            for entry in entries {
                fs::remove_file(entry?.path())?;
            }
        }
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{folder, holder};

    #[test]
    fn names_of_interfaces_become_names_of_folders() {
        assert_eq!(folder(Path::new("/sys/fs/bpf"), "eth0"), Path::new("/sys/fs/bpf/sensor/eth0"));
        assert_eq!(folder(Path::new("/b"), "eth0.100"), Path::new("/b/sensor/eth0:100"));
    }

    #[test]
    fn the_holder_of_a_lock_is_found() {
        let locks = "1: POSIX  ADVISORY  WRITE 411 00:1a:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 9482 00:2f:78 0 EOF\n";
        assert_eq!(holder(locks, 78), Some(9482));
        assert_eq!(holder(locks, 77), None);
    }
}
