//! Checks of the interface: whether it is there and free, and what it costs per frame.

use super::Check;
use super::facts::{Facts, Interface};
use crate::exit::Code;

/// Longest frames that drivers take in one page with room in front and behind; longer ones need a driver that hands
/// XDP programs frames in parts.
const PAGE_MTU: u64 = 3_498;

/// Drivers with XDP of their own, by module name; kernel sources, Linux 6.12 (`ndo_bpf` with `XDP_SETUP_PROG`).
const NATIVE_DRIVERS: [&str; 38] = [
    "am65-cpsw-nuss",
    "atlantic",
    "bnxt_en",
    "cpsw",
    "cpsw-switch",
    "dpaa2-eth",
    "ena",
    "fec",
    "fsl_dpa",
    "fsl_enetc",
    "funeth",
    "gve",
    "hv_netvsc",
    "i40e",
    "iavf",
    "ice",
    "icssg-prueth",
    "idpf",
    "igb",
    "igc",
    "ionic",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_core",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "nicvf",
    "octeontx2-nicpf",
    "qede",
    "rvu_nicpf",
    "sfc",
    "stmmac",
    "tsnep",
    "virtio_net",
    "vmxnet3",
];

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let Some(interface) = &facts.interface else {
        return vec![Check::warn(
            "interface",
            "no interface is named: nothing about it was checked",
            "give --interface NAME, or `interface = \"NAME\"` in the configuration; `ip link` lists them",
        )];
    };
    if let Some(failure) = &interface.missing {
        return vec![Check::failure("interface", failure)];
    }
    vec![state(interface), program(interface), driver(interface), mtu(interface), queues(interface, facts.cpus)]
}

fn state(interface: &Interface) -> Check {
    let Interface { name, state, .. } = interface;
    if interface.is_loopback {
        return Check::warn(
            "interface",
            format!("{name} is the loopback"),
            "clients from outside do not come this way",
        );
    }
    match state.as_str() {
        "up" => Check::ok("interface", format!("{name} is up")),
        // Virtual ones often do not know.
        "unknown" => Check::ok("interface", format!("{name} is there, whether up is not known to it")),
        _ => Check::warn("interface", format!("{name} is {state}"), format!("ip link set dev {name} up")),
    }
}

fn program(interface: &Interface) -> Check {
    let name = &interface.name;
    match &interface.occupant {
        None => Check::ok("program", format!("no XDP program is on {name}")),
        Some(found) if found.is_sensor && found.is_native => {
            Check::ok("program", format!("the sensor is on {name}, in native mode"))
        }
        Some(found) if found.is_sensor => Check::warn(
            "program",
            format!("the sensor is on {name}, in generic mode: frames cost more"),
            "`sensor status` says why; `sensor run --mode native` insists",
        ),
        Some(found) => Check::fail("program", Code::Busy, found.busy.error.clone(), found.busy.hint.clone()),
    }
}

fn driver(interface: &Interface) -> Check {
    let name = &interface.name;
    let is_attached = interface.occupant.as_ref().is_some_and(|found| found.is_sensor && found.is_native);
    match interface.driver.as_deref() {
        Some(driver) if is_attached => Check::ok("driver", format!("{driver} runs the program in the driver")),
        Some(driver) if NATIVE_DRIVERS.contains(&driver) => Check::ok("driver", format!("{driver} has native XDP")),
        Some(driver) => Check::warn(
            "driver",
            format!("{driver} is not known to have native XDP: generic mode costs several times as much per frame"),
            "`sensor run --mode native` finds out; other hardware, or a newer driver, may have it",
        ),
        None if is_attached => Check::ok("driver", format!("{name} is virtual and runs the program in its driver")),
        None => Check::ok("driver", format!("{name} is virtual; veth and tun have native XDP")),
    }
}

fn mtu(interface: &Interface) -> Check {
    match interface.mtu {
        Some(mtu) if mtu <= PAGE_MTU => Check::ok("mtu", format!("frames of up to {mtu} bytes fit into one page")),
        Some(mtu) => Check::warn(
            "mtu",
            format!("frames of up to {mtu} bytes do not fit into one page: not every driver has native XDP then"),
            format!("`sensor run --mode native` finds out; `ip link set dev {} mtu {PAGE_MTU}` helps", interface.name),
        ),
        None => Check::warn("mtu", "the largest frame size cannot be read", "look whether /sys is mounted"),
    }
}

fn queues(interface: &Interface, cpus: u32) -> Check {
    let (name, queues) = (&interface.name, interface.receive_queues);
    if queues >= cpus as usize || interface.is_loopback {
        return Check::ok("queues", format!("{queues} receive queue(s) for {cpus} CPU(s)"));
    }
    Check::warn(
        "queues",
        format!("{queues} receive queue(s) for {cpus} CPUs: the others take no part in receiving"),
        format!("`ethtool -L {name} combined {cpus}`, if the device has as many (`ethtool -l {name}`)"),
    )
}
