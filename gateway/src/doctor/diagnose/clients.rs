//! Are this user's clients pointed at the gateway, and does nothing send them elsewhere?

use url::{Host, Url};

use super::super::facts::Setting;
use super::Finding;
use super::view::View;

pub(super) fn findings(view: &View<'_>) -> Vec<Finding> {
    let clients = &view.facts.clients;
    let mut findings = Vec::new();
    if clients.npm.is_empty() && clients.yarn.is_empty() {
        let hint = format!(
            "this user's clients: none is pointed at a registry; npm config set registry {}/",
            view.url()
        );
        findings.push(Finding::left_out("client", hint));
    }
    findings.extend(clients.npm.first().map(|setting| registry(view, "npm", setting)));
    findings.extend(clients.yarn.first().map(|setting| registry(view, "yarn", setting)));
    findings.extend(plain_http(view));
    findings.extend(proxy(view));
    findings
}

/// The setting that wins.
fn registry(view: &View<'_>, client: &str, setting: &Setting) -> Finding {
    let place = &setting.place;
    let Ok(url) = setting.value.parse::<Url>() else {
        return Finding::warning("client", format!("{place} gives {client} a registry that is no address"))
            .fix([format!("write {}/ there", view.url())]);
    };
    if is_ours(view, &url) {
        return Finding::ok("client", format!("{client} is pointed at the gateway, by {place}"));
    }
    let host = url.host_str().unwrap_or_default();
    Finding::warning("client", format!("{client} goes to {host}, not to the gateway"))
        .because(format!("{place} says so, and wins over any other setting"))
        .fix([format!("write {}/ there, or remove it", view.url())])
}

fn is_ours(view: &View<'_>, url: &Url) -> bool {
    let zone = &view.facts.zone;
    match url.host() {
        Some(Host::Domain(name)) => {
            name == zone
                || name == format!("direct.{zone}")
                || name == "localhost"
                || Some(name) == view.facts.url.host_str()
        }
        Some(Host::Ipv4(v4)) => v4.is_loopback() || view.gateways.contains(&v4.into()),
        Some(Host::Ipv6(v6)) => v6.is_loopback() || view.gateways.contains(&v6.into()),
        None => false,
    }
}

fn plain_http(view: &View<'_>) -> Option<Finding> {
    let clients = &view.facts.clients;
    let url: Url = clients.yarn.first()?.value.parse().ok()?;
    (url.scheme() == "http" && is_ours(view, &url) && !clients.yarn_accepts_http).then(|| {
        let host = url.host_str().unwrap_or_default();
        Finding::problem("client", format!("yarn will refuse {host} over plain http"))
            .because("yarn 2 and later uses plain http only with hosts that it was told of")
            .fix(["write in .yarnrc.yml:".to_owned(), format!("unsafeHttpWhitelist: [\"{host}\"]")])
    })
}

fn proxy(view: &View<'_>) -> Option<Finding> {
    let proxy = view.facts.clients.proxy.as_ref()?;
    let host = view.facts.url.host_str().unwrap_or_default();
    Some(
        Finding::warning("proxy", format!("clients ask a proxy for {host}, because of {}", proxy.place))
            .because(
                "the proxy looks the name up by itself, elsewhere, and \
                seldom reaches a gateway of this network",
            )
            .fix([format!("add {host} to NO_PROXY (npm: noproxy={host} in .npmrc)")]),
    )
}
