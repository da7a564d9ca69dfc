//! Does the name lead to the gateway: at each resolver, and for programs on this host?

use std::net::IpAddr;

use super::super::facts::{Answer, Asked, Lookup};
use super::cure::{cure, hosts_lines, name_of};
use super::detour::detour;
use super::kinds::{Form, is_behind_stub, is_stub};
use super::view::{Leads, Verdict, View, list};
use super::{Finding, Level};

/// Services of nsswitch.conf(5) that ask a resolver.
const ASKING: [&str; 2] = ["dns", "resolve"];

pub(super) fn findings(view: &View<'_>) -> Vec<Finding> {
    let verdicts: Vec<(&Asked, Verdict)> =
        view.facts.resolvers.iter().map(|asked| (asked, view.verdict(asked))).collect();
    let by_file = view.all_home(&view.facts.hosts);
    let is_good =
        |asked: &Asked, verdict: &Verdict| matches!(verdict, Verdict::Good(_)) && !is_behind_stub(asked);
    let any_good = verdicts.iter().any(|(asked, verdict)| is_good(asked, verdict));
    let mut findings = Vec::new();
    if verdicts.is_empty() {
        findings.push(Finding::left_out("resolver", "asking resolvers: /etc/resolv.conf names none"));
    }
    for (asked, verdict) in &verdicts {
        // The stub sends the name where it has to go, whatever its other servers would say.
        let routed = any_good && is_behind_stub(asked);
        let spare = matches!(verdict, Verdict::Mute(_)) && any_good;
        let worst = if by_file || routed || spare { Level::Warning } else { Level::Problem };
        findings.push(resolver(view, asked, verdict).at_most(worst));
        findings.extend(alone(view, asked, verdict));
    }
    findings.extend(
        disagreement(&verdicts).map(|one| one.at_most(if by_file { Level::Warning } else { Level::Problem })),
    );
    findings.push(system(view, any_good));
    findings
}

fn resolver(view: &View<'_>, asked: &Asked, verdict: &Verdict) -> Finding {
    let name = name_of(asked);
    let zone = &view.facts.zone;
    if let Some(finding) = detour(view, asked, verdict) {
        return finding;
    }
    match verdict {
        Verdict::Good(addresses) => {
            Finding::ok("resolver", format!("the resolver {name} leads to {}", list(addresses)))
        }
        Verdict::Mute(why) => {
            Finding::problem("resolver-silent", format!("the resolver {name} does not answer: {why}"))
                .because(format!("it is down, or something between refuses DNS; {} names it", asked.origin))
                .fix(["start it, or hand out another by DHCP: each lookup waits for it first"])
        }
        Verdict::Emptied => {
            rebinding(view, asked, format!("the resolver {name} says that {zone} has no address"))
        }
        Verdict::Stripped(left) => {
            let what =
                format!("the resolver {name} tells only the public addresses of {zone}: {}", list(left));
            rebinding(view, asked, what)
        }
        Verdict::NoName => missing(view, asked, format!("the resolver {name} does not know {zone}")),
        Verdict::Elsewhere(to) => {
            let what = format!("the resolver {name} leads to {}, where no gateway is", list(to));
            missing(view, asked, what)
        }
        Verdict::Leaks(to) => Finding::problem(
            "aaaa-leak",
            format!("the resolver {name} leads past the gateway by IPv6, to {}", list(to)),
        )
        .because("it answers A by itself and asks the public DNS for AAAA; computers with IPv6 take that")
        .fix(cure(view, asked, Form::Own)),
        Verdict::Mixed(to) => {
            let what = format!("the resolver {name} names, beside the gateway, {}, where none is", list(to));
            Finding::problem("other-addresses", what)
                .because(
                    "an old record, or a second recipe, is still there; \
                        computers take any of the addresses",
                )
                .fix(cure(view, asked, Form::Own))
        }
        Verdict::Bogus => Finding::problem(
            "dnssec",
            format!("the resolver {name} has an answer, and does not believe it (SERVFAIL)"),
        )
        .because(
            "it validates DNSSEC, and the gateway's answer is not \
                what the public zones above are signed for",
        )
        .fix(cure(view, asked, Form::Forward)),
        Verdict::Denied => denied(view, asked),
        Verdict::Broken => Finding::problem(
            "resolver-fails",
            format!("the resolver {name} cannot find {zone} out (SERVFAIL)"),
        )
        .because(
            "the server that it asks for the name does not answer: \
                the gateway's DNS, or the network's line",
        )
        .fix(cure(view, asked, Form::Own)),
        Verdict::Refuses(code) => refuses(view, asked, code),
    }
}

/// A stub refuses what it has nobody to ask for.
fn refuses(view: &View<'_>, asked: &Asked, code: &str) -> Finding {
    let name = name_of(asked);
    let finding = |what| Finding::problem("resolver-refuses", what);
    if is_stub(asked) && !view.facts.resolvers.iter().any(is_behind_stub) {
        return finding(format!("the resolver {name} has no servers to ask ({code})"))
            .because("neither DHCP nor resolved.conf gives it one")
            .fix(cure(view, asked, Form::Own));
    }
    finding(format!("the resolver {name} does not answer this host ({code})"))
        .because("it serves other networks, or only zones of its own")
        .fix(["let it serve this network, or hand out another by DHCP"])
}

/// A gateway that was handed out as the resolver, and answers for its own name only.
fn alone(view: &View<'_>, asked: &Asked, verdict: &Verdict) -> Option<Finding> {
    // A gateway does not say what it is; any other resolver's silence about other names is not ours to judge.
    let is_gateway = view.gateways.contains(&asked.server.ip()) && asked.software.is_none();
    // systemd-resolved asks all of its servers, and takes the answer of one that has it.
    let knows_others = |one: &Asked| one.other.as_ref().is_some_and(|other| !other.addresses().is_empty());
    let mut beside = view.facts.resolvers.iter().filter(|one| is_behind_stub(one));
    if is_behind_stub(asked) && beside.any(knows_others) {
        return None;
    }
    let alone = is_gateway && matches!(verdict, Verdict::Good(_)) && asked.other == Some(Answer::Refused);
    alone.then(|| {
        let what = format!("the resolver {} answers for this name, and refuses all others", name_of(asked));
        Finding::problem("forward-missing", what)
            .because(
                "it is a gateway without [dns] forward, or one that \
                does not take this for a private network",
            )
            .fix([
                "on the gateway, in [dns], with the address of the resolver that was handed out before:",
                "forward = [\"192.168.7.1\"]",
                "or hand out a resolver again that knows all names, \
                    with a recipe: open-registry setup --list",
            ])
    })
}

fn rebinding(view: &View<'_>, asked: &Asked, what: String) -> Finding {
    let seen = view.facts.authorities.iter().find(|own| !own.addresses().is_empty());
    let cause = match seen {
        Some(own) => format!(
            "it removes private addresses from answers, against \
                DNS rebinding: the gateway itself says {}",
            list(&own.addresses())
        ),
        None => "most likely it removes private addresses from answers, against DNS rebinding".to_owned(),
    };
    // Where the gateway answers DNS, the resolver asks it already, and the exception is what is missing.
    let form = if seen.is_some() { Form::Forward } else { Form::Own };
    Finding::problem("rebinding-filter", what).because(cause).fix(cure(view, asked, form))
}

fn denied(view: &View<'_>, asked: &Asked) -> Finding {
    let what = format!("the resolver {} answers SERVFAIL, though the gateway answers itself", name_of(asked));
    Finding::problem("rebinding-filter", what)
        .because("deny-answer-addresses refuses private addresses, or it cannot reach the gateway's DNS")
        .fix(cure(view, asked, Form::Own))
}

fn missing(view: &View<'_>, asked: &Asked, what: String) -> Finding {
    Finding::problem("forwarder-missing", what)
        .because("nothing tells it of the gateway, so it asked the public DNS")
        .fix(cure(view, asked, Form::Own))
}

/// Computers ask any of their resolvers, at any time.
fn disagreement(verdicts: &[(&Asked, Verdict)]) -> Option<Finding> {
    let direct = || verdicts.iter().filter(|(asked, _)| !is_behind_stub(asked));
    let (good, _) = direct().find(|(_, verdict)| matches!(verdict, Verdict::Good(_)))?;
    let (bad, _) = direct().find(|(_, verdict)| !matches!(verdict, Verdict::Good(_) | Verdict::Mute(_)))?;
    let what =
        format!("two resolvers disagree: {} leads to the gateway, {} does not", name_of(good), name_of(bad));
    Some(
        Finding::problem("second-resolver", what)
            .because("computers ask any of their resolvers at any time, so some requests go past the gateway")
            .fix([
                format!("hand out {} alone by DHCP (or in {})", good.server.ip(), good.origin),
                format!("or give {} the same recipe, as above", bad.server.ip()),
            ]),
    )
}

/// What programs get, and where that is not what a resolver says, what stands between.
fn system(view: &View<'_>, any_good: bool) -> Finding {
    let zone = &view.facts.zone;
    let found = view.found();
    if view.all_home(found) {
        return Finding::ok("name", format!("for programs on this host, {zone} is {}", list(found)));
    }
    let what = match &view.facts.system {
        Lookup::Failed(error) => format!("programs on this host do not find {zone}: {error}"),
        Lookup::Found(addresses) if addresses.is_empty() => {
            format!("programs on this host find no address for {zone}")
        }
        Lookup::Found(addresses) => {
            format!("programs on this host are led to {}, not only to the gateway", list(addresses))
        }
    };
    let wrong: Vec<IpAddr> =
        view.facts.hosts.iter().copied().filter(|ip| view.leads(*ip) == Leads::Elsewhere).collect();
    if !wrong.is_empty() {
        return Finding::problem("hosts-file", what)
            .because("/etc/hosts names another address, and is asked before any resolver")
            .fix(hosts_lines(zone, &wrong));
    }
    let services = &view.facts.services;
    if !services.is_empty() && !services.iter().any(|service| ASKING.contains(&service.as_str())) {
        return Finding::problem("nsswitch", what)
            .because(format!(
                "the line hosts: of /etc/nsswitch.conf asks no resolver, only: {}",
                services.join(" ")
            ))
            .fix(["write in /etc/nsswitch.conf:", "hosts: files dns"]);
    }
    match any_good {
        false => {
            Finding::problem("name", what).because("no resolver of this host leads to the gateway, see there")
        }
        true => Finding::problem("bypass", what)
            .because(
                "a resolver leads to the gateway, but the answer came from \
                another one, from a cache (nscd), or from a VPN's own DNS",
            )
            .fix(["empty the caches (resolvectl flush-caches; nscd -i \
                hosts), and look once more with the VPN off"]),
    }
}
