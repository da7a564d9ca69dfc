//! Promise: systemd-resolved asks the gateway by its recipe, also where it validates, and forgets it by the same one.
//!
//! Each test boots a container. Where that cannot be done it says what it leaves out.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use harness::lan::ZONE;
use harness::{Container, Gateway, binary};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);
const OWN: &str = "192.168.7.9";
const ANCHOR: &str = "/etc/dnssec-trust-anchors.d/open-registry.negative";

/// A container whose only resolver is systemd-resolved, which validates and has nobody to ask, and a gateway in its
/// network; `None` says what is left out.
#[expect(clippy::print_stderr, reason = "what is left out has to be seen")]
fn computer(left_out: &str) -> Option<(Container, Gateway)> {
    let container = match Container::boot() {
        Ok(container) => container,
        Err(why) => {
            eprintln!("left out, for no container can be booted here ({why}): {left_out}");
            return None;
        }
    };
    container.run(&["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"]);
    container.run(&["ip", "address", "add", &format!("{OWN}/24"), "dev", "lan0"]);
    for link in ["lan0", "lan1"] {
        container.run(&["ip", "link", "set", link, "up"]);
    }
    container.write("/etc/systemd/resolved.conf.d/strict.conf", "[Resolve]\nDNSSEC=yes\n");
    container.run(&["ln", "-sfn", "/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf"]);
    container.write("/etc/nsswitch.conf", "hosts: files dns\n");
    fs::copy(binary(), container.root().join("usr/local/bin/open-registry")).unwrap();
    // It is restarted more often than administrators do.
    let often = "[Unit]\nStartLimitIntervalSec=0\n";
    container.write("/etc/systemd/system/systemd-resolved.service.d/often.conf", often);
    container.systemctl(&["daemon-reload"]);
    container.systemctl(&["restart", "systemd-resolved"]);
    let toml = format!("[zone]\naddresses = [\"{OWN}\"]\n[dns]\nlisten = [\"{OWN}:53\"]\n");
    let builder = Gateway::builder().upstream("http://127.0.0.1:9").config_toml(&toml);
    let address = format!("{OWN}:80").parse().unwrap();
    let gateway = container.place().run(|| builder.listen(address).start());
    Some((container, gateway))
}

fn recipe() -> String {
    let output = Command::new(binary())
        .env_clear()
        .args(["setup", "systemd-resolved", "--address", OWN])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the program for lookups says, which programs use.
fn hosts(computer: &Container) -> String {
    String::from_utf8(computer.try_run(&["getent", "hosts", ZONE]).stdout).unwrap()
}

/// What is wrong, each as topic and words, with the lines that mend it.
fn problems(computer: &Container) -> Vec<(String, Vec<String>)> {
    let said = computer.try_run(&["open-registry", "doctor", "--json", "--gateway", OWN]);
    let found: Value =
        serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = found["findings"].as_array().unwrap().iter().filter(|one| one["level"] == "problem");
    let fix = |one: &Value| one["fix"].as_array().unwrap().iter().map(text).collect();
    list.map(|one| (format!("{}: {}", text(&one["topic"]), text(&one["what"])), fix(one))).collect()
}

#[test]
fn its_recipe_leads_to_the_gateway_despite_validation_and_is_undone() {
    let Some((computer, _gateway)) = computer("systemd-resolved with its recipe") else { return };
    let recipe = recipe();
    assert_eq!(hosts(&computer), "");

    computer.run(&["sh", "-ec", &recipe]);
    assert!(computer.wait_until(|computer| hosts(computer).starts_with(OWN), SOON), "{}", status(&computer));
    // It asks for both families, and has just been started.
    let queried = |computer: &Container| {
        let output = computer.try_run(&["resolvectl", "query", ZONE]);
        String::from_utf8_lossy(&output.stdout).contains(&format!("{ZONE}: {OWN}"))
    };
    assert!(computer.wait_until(queried, SOON), "{}", status(&computer));
    is_well_but_for_other_names(&computer);
    // The file of exceptions takes the place of a list that is built in.
    let anchors = computer.run(&["journalctl", "--no-pager", "--output=cat", "--unit=systemd-resolved"]);
    let lists: Vec<BTreeSet<&str>> = anchors
        .lines()
        .filter_map(|line| line.strip_prefix("Negative trust anchors: "))
        .map(|list| list.split(' ').collect())
        .collect();
    let (first, last) = (lists.first().unwrap(), lists.last().unwrap());
    assert!(first.contains("168.192.in-addr.arpa") && !first.contains(ZONE), "{first:?}");
    assert_eq!(last.difference(first).copied().collect::<Vec<_>>(), [ZONE]);
    assert!(last.is_superset(first), "{last:?} leaves out some of {first:?}");

    // Without the exception, validation makes the answer fail: the recipe needs it.
    computer.run(&["rm", ANCHOR]);
    computer.systemctl(&["restart", "systemd-resolved"]);
    assert_eq!(hosts(&computer), "");
    computer.run(&["sh", "-ec", &recipe]);
    assert!(computer.wait_until(|computer| hosts(computer).starts_with(OWN), SOON), "{}", status(&computer));

    let undo: Vec<&str> = recipe.lines().filter_map(|line| line.strip_prefix("# Undo:")).collect();
    computer.run(&["sh", "-ec", &undo.join("\n")]);
    assert_eq!(hosts(&computer), "");
    assert!(!status(&computer).contains(OWN), "{}", status(&computer));
}

#[test]
fn doctor_says_that_it_has_nobody_to_ask_and_mends_it() {
    let Some((computer, _gateway)) = computer("systemd-resolved without servers") else { return };
    let found = problems(&computer);
    let (what, fix) = found.iter().find(|(what, _)| what.starts_with("resolver-refuses: ")).unwrap();
    assert!(what.contains("127.0.0.53 (systemd-resolved) has no servers to ask"), "{found:#?}");
    let lines = fix.iter().filter(|line| !line.starts_with("on ") && !line.starts_with('('));
    computer.run(&["sh", "-ec", &lines.map(|line| format!("{line}\n")).collect::<String>()]);
    assert!(computer.wait_until(|computer| hosts(computer).starts_with(OWN), SOON), "{}", status(&computer));
    is_well_but_for_other_names(&computer);
}

/// This computer has no resolver but the gateway, which does not forward.
fn is_well_but_for_other_names(computer: &Container) {
    let found = problems(computer);
    assert!(matches!(&found[..], [(what, _)] if what.starts_with("forward-missing: ")), "{found:#?}");
}

fn status(computer: &Container) -> String {
    computer.run(&["resolvectl", "status"])
}
