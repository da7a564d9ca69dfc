//! Promise: what `open-registry setup` prints is accepted by the program that it is for.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::lan::{NameServer, Office, ZONE};
use harness::{Gateway, binary, in_own_network};

/// Gateways with IPv4 alone, with IPv6 alone, and with several addresses.
const SITES: [&[&str]; 3] = [&["192.168.7.9"], &["fd00::9"], &["192.168.7.9", "192.168.7.10", "fd00::9"]];

#[test]
fn dnsmasq_accepts_its_recipes() {
    for recipe in ["dnsmasq", "dnsmasq-forward", "pihole", "networkmanager", "dhcp-dnsmasq"] {
        for site in SITES {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("open-registry.conf");
            fs::write(&file, setup(recipe, site)).unwrap();
            let file = format!("--conf-file={}", file.display());
            accepted(recipe, tool("dnsmasq").args(["--test", "--stop-dns-rebind", &file]));
        }
    }
}

#[test]
fn unbound_accepts_its_recipes() {
    for recipe in ["unbound", "unbound-forward", "opnsense", "pfsense-forward"] {
        for site in SITES {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("unbound.conf");
            let main = "server:\n    chroot: \"\"\n    username: \"\"\n    private-address: 192.168.0.0/16\n";
            fs::write(&file, format!("{main}{}", setup(recipe, site))).unwrap();
            accepted(recipe, tool("unbound-checkconf").arg(&file));
        }
    }
}

#[test]
fn bind_accepts_its_recipes() {
    for site in SITES {
        let folder = tempfile::tempdir().unwrap();
        let (zone, own) = (folder.path().join("db.open-registry"), folder.path().join("named.conf"));
        fs::write(&zone, setup("bind-zone", site)).unwrap();
        let lines = setup("bind", site).replace("/etc/bind/db.open-registry", zone.to_str().unwrap());
        fs::write(&own, lines).unwrap();
        accepted("bind", tool("named-checkconf").arg("-z").arg(&own));

        // The forwarding recipe asks for these two entries in the options that are there already.
        let recipe = setup("bind-forward", site);
        let validate = "validate-except { \"registry.open-registry.dev\"; }";
        let except = "except-from { \"registry.open-registry.dev\"; }";
        assert!(recipe.contains(validate) && recipe.contains(except), "{recipe}");
        let options =
            format!("options {{ {validate}; deny-answer-addresses {{ 192.168.0.0/16; }} {except}; }};\n");
        fs::write(&own, options + &recipe).unwrap();
        accepted("bind-forward", tool("named-checkconf").arg(&own));
    }
}

#[test]
fn shells_accept_the_recipes_that_are_commands() {
    let commands = ["openwrt", "openwrt-forward", "dhcp-openwrt", "technitium", "systemd-resolved", "vlt"];
    for recipe in commands {
        for site in SITES {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("recipe.sh");
            fs::write(&file, setup(recipe, site)).unwrap();
            accepted(recipe, tool("sh").arg("-n").arg(&file));
        }
    }
}

/// What OpenWrt makes of its lists for dnsmasq (`/etc/init.d/dnsmasq` there).
fn as_openwrt_would(recipe: &str) -> String {
    let option = |line: &str| {
        let (key, value) = line.strip_prefix("uci add_list dhcp.@dnsmasq[0].")?.split_once('=')?;
        let value = value.trim_matches('\'');
        Some(match key {
            "rebind_domain" => format!("rebind-domain-ok=/{value}/\n"),
            key => format!("{key}={value}\n"),
        })
    };
    recipe.lines().filter_map(option).collect()
}

#[test]
fn openwrts_dnsmasq_leads_to_the_gateway_despite_its_protection_and_never_past_it_by_ipv6() {
    let test = "openwrts_dnsmasq_leads_to_the_gateway_despite_its_protection_and_never_past_it_by_ipv6";
    in_own_network(test, &[], || {
        let office = Office::new(&[]);
        let own = office.server.v4().to_string();
        let toml =
            format!("[zone]\naddresses = [\"{own}\"]\n[dns]\nlisten = [\"{}\"]\n", office.server.at(53));
        let builder = Gateway::builder().upstream("http://127.0.0.1:9").config_toml(&toml);
        let _gateway = office.server.run(|| builder.listen(office.server.at(80)).start());
        for recipe in ["openwrt", "openwrt-forward"] {
            let options = as_openwrt_would(&setup(recipe, &[&own]));
            assert!(options.contains(ZONE), "{recipe}: {options}");
            let others = office.public_dns.for_dnsmasq(false);
            let protected = format!("{others}stop-dns-rebind\n{options}");
            let router = NameServer::dnsmasq(&office.router, &protected);
            assert_eq!(office.laptop.dig(&["A", ZONE]).to_string(), format!("NOERROR {own}"), "{recipe}");
            assert_eq!(office.laptop.dig(&["AAAA", ZONE]).to_string().trim(), "NOERROR", "{recipe}");
            assert_eq!(office.laptop.dig(&["A", "www.open-registry.dev"]).status, "NOERROR", "{recipe}");
            let past = format!("forwarded {ZONE} to {}", office.public_dns.address());
            assert!(router.log().iter().all(|line| !line.contains(&past)), "{recipe}: {:#?}", router.log());
            let asked = format!("forwarded www.open-registry.dev to {}", office.public_dns.address());
            assert!(router.log().iter().any(|line| line.contains(&asked)), "{recipe}: {:#?}", router.log());
        }
    });
}

/// The lines of a recipe for DHCP that belong into the file of one family.
fn of_family(recipe: &str, is_v6: bool, v6: &str) -> String {
    let lines = recipe.lines().filter(|line| !line.starts_with('#') && line.contains(v6) == is_v6);
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn isc_dhcpd_accepts_its_recipe() {
    for site in SITES {
        let recipe = setup("dhcp-isc", site);
        for (flag, subnet) in
            [("-4", "subnet 192.168.7.0 netmask 255.255.255.0"), ("-6", "subnet6 fd00::/64")]
        {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("dhcpd.conf");
            let lines = of_family(&recipe, flag == "-6", "dhcp6.");
            fs::write(&file, format!("{subnet} {{\n{lines}}}\n")).unwrap();
            accepted("dhcp-isc", tool("dhcpd").args(["-t", flag, "-cf"]).arg(&file));
        }
        assert_eq!(of_family(&recipe, false, "dhcp6.").is_empty(), site == SITES[1], "{recipe}");
    }
}

#[test]
fn kea_accepts_its_recipe() {
    for site in SITES {
        let recipe = setup("dhcp-kea", site);
        for (server, part, subnet) in [("kea-dhcp4", "4", "192.168.7.0/24"), ("kea-dhcp6", "6", "fd00::/64")]
        {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("kea.conf");
            let option = of_family(&recipe, part == "6", "dns-servers");
            let leases = "\"lease-database\": { \"type\": \"memfile\", \"persist\": false }";
            let subnet = format!("{{ \"subnet\": \"{subnet}\", \"option-data\": [ {option} ] }}");
            let config = format!("{{ \"Dhcp{part}\": {{ {leases}, \"subnet{part}\": [ {subnet} ] }} }}");
            fs::write(&file, config).unwrap();
            accepted("dhcp-kea", tool(server).arg("-t").arg(&file));
        }
    }
    let recipe = setup("dhcp-kea", SITES[2]);
    let data = ["192.168.7.9,192.168.7.10", "fd00::9"].map(|data| format!("\"data\": \"{data}\""));
    assert!(data.iter().all(|data| recipe.contains(data)), "{recipe}");
}

#[test]
fn systemd_resolved_gets_the_gateway_for_this_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = setup("systemd-resolved", SITES[2])
        .replace("/etc/", &format!("{}/", folder.path().display()))
        .replace("systemctl restart", "true");
    accepted("systemd-resolved", tool("sh").arg("-ec").arg(recipe));
    let read = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
    let addresses = "DNS=192.168.7.9\nDNS=192.168.7.10\nDNS=fd00::9\n";
    let expected = format!("[Resolve]\n{addresses}Domains=~registry.open-registry.dev\n");
    assert_eq!(read("systemd/resolved.conf.d/open-registry.conf"), expected);
    let anchors = read("dnssec-trust-anchors.d/open-registry.negative");
    assert!(anchors.starts_with("registry.open-registry.dev\nhome.arpa\n"), "{anchors}");
}

#[test]
fn what_is_printed_is_the_lines_alone_and_what_was_assumed_goes_elsewhere() {
    let output = run(&["setup", "dnsmasq-forward", "--address", "192.168.7.9"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("note: the gateway must answer DNS"));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(lines.lines().all(|line| line.starts_with('#') || line.contains("/registry.open-registry.dev/")));
}

#[test]
fn an_unknown_name_or_a_wrong_address_is_an_error_that_says_what_to_do() {
    for (arguments, words) in [
        (["setup", "dnsmask"], "did you mean \"dnsmasq\"?"),
        (["setup", "--address=router"], "invalid"),
        (["setup", "--address=0.0.0.0"], "leads nowhere"),
        (["setup", "--address=fe80::9"], "leads nowhere"),
        (["doctor", "--gateway=224.0.0.251"], "leads nowhere"),
        (["setup", "--url=registry"], "write it like http://registry.example.com"),
    ] {
        let output = run(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let commands = [
        &["setup", "--list"][..],
        &["setup", "hosts", "--address=192.168.7.9"],
        &["setup"],
        &["config"],
        &["check"],
    ];
    for arguments in commands {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = Command::new(binary()).args(arguments).env_clear().stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("error"), "{arguments:?}: {said}");
    }
}

fn setup(recipe: &str, addresses: &[&str]) -> String {
    let addresses = addresses.iter().map(|address| format!("--address={address}"));
    let arguments: Vec<String> =
        ["setup".to_owned(), recipe.to_owned()].into_iter().chain(addresses).collect();
    let output = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{recipe}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn run(arguments: &[&str]) -> Output {
    let nowhere = Path::new("/nonexistent");
    Command::new(binary()).args(arguments).env_clear().env("HOME", nowhere).output().unwrap()
}

/// A command, also one that is for administrators.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).stdin(Stdio::null());
    command
}

fn accepted(recipe: &str, command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/install"));
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{recipe}: {command:?} said\n{said}");
}
