//! Builds the five namespaces and the links between them:
//! server ═veth═ net ═line═ users, and net ═line═ exits ═line═ harvester. Refuses to start processes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::Result;

use super::address::{GATEWAY_V4, GATEWAY_V6, HARVESTER, SERVER_V4, SERVER_V6, crowd, exit, user, user_v6};
use super::cleanup::LabId;
use super::namespace::Namespace;
use super::{LabPlan, Role};

/// The interface of the server that the sensor protects.
pub const SERVER_INTERFACE: &str = "eth0";
/// The router's end of the server's link: what it sent is the truth about packets towards the server.
pub const ROUTER_INTERFACE: &str = "server";

const SERVER_MAC: &str = "02:00:00:00:00:02";
const ROUTER_MAC: &str = "02:00:00:00:00:01";
/// The users' end of their veth, for all of their addresses: nothing has to be resolved.
const USERS_MAC: &str = "02:00:00:00:00:03";
/// The router's end of the users' veth.
const TO_USERS_MAC: &str = "02:00:00:00:00:04";
/// Packets that may wait in a TUN device for the delay line to read them.
const TUN_QUEUE: u32 = 5000;

/// A pair of TUN devices that the delay line joins.
#[derive(Debug)]
pub(crate) struct Joint {
    pub(crate) near: (Role, &'static str),
    pub(crate) far: (Role, &'static str),
}

/// Direct users and the router.
pub(crate) const USERS_JOINT: Joint = Joint { near: (Role::Users, "tun0"), far: (Role::Net, "users") };
/// Relay exits and the router.
pub(crate) const EXITS_JOINT: Joint = Joint { near: (Role::Exits, "tun0"), far: (Role::Net, "exits") };
/// Relay exits and their customer.
pub(crate) const HARVESTER_JOINT: Joint = Joint { near: (Role::Exits, "customer"), far: (Role::Harvester, "tun0") };

/// Creates the namespaces of `plan` and wires them up.
pub(crate) fn build(id: &LabId, plan: &LabPlan) -> Result<BTreeMap<Role, Namespace>> {
    let mut roles = vec![Role::Server, Role::Net, Role::Users];
    if plan.relays > 0 {
        roles.extend([Role::Exits, Role::Harvester]);
    }
    let mut spaces = BTreeMap::new();
    for role in roles {
        spaces.insert(role, Namespace::create(&id.namespace(role.name()))?);
    }
    let net = &spaces[&Role::Net];
    net.sysctl("ipv4/ip_forward", "1")?;
    net.sysctl("ipv6/conf/all/forwarding", "1")?;
    server_link(&spaces)?;
    if plan.distance.is_some() {
        users_by_line(&spaces, plan)?;
    } else {
        users_by_veth(&spaces, plan)?;
    }
    if plan.relays > 0 {
        exits(&spaces, plan)?;
    }
    Ok(spaces)
}

fn server_link(spaces: &BTreeMap<Role, Namespace>) -> Result<()> {
    let (server, net) = (&spaces[&Role::Server], &spaces[&Role::Net]);
    server.batch(&format!(
        "link set lo up\n\
         link add {SERVER_INTERFACE} address {SERVER_MAC} type veth peer name {ROUTER_INTERFACE} address {ROUTER_MAC} netns {}\n\
         link set {SERVER_INTERFACE} addrgenmode none\n\
         link set {SERVER_INTERFACE} up\n\
         addr add {SERVER_V4}/24 dev {SERVER_INTERFACE}\n\
         addr add {SERVER_V6}/64 dev {SERVER_INTERFACE} nodad\n\
         neigh add {GATEWAY_V4} lladdr {ROUTER_MAC} nud permanent dev {SERVER_INTERFACE}\n\
         neigh add {GATEWAY_V6} lladdr {ROUTER_MAC} nud permanent dev {SERVER_INTERFACE}\n\
         route add default via {GATEWAY_V4}\n\
         route add default via {GATEWAY_V6}\n",
        net.name()
    ))?;
    net.batch(&format!(
        "link set lo up\n\
         link set {ROUTER_INTERFACE} addrgenmode none\n\
         link set {ROUTER_INTERFACE} up\n\
         addr add {GATEWAY_V4}/24 dev {ROUTER_INTERFACE}\n\
         addr add {GATEWAY_V6}/64 dev {ROUTER_INTERFACE} nodad\n\
         neigh add {SERVER_V4} lladdr {SERVER_MAC} nud permanent dev {ROUTER_INTERFACE}\n\
         neigh add {SERVER_V6} lladdr {SERVER_MAC} nud permanent dev {ROUTER_INTERFACE}\n"
    ))
}

fn tun(name: &str) -> String {
    format!(
        "tuntap add mode tun name {name}\nlink set {name} addrgenmode none\nlink set {name} txqueuelen {TUN_QUEUE} up\n"
    )
}

fn own_addresses(addresses: impl Iterator<Item = IpAddr>, device: &str) -> String {
    let mut lines = String::new();
    for address in addresses {
        let suffix = if address.is_ipv6() { "/128 nodad" } else { "/32" };
        // Writing to a String cannot fail.
        let (bits, flags) = suffix.split_once(' ').unwrap_or((suffix, ""));
        let _ = writeln!(lines, "addr add {address}{bits} dev {device} {flags}");
    }
    lines
}

fn users_by_line(spaces: &BTreeMap<Role, Namespace>, plan: &LabPlan) -> Result<()> {
    let (_, near) = USERS_JOINT.near;
    let (_, far) = USERS_JOINT.far;
    spaces[&Role::Users].batch(&format!(
        "link set lo up\n{}{}route add default dev {near}\nroute add ::/0 dev {near}\n",
        tun(near),
        own_addresses(user_addresses(plan), near)
    ))?;
    spaces[&Role::Net].batch(&format!("{}{}", tun(far), user_routes(&format!("dev {far}"), &format!("dev {far}"))))
}

fn users_by_veth(spaces: &BTreeMap<Role, Namespace>, plan: &LabPlan) -> Result<()> {
    let (_, far) = USERS_JOINT.far;
    let (users, net) = (&spaces[&Role::Users], &spaces[&Role::Net]);
    users.batch(&format!(
        "link set lo up\n\
         link add eth0 address {USERS_MAC} type veth peer name {far} address {TO_USERS_MAC} netns {}\n\
         link set eth0 addrgenmode none\n\
         link set eth0 up\n\
         {}\
         neigh add 10.31.255.1 lladdr {TO_USERS_MAC} nud permanent dev eth0\n\
         neigh add 2001:db8:1fff::1 lladdr {TO_USERS_MAC} nud permanent dev eth0\n\
         route add default via 10.31.255.1 dev eth0 onlink\n\
         route add ::/0 via 2001:db8:1fff::1 dev eth0 onlink\n",
        net.name(),
        own_addresses(user_addresses(plan), "eth0")
    ))?;
    net.batch(&format!(
        "link set {far} addrgenmode none\n\
         link set {far} up\n\
         addr add 10.31.255.1/32 dev {far}\n\
         addr add 2001:db8:1fff::1/128 dev {far} nodad\n\
         neigh add 10.31.255.2 lladdr {USERS_MAC} nud permanent dev {far}\n\
         neigh add 2001:db8:1fff::2 lladdr {USERS_MAC} nud permanent dev {far}\n\
         {}",
        user_routes(&format!("via 10.31.255.2 dev {far} onlink"), &format!("via 2001:db8:1fff::2 dev {far} onlink"))
    ))
}

fn user_routes(way: &str, way_v6: &str) -> String {
    format!("route add 10.16.0.0/12 {way}\nroute add 10.96.0.0/12 {way}\nroute add 2001:db8:1000::/36 {way_v6}\n")
}

fn exits(spaces: &BTreeMap<Role, Namespace>, plan: &LabPlan) -> Result<()> {
    let (_, to_net) = EXITS_JOINT.near;
    let (_, from_net) = EXITS_JOINT.far;
    let (_, to_customer) = HARVESTER_JOINT.near;
    let (_, from_exits) = HARVESTER_JOINT.far;
    spaces[&Role::Exits].batch(&format!(
        "link set lo up\n{}{}{}route add default dev {to_net}\nroute add {HARVESTER}/32 dev {to_customer}\n",
        tun(to_net),
        tun(to_customer),
        own_addresses(exit_addresses(plan), to_net)
    ))?;
    spaces[&Role::Net].batch(&format!("{}route add 10.64.0.0/12 dev {from_net}\n", tun(from_net)))?;
    spaces[&Role::Harvester].batch(&format!(
        "link set lo up\n{}addr add {HARVESTER}/32 dev {from_exits}\nroute add 10.64.0.0/12 dev {from_exits} src {HARVESTER}\n",
        tun(from_exits)
    ))
}

/// All addresses of direct clients, the flash crowd's among them.
pub(crate) fn user_addresses(plan: &LabPlan) -> impl Iterator<Item = IpAddr> {
    let direct = (0..plan.users).map(|n| IpAddr::V4(user(n)));
    let v6 = (0..plan.users_v6).map(|n| IpAddr::V6(user_v6(n)));
    direct.chain(v6).chain((0..plan.crowd).map(|n| IpAddr::V4(crowd(n))))
}

/// All addresses of relay exits.
pub(crate) fn exit_addresses(plan: &LabPlan) -> impl Iterator<Item = IpAddr> {
    (0..plan.relays).map(|n| IpAddr::V4(exit(n)))
}
