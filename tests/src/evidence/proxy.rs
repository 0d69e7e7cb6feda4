//! Relay software that others wrote, each on exit addresses of its own, as it is run by those who sell exits.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::job::Way;
use crate::lab::address::{RELAY_PORT, SERVER_V4, TLS_PORT};
use crate::lab::process::{Process, installed};
use crate::lab::{Lab, Role, tool, wait_until};

/// How long a relay may take to listen.
const READY: Duration = Duration::from_secs(15);

/// A relay program and how customers reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Relay {
    Danted,
    /// haproxy that forwards TCP.
    Haproxy,
    /// The lab's own, by CONNECT.
    Lab,
    Microsocks,
    Socat,
    Squid,
    Tinyproxy,
}

impl Relay {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Danted, Self::Haproxy, Self::Lab, Self::Microsocks, Self::Socat, Self::Squid, Self::Tinyproxy];

    /// The program's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Danted => "danted",
            Self::Haproxy => "haproxy",
            Self::Lab => "lab",
            Self::Microsocks => "microsocks",
            Self::Socat => "socat",
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
        }
    }

    /// Whether it is there.
    pub(crate) fn is_installed(self) -> bool {
        self == Self::Lab || installed(self.name())
    }

    pub(crate) fn way(self) -> Way {
        match self {
            Self::Danted | Self::Microsocks => Way::Socks5,
            Self::Lab | Self::Squid | Self::Tinyproxy => Way::Connect,
            Self::Haproxy | Self::Socat => Way::Forward,
        }
    }

    /// Starts it on one exit address, from which its connections leave too.
    pub(crate) fn start(self, lab: &Lab, exit: Ipv4Addr) -> Result<Process> {
        let name = format!("{}-{exit}", self.name());
        let file = lab.dir().join(format!("{name}.conf"));
        fs::write(&file, self.config(exit, &lab.dir())).with_context(|| format!("write {}", file.display()))?;
        // Squid wants one; nothing need be in it.
        fs::write(lab.dir().join("mime.conf"), "").context("write mime.conf")?;
        let mut command = self.command(lab, exit, &file)?;
        command.current_dir(lab.dir());
        let mut process = lab.spawn(Role::Exits, &name, command)?;
        let mut ended = false;
        let listens = || lab.space(Role::Exits).run(|| TcpStream::connect((exit, RELAY_PORT)).is_ok());
        let up = wait_until(READY, || {
            ended = process.ended().is_some();
            ended || listens()
        });
        if !up || ended {
            bail!("{} does not listen: {}", self.name(), process.log_tail(5));
        }
        Ok(process)
    }

    fn command(self, lab: &Lab, exit: Ipv4Addr, file: &Path) -> Result<Command> {
        let program = if self == Self::Lab { tool()? } else { self.name().into() };
        let mut command = Command::new(program);
        match self {
            Self::Danted => command.arg("-f").arg(file),
            Self::Haproxy => command.arg("-db").arg("-f").arg(file),
            Self::Lab => command.arg("relay").arg(file).arg("--ready").arg(lab.dir().join(format!("lab-{exit}"))),
            Self::Microsocks => {
                command.args(["-i", &exit.to_string(), "-p", &RELAY_PORT.to_string(), "-b", &exit.to_string()])
            }
            Self::Socat => command
                .arg(format!("TCP4-LISTEN:{RELAY_PORT},bind={exit},fork,reuseaddr"))
                .arg(format!("TCP4:{SERVER_V4}:{TLS_PORT},bind={exit}")),
            // The name keeps its shared memory apart from that of another.
            Self::Squid => {
                let [_, b, c, _] = exit.octets();
                command.args(["-n", &format!("exit{b}x{c}x{}", std::process::id()), "-N", "-f"]).arg(file)
            }
            Self::Tinyproxy => command.arg("-d").arg("-c").arg(file),
        };
        Ok(command)
    }

    fn config(self, exit: Ipv4Addr, dir: &Path) -> String {
        let dir = dir.display();
        match self {
            Self::Danted => format!(
                "logoutput: stderr\ninternal: {exit} port = {RELAY_PORT}\nexternal: {exit}\nclientmethod: none\n\
                 socksmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n\
                 client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\nsocks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n"
            ),
            Self::Haproxy => format!(
                "defaults\n mode tcp\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
                 frontend customers\n bind {exit}:{RELAY_PORT}\n default_backend server\n\
                 backend server\n source {exit}\n server one {SERVER_V4}:{TLS_PORT}\n"
            ),
            Self::Lab => format!("{exit}\n"),
            Self::Microsocks | Self::Socat => String::new(),
            Self::Squid => format!(
                "http_port {exit}:{RELAY_PORT}\ntcp_outgoing_address {exit}\nhttp_access allow all\ncache deny all\n\
                 access_log none\ncache_log /dev/null\ncache_store_log none\npid_filename none\npinger_enable off\n\
                 netdb_filename none\nvisible_hostname exit\nshutdown_lifetime 0 seconds\nmime_table {dir}/mime.conf\n\
                 error_directory {dir}\nicon_directory {dir}\ncoredump_dir {dir}\nunlinkd_program /bin/true\n\
                 logfile_daemon /bin/true\ncache_effective_user nobody\n"
            ),
            Self::Tinyproxy => format!("Port {RELAY_PORT}\nListen {exit}\nBind {exit}\nTimeout 60\nMaxClients 50\n"),
        }
    }
}
