//! A resolver that is not the network's own: it cannot know of the gateway, and no recipe reaches it.

use std::net::IpAddr;

use resolver::links::Class;

use super::super::facts::Asked;
use super::Finding;
use super::cure::name_of;
use super::kinds::{is_behind_stub, is_stub};
use super::view::{Verdict, View};

/// What helps one computer, whatever its resolver.
const ON_THIS_HOST: &str = "or name the gateway on this host: open-registry setup hosts";

/// What leads this host past its network, where it does not lead to the gateway.
pub(super) fn detour(view: &View<'_>, asked: &Asked, verdict: &Verdict) -> Option<Finding> {
    let lost = matches!(verdict, Verdict::NoName | Verdict::Elsewhere(_) | Verdict::Emptied);
    let ip = asked.server.ip();
    let resolved = view.facts.resolved.as_ref();
    let over_tls = resolved.and_then(|resolved| resolved.dns_over_tls.as_deref());
    let over_tls = over_tls.is_some_and(|setting| setting != "no");
    let behind = is_behind_stub(asked);
    match lost {
        false if over_tls && is_stub(asked) && matches!(verdict, Verdict::Mute(_)) => Some(encrypted(asked)),
        true if over_tls && behind => Some(encrypted(asked)),
        true if Class::of(ip) == Class::Public && !view.gateways.contains(&ip) => Some(public(asked)),
        true if ip.is_loopback() && !behind && !is_stub(asked) && asked.software.is_none() => Some(local(ip)),
        _ => None,
    }
}

fn encrypted(asked: &Asked) -> Finding {
    let what = match is_stub(asked) {
        true => "systemd-resolved asks over TLS alone, and gets no answer".to_owned(),
        false => {
            format!("systemd-resolved asks {} over TLS, which does not lead to the gateway", name_of(asked))
        }
    };
    Finding::problem("encrypted-dns", what)
        .because("with DNSOverTLS= in resolved.conf, this host asks a resolver of its own past the network's")
        .fix([
            "remove DNSOverTLS= and DNS= from /etc/systemd/resolved.conf;",
            "then: systemctl restart systemd-resolved",
            ON_THIS_HOST,
        ])
}

fn public(asked: &Asked) -> Finding {
    let name = name_of(asked);
    let what = format!("this host asks the public resolver {name}, which does not lead to the gateway");
    Finding::problem("public-resolver", what)
        .because(format!("{} names it beside, or instead of, the network's own resolver", asked.origin))
        .fix([
            "hand out the network's own resolver alone by DHCP, and no other on this host",
            ON_THIS_HOST,
            "or, if it is this network's own, give it a recipe: open-registry setup --list",
        ])
}

fn local(ip: IpAddr) -> Finding {
    let what = format!("a program on this host answers DNS at {ip}, and does not lead to the gateway");
    Finding::problem("local-stub", what)
        .because("as those for DNS over HTTPS or TLS do, it asks servers of its own choice")
        .fix(["have it ask the network's resolver for this name, or remove it", ON_THIS_HOST])
}
