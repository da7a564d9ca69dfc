//! A recipe: a text with placeholders, which vanish with their line where they stand for nothing.

use std::net::IpAddr;

use resolver::peer::PeerId;
use url::Url;

/// The text of a file below `config/recipes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe(pub &'static str);

/// What the placeholders stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// `registry.example.com`
    pub zone: String,
    /// All of one class, see `resolver::links::Class`.
    pub gateways: Vec<IpAddr>,
    /// The registry's address for clients.
    pub url: Url,
    /// The file with the certificate authority for `url`.
    pub ca: Option<String>,
    /// Who the gateway is, and where its peers connect.
    pub peer: Option<(PeerId, u16)>,
}

/// How a comment begins in the languages of the recipes.
const COMMENTS: [&str; 2] = ["#", ";"];
/// How the first line of a recipe may begin before it says what it does.
const OPENINGS: [char; 6] = ['#', ';', '<', '!', '-', ' '];

impl Recipe {
    /// The whole text, filled in.
    #[must_use]
    pub fn render(self, values: &Values) -> String {
        self.0
            .lines()
            .flat_map(|line| values.fill(line))
            .fold(String::new(), |text, line| text + &line + "\n")
    }

    /// What it does, as its first line says it, without the name of what it is for.
    #[must_use]
    pub fn sentence(self) -> String {
        let first = self.0.lines().next().unwrap_or_default().trim_start_matches(OPENINGS);
        let sentence = first.split_once(": ").map_or(first, |(_, sentence)| sentence);
        sentence.replace("{zone}", "the name").trim_end_matches(['.', ';']).to_owned()
    }

    /// What it says behind one of its labels (`Where`), filled in, as far as that goes on one line.
    #[must_use]
    pub fn label(self, label: &str, values: &Values) -> Option<String> {
        let of_line = |line: &str| {
            let (name, text) = line.trim_start_matches(['#', ';', ' ']).split_once(':')?;
            (name == label).then(|| text.trim().to_owned())
        };
        self.0.lines().find_map(of_line).and_then(|text| values.fill(&text).into_iter().next())
    }

    /// The lines that do something, filled in.
    #[must_use]
    pub fn lines(self, values: &Values) -> Vec<String> {
        let is_comment = |line: &&str| COMMENTS.iter().any(|sign| line.trim_start().starts_with(sign));
        let active = self.0.lines().filter(|line| !is_comment(line));
        active.flat_map(|line| values.fill(line)).collect()
    }
}

impl Values {
    /// One line for each value that its placeholder has: none, one or several.
    fn fill(&self, line: &str) -> Vec<String> {
        let mut lines = vec![line.to_owned()];
        for (placeholder, values) in self.table() {
            if line.contains(placeholder) {
                let with =
                    |line: &String| values.iter().map(|value| line.replace(placeholder, value)).collect();
                lines = lines.iter().flat_map(|line| -> Vec<String> { with(line) }).collect();
            }
        }
        lines
    }

    /// Every placeholder with its values, as `config/recipes/README.md` describes them.
    fn table(&self) -> [(&'static str, Vec<String>); 12] {
        let v4 = self.addresses(IpAddr::is_ipv4);
        let v6 = self.addresses(IpAddr::is_ipv6);
        let all = self.addresses(|_| true);
        let host = self.url.host_str().unwrap_or_default().to_owned();
        let plain_host = (self.url.scheme() == "http").then_some(host);
        [
            ("{zone}", vec![self.zone.clone()]),
            ("{gateways4}", joined(&v4)),
            ("{gateways6}", joined(&v6)),
            ("{gateways}", joined(&all)),
            ("{gateway4}", v4),
            ("{gateway6}", v6),
            ("{gateway}", all),
            ("{url}", vec![self.url.as_str().trim_end_matches('/').to_owned()]),
            ("{plain_host}", plain_host.into_iter().collect()),
            ("{ca}", self.ca.iter().cloned().collect()),
            ("{id}", self.peer.iter().map(|(id, _)| id.to_string()).collect()),
            ("{peer_port}", self.peer.iter().map(|(_, port)| port.to_string()).collect()),
        ]
    }

    fn addresses(&self, wanted: impl Fn(&IpAddr) -> bool) -> Vec<String> {
        self.gateways.iter().filter(|address| wanted(address)).map(ToString::to_string).collect()
    }
}

/// A list is one value, and an empty list none.
fn joined(addresses: &[String]) -> Vec<String> {
    if addresses.is_empty() { Vec::new() } else { vec![addresses.join(",")] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(gateways: &[&str]) -> Values {
        Values {
            zone: "registry.example.com".into(),
            gateways: gateways.iter().map(|address| address.parse().unwrap()).collect(),
            url: "http://registry.example.com".parse().unwrap(),
            ca: None,
            peer: None,
        }
    }

    #[test]
    fn a_line_stands_once_for_each_address_and_not_at_all_without_one() {
        let recipe = Recipe("# {gateways6}\na={gateway4}\naaaa={gateway6}\n# end {zone}");
        let text = recipe.render(&values(&["192.168.7.9", "192.168.7.10"]));
        assert_eq!(text, "a=192.168.7.9\na=192.168.7.10\n# end registry.example.com\n");
        assert_eq!(recipe.lines(&values(&["fd00::9"])), ["aaaa=fd00::9"]);
    }

    #[test]
    fn a_list_is_one_line_with_all_addresses() {
        let filled = values(&["192.168.7.9", "fd00::9"]).fill("dns={gateways}");
        assert_eq!(filled, ["dns=192.168.7.9,fd00::9"]);
    }

    #[test]
    fn what_is_for_plain_http_vanishes_where_https_is_used() {
        let recipe = Recipe("url={url}/\nhttp={plain_host}\nca={ca}");
        assert_eq!(
            recipe.lines(&values(&[])),
            ["url=http://registry.example.com/", "http=registry.example.com"]
        );
        let safe = Values {
            url: "https://registry.example.com".parse().unwrap(),
            ca: Some("/ca.pem".into()),
            ..values(&[])
        };
        assert_eq!(recipe.lines(&safe), ["url=https://registry.example.com/", "ca=/ca.pem"]);
    }
}
