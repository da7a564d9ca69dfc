//! NSD: the first site for everybody, without rate limiting.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Steered, write, zone_file};

pub(super) fn command(zone: &Steered, at: SocketAddr, folder: &Path) -> Command {
    write(&folder.join("zone"), &zone_file(zone, true));
    let (file, listen) = (folder.join("nsd.conf"), format!("{}@{}", at.ip(), at.port()));
    let folder = folder.display();
    let text = format!(
        "server:\n  ip-address: {listen}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n\
         \x20 xfrdfile: \"{folder}/xfrd\"\n  zonelistfile: \"{folder}/list\"\n  xfrdir: \"{folder}\"\n  pidfile: \"\"\n\
         \x20 rrl-ratelimit: 0\n  server-count: 1\n\
         remote-control:\n  control-enable: no\n\
         zone:\n  name: {}\n  zonefile: zone\n",
        zone.zone
    );
    write(&file, &text);
    let mut command = Command::new("nsd");
    command.arg("-d").arg("-c").arg(file);
    command
}
