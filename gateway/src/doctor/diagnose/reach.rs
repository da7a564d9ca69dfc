//! Is the gateway where the name leads, with a certificate that holds, and does it reach upstream?

use super::super::facts::{Behind, Distrust, Door};
use super::view::{Leads, View};
use super::{Finding, Level};

/// From how many seconds on a clock is wrong: certificates and age gates of clients go by it.
const LARGEST_SKEW_S: i64 = 5 * 60;
/// From how many days on a certificate is to be renewed. Those that last 90 days are renewed at 30.
const LAST_DAYS: i64 = 14;

pub(super) fn findings(view: &View<'_>) -> Vec<Finding> {
    let doors = view.facts.doors.iter().filter(|door| view.leads(door.address.ip()) == Leads::Home);
    let mut findings: Vec<Finding> = doors.clone().flat_map(|door| of_door(view, door)).collect();
    findings.extend(upstream(view));
    findings.extend(home(view));
    findings.extend(clock(view));
    findings
}

fn of_door(view: &View<'_>, door: &Door) -> Vec<Finding> {
    let address = door.address;
    let mut findings = vec![match &door.behind {
        Behind::Gateway { version, .. } => {
            Finding::ok("gateway", format!("at {address} is an open-registry gateway ({version})"))
        }
        Behind::Untrusted(why) => distrusted(view, door, why),
        Behind::Nobody(why) => absent(door, why),
        Behind::Other(what) => {
            Finding::problem("port-taken", format!("at {address} is no gateway, but {what}"))
                .because("another program has the port, or the address is another machine's now")
                .fix([format!(
                    "stop it, or move the gateway to its own address; \
                        then correct the name's address ({})",
                    address.ip()
                )])
        }
    }];
    // Where upstream was tried from here, it is told once.
    findings.extend(without_upstream(door).filter(|_| view.facts.upstream.is_none()));
    if let Some(days) = door.certificate_days.filter(|days| *days < LAST_DAYS) {
        findings.push(
            Finding::warning("certificate", format!("the certificate at {address} ends in {days} days"))
                .because("whoever renews it has not done so")
                .fix(["put the new files where [tls] names them; they are read without a restart"]),
        );
    }
    findings
}

/// The gateway's own word for it, in its index.
fn without_upstream(door: &Door) -> Option<Finding> {
    let down = matches!(&door.behind, Behind::Gateway { upstream, .. } if upstream == "down");
    down.then(|| {
        Finding::warning(
            "upstream",
            format!("the gateway at {} does not reach the npm registry", door.address),
        )
        .because("its line to the Internet, or the registry, is down; it serves what it holds")
        .fix(["on the gateway: open-registry doctor"])
    })
}

fn absent(door: &Door, why: &str) -> Finding {
    let (address, port) = (door.address, door.address.port());
    match door.instead {
        Some(other) => Finding::problem(
            "port-missing",
            format!("the gateway at {} answers on port {other}, not on {port}", address.ip()),
        )
        .because(format!("clients that were given the name alone come to port {port}"))
        .fix([
            format!(
                "on the gateway: systemctl enable --now open-registry-http.socket, or \
                        listen = [\"0.0.0.0:{port}\", \"[::]:{port}\"] in [http]"
            ),
            format!("or write the port into the clients' configuration: http://…:{other}/"),
        ]),
        None => Finding::problem("gateway-down", format!("nobody answers at {address}: {why}"))
            .because(
                "the gateway does not run or listens elsewhere, a firewall is \
                between, or the address is not its own any more",
            )
            .fix([
                "on the gateway: systemctl status open-registry; open-registry doctor".to_owned(),
                format!("let its firewall pass port {port} from this network"),
            ]),
    }
}

fn distrusted(view: &View<'_>, door: &Door, why: &Distrust) -> Finding {
    let (zone, what) =
        (&view.facts.zone, format!("the certificate at {} does not hold: {why}", door.address));
    let finding = Finding::problem("certificate", what);
    match why {
        Distrust::Issuer => finding
            .because("it comes from an authority of this site, which clients have to be told of")
            .fix([
                "open-registry setup npm --ca FILE  (likewise pnpm, yarn, \
                bun, deno; FILE: the authority's certificate)",
                "and look again with: open-registry doctor --ca FILE",
            ]),
        Distrust::Time => finding
            .because("it was not renewed, or the clock of this host is wrong")
            .fix(["put a new certificate where [tls] names it; it is read without a restart"]),
        Distrust::Name => finding
            .because("it was made for another name")
            .fix([format!("have one made for {zone}, and put it where [tls] names it")]),
        Distrust::Other(_) => finding
            .because("the library that checks certificates refuses it")
            .fix([format!("have one made for {zone} with an authority that clients trust")]),
    }
}

fn upstream(view: &View<'_>) -> Option<Finding> {
    let upstream = view.facts.upstream.as_ref()?;
    let host = upstream.url.host_str().unwrap_or_default();
    let through_home = view.facts.home.as_ref().is_some_and(|home| home.outcome.is_ok());
    let finding = match &upstream.outcome {
        Ok(()) => Finding::ok("upstream", format!("upstream ({host}) answers this host")),
        Err(why) => {
            Finding::problem("upstream", format!("upstream ({host}) does not answer this host: {why}"))
                .because(
                    "the line to the Internet is down, a firewall is between, or its \
                name is not found; the gateway serves what it holds",
                )
                .fix([
                    format!("curl -v {}", upstream.url),
                    "behind a registry of the company: url in \
                [upstream]; with no line at all: offline = true"
                        .to_owned(),
                ])
        }
    };
    // Whoever follows another gateway may have no way of its own.
    Some(if through_home { finding.at_most(Level::Warning) } else { finding })
}

fn home(view: &View<'_>) -> Option<Finding> {
    let home = view.facts.home.as_ref()?;
    let contact = &home.contact;
    Some(match &home.outcome {
        Ok(()) => Finding::ok("home", format!("upstream is asked through home ({contact})")),
        Err(why) => Finding::warning("home", format!("home ({contact}) is not asked: {why}"))
            .because("it is not there, has another id, shares nothing, or a firewall is between; upstream is asked directly")
            .fix(["on home: open-registry status, whose lines `contact` say what federation.home can be here"]),
    })
}

fn clock(view: &View<'_>) -> Option<Finding> {
    let of_doors = view.facts.doors.iter().filter_map(|door| Some((door.ahead_s?, door.address.to_string())));
    let of_upstream =
        view.facts.upstream.iter().filter_map(|one| Some((one.ahead_s?, "upstream".to_owned())));
    let (ahead_s, whose) = of_upstream.chain(of_doors).max_by_key(|(ahead_s, _)| ahead_s.abs())?;
    if ahead_s.abs() <= LARGEST_SKEW_S {
        return Some(Finding::ok(
            "clock",
            format!("the clock agrees with that of {whose}, within {} s", ahead_s.abs() + 1),
        ));
    }
    let side = if ahead_s > 0 { "behind" } else { "ahead of" };
    let minutes = ahead_s.abs() / 60;
    Some(
        Finding::problem(
            "clock",
            format!("the clock of this host is {minutes} minutes {side} that of {whose}"),
        )
        .because(
            "one of the two is not set by NTP; certificates and the age gates of clients go by the clock",
        )
        .fix(["timedatectl set-ntp true"]),
    )
}
