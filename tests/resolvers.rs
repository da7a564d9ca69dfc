//! Promise: every resolver that people run leads to the gateway with the recipe that is shipped for it, whatever
//! filters it has; and which of them do not without it is known.
//!
//! Real resolvers on an office's router, with and without protection against DNS rebinding, with and without DNSSEC
//! validation, in a world where the zone above ours is signed or not. A laptop asks them, and a real gateway answers.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use harness::lan::{NameServer, Office, PUBLIC_ENTRY, PublicDns, Publication, Reply, ZONE};
use harness::{Gateway, binary, in_own_network};
use serde_json::Value;
use tempfile::TempDir;

/// The gateway's addresses in the office.
const OURS: [&str; 2] = ["192.168.7.9", "fd00:7::9"];
/// What the protections here take for private, as their manuals advise.
const PRIVATE: [&str; 2] = ["192.168.0.0/16", "fd00::/8"];

/// Who makes the resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    Dnsmasq,
    Unbound,
    Bind,
}
use Make::{Bind, Dnsmasq, Unbound};

/// How it is set up otherwise.
#[derive(Debug, Clone, Copy)]
struct Setting {
    /// Private addresses that come from elsewhere are taken out of answers.
    protected: bool,
    /// Signatures are checked.
    validating: bool,
    /// What there is to check.
    publication: Publication,
}

/// What it is told about the gateway.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Nothing.
    Untold,
    /// Where to ask for the zone, and no exception for it.
    BareLine,
    /// What `open-registry setup` prints.
    Recipe(&'static str),
}
use Way::{BareLine, Recipe, Untold};

/// What a laptop gets that asks for the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The gateway's address.
    Led,
    /// An answer without addresses: a filter took them.
    Emptied,
    /// SERVFAIL.
    Failed,
    /// What the public DNS says.
    Public,
}
use Outcome::{Emptied, Failed, Led, Public};

/// The recipes for each, the one with which the resolver answers by itself first.
const RECIPES: [(Make, &[&str]); 3] = [
    (Dnsmasq, &["dnsmasq", "dnsmasq-forward", "pihole"]),
    (Unbound, &["unbound", "unbound-forward"]),
    (Bind, &["bind", "bind-forward"]),
];

#[test]
fn dnsmasq_filters_private_addresses_and_its_recipes_get_through() {
    in_own_network("dnsmasq_filters_private_addresses_and_its_recipes_get_through", &[], || {
        matrix(Dnsmasq, |setting| match setting {
            Setting { protected: true, .. } => (Emptied, "rebinding-filter"),
            _ => (Led, ""),
        });
    });
}

#[test]
fn unbound_filters_and_validates_and_its_recipes_get_through() {
    in_own_network("unbound_filters_and_validates_and_its_recipes_get_through", &[], || {
        matrix(Unbound, |setting| match setting {
            Setting { validating: true, publication: Publication::Signed, .. } => (Failed, "dnssec"),
            Setting { protected: true, .. } => (Emptied, "rebinding-filter"),
            _ => (Led, ""),
        });
    });
}

#[test]
fn bind_filters_and_validates_and_its_recipes_get_through() {
    in_own_network("bind_filters_and_validates_and_its_recipes_get_through", &[], || {
        matrix(Bind, |setting| match setting {
            // Its filter fails the whole answer, also where validation is switched off for the question.
            Setting { protected: true, .. } => (Failed, "rebinding-filter"),
            Setting { validating: true, publication: Publication::Signed, .. } => (Failed, "dnssec"),
            _ => (Led, ""),
        });
    });
}

/// Tries every setting: untold, with the bare line, and with each recipe. Where the laptop is not led to the gateway,
/// `known` says what it gets, and doctor says why.
fn matrix(make: Make, known: impl Fn(Setting) -> (Outcome, &'static str)) {
    let scene = Scene::new(&[]);
    let mut surprises = Vec::new();
    for setting in settings() {
        let mut expect = |way, (outcome, cause): (Outcome, &str)| {
            let resolver = scene.start(make, setting, way);
            let found = scene.outcome(&resolver);
            let causes = if outcome == Led { Vec::new() } else { scene.causes() };
            if found != [outcome; 2] || (outcome != Led && !causes.iter().any(|found| found == cause)) {
                surprises.push(format!(
                    "{setting:?}, {way:?}: {found:?} {causes:?} instead of {outcome:?} {cause}"
                ));
            }
        };
        expect(Untold, (Public, "forwarder-missing"));
        expect(BareLine, known(setting));
        recipes(make).for_each(|recipe| expect(Recipe(recipe), (Led, "")));
    }
    assert!(surprises.is_empty(), "{make:?}:\n{}", surprises.join("\n"));
}

#[test]
fn the_name_is_answered_while_the_internet_is_away() {
    in_own_network("the_name_is_answered_while_the_internet_is_away", &[], || {
        let scene = Scene::new(&[]);
        let strictest = Setting { protected: true, validating: true, publication: Publication::Delegated };
        scene.office.router.on(&scene.office.internet).cut();
        for (make, recipes) in RECIPES {
            for recipe in recipes {
                let resolver = scene.start(make, strictest, Recipe(recipe));
                assert_eq!(scene.outcome(&resolver), [Led; 2], "{recipe}");
            }
        }
        // What a bare line costs a resolver that validates: without the Internet it cannot know that it may believe.
        let _resolver = scene.start(Unbound, Setting { protected: false, ..strictest }, BareLine);
        assert_eq!(scene.ask("A").answers, [""; 0]);
    });
}

#[test]
fn a_gateway_without_ipv6_gets_no_public_address_beside_its_own() {
    in_own_network("a_gateway_without_ipv6_gets_no_public_address_beside_its_own", &[], || {
        let scene = Scene::new(&[OURS[0]]);
        let strictest = Setting { protected: true, validating: true, publication: Publication::Signed };
        for (make, recipes) in RECIPES {
            for recipe in recipes {
                let _resolver = scene.start(make, strictest, Recipe(recipe));
                assert_eq!(scene.ask("A").to_string(), format!("NOERROR {}", OURS[0]), "{recipe}");
                for record in ["AAAA", "HTTPS"] {
                    assert_eq!(scene.ask(record).to_string(), "NOERROR", "{recipe}, {record}");
                }
                let direct = scene.office.laptop.dig(&["A", &format!("direct.{ZONE}")]);
                assert_eq!(direct.to_string(), format!("NOERROR {}", OURS[0]), "{recipe}");
                assert_eq!(
                    scene.office.laptop.look_up(ZONE),
                    [OURS[0].parse::<IpAddr>().expect("an address")]
                );
            }
        }
    });
}

/// Why the recipes carry exceptions, and why a gateway never names a private address beside a public one.
#[test]
fn filters_take_private_addresses_and_dnsmasq_takes_public_ones_with_them() {
    let test = "filters_take_private_addresses_and_dnsmasq_takes_public_ones_with_them";
    in_own_network(test, &[], || {
        let scene = Scene::new(&[]);
        let protected = Setting { protected: true, validating: false, publication: Publication::Unsigned };
        let teller = scene.office.lan.host("teller");
        for (said, left_by_dnsmasq, left_by_unbound) in [
            ("192.168.7.9", "", ""),
            ("fd00:7::9", "", ""),
            ("192.168.7.9 45.83.220.9", "", "45.83.220.9"),
            ("45.83.220.9", "45.83.220.9", "45.83.220.9"),
            ("2a0d:5600:8::9", "2a0d:5600:8::9", "2a0d:5600:8::9"),
            ("100.64.0.9", "100.64.0.9", "100.64.0.9"),
        ] {
            // It says whatever it is told to, in a gateway's place.
            let records = said.split(' ').map(|address| format!("host-record={ZONE},{address}\n"));
            let _teller = NameServer::dnsmasq(&teller, &records.collect::<String>());
            let record = if said.contains(':') { "AAAA" } else { "A" };
            for (make, left) in [(Dnsmasq, left_by_dnsmasq), (Unbound, left_by_unbound)] {
                let _resolver = scene.start_bare(make, protected, &teller.v4().to_string());
                assert_eq!(scene.ask(record).answers.join(" "), left, "{make:?} {said}");
            }
        }
    });
}

#[test]
fn a_gateway_with_private_and_public_addresses_is_not_taken_away() {
    in_own_network("a_gateway_with_private_and_public_addresses_is_not_taken_away", &[], || {
        let scene = Scene::new(&[OURS[0], OURS[1], "45.83.220.9", "2a0d:5600:8::9"]);
        let strictest = Setting { protected: true, validating: true, publication: Publication::Signed };
        for (make, recipe) in
            [(Dnsmasq, "dnsmasq-forward"), (Unbound, "unbound-forward"), (Bind, "bind-forward")]
        {
            // Its public addresses lead nowhere from here.
            let lines = scene.gateway.ask(&["setup", recipe, "--address", OURS[0]]).expect_success().stdout;
            let resolver = scene.start_with(make, strictest, &lines);
            assert_eq!(scene.outcome(&resolver), [Led; 2], "{recipe}");
        }
    });
}

fn settings() -> impl Iterator<Item = Setting> {
    let both = [false, true];
    let publications = [Publication::Unsigned, Publication::Delegated, Publication::Signed];
    both.into_iter().flat_map(move |protected| {
        both.into_iter().flat_map(move |validating| {
            publications.map(|publication| Setting { protected, validating, publication })
        })
    })
}

fn recipes(make: Make) -> impl Iterator<Item = &'static str> {
    RECIPES.into_iter().filter(move |(of, _)| *of == make).flat_map(|(_, recipes)| recipes.iter().copied())
}

/// An office with a gateway, and three versions of the public DNS.
struct Scene {
    office: Office,
    gateway: Gateway,
    publics: Vec<(Publication, PublicDns)>,
    folder: TempDir,
}

impl Scene {
    /// The gateway names the addresses at which it is asked, or these.
    fn new(addresses: &[&str]) -> Self {
        let office = Office::new(&[]);
        let others = [Publication::Unsigned, Publication::Signed];
        let publics = others.map(|one| (one, PublicDns::new(&office.internet, one, &[]))).into();
        let server = &office.server;
        let builder = Gateway::builder().offline().listen(server.at(80)).listen(server.at_v6(80));
        let builder = builder.dns(server.at(53)).dns(server.at_v6(53));
        let builder = builder.config_toml(&format!("[zone]\naddresses = {addresses:?}\n"));
        let gateway = server.run(|| builder.start());
        Self { office, gateway, publics, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// What the laptop gets: for A and for AAAA.
    fn outcome(&self, resolver: &NameServer) -> [Outcome; 2] {
        [0, 1].map(|family| {
            let reply = self.ask(["A", "AAAA"][family]);
            outcome(&reply, family).unwrap_or_else(|| panic!("{reply}\n{}", resolver.log().join("\n")))
        })
    }

    /// The problems that doctor sees from the laptop, where it is told of the gateway.
    fn causes(&self) -> Vec<String> {
        let program = binary();
        let arguments = ["doctor", "--json", "--gateway", OURS[0]];
        let said = self.office.laptop.output(plain(&program), &arguments).stdout;
        let found: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let findings = found["findings"].as_array().expect("a list").iter();
        let problems = findings.filter(|finding| finding["level"] == "problem");
        problems.map(|finding| finding["topic"].as_str().expect("a word").to_owned()).collect()
    }

    fn ask(&self, record: &str) -> Reply {
        self.office.laptop.dig(&[record, ZONE])
    }

    fn start(&self, make: Make, setting: Setting, way: Way) -> NameServer {
        match way {
            Untold => self.start_with(make, setting, ""),
            BareLine => self.start_bare(make, setting, OURS[0]),
            Recipe(name) => self.start_with(make, setting, &self.recipe(name)),
        }
    }

    /// With the line that sends questions about the zone to this address, and nothing else.
    fn start_bare(&self, make: Make, setting: Setting, address: &str) -> NameServer {
        let line = match make {
            Dnsmasq => format!("server=/{ZONE}/{address}"),
            Unbound => format!("forward-zone:\n  name: \"{ZONE}.\"\n  forward-addr: {address}"),
            Bind => {
                format!("zone \"{ZONE}\" {{ type forward; forward only; forwarders {{ {address}; }}; }};")
            }
        };
        self.start_with(make, setting, &line)
    }

    fn start_with(&self, make: Make, setting: Setting, lines: &str) -> NameServer {
        match make {
            Dnsmasq => self.dnsmasq(setting, lines),
            Unbound => self.unbound(setting, lines),
            Bind => self.bind(setting, lines),
        }
    }

    fn dnsmasq(&self, setting: Setting, lines: &str) -> NameServer {
        let protection = if setting.protected { "stop-dns-rebind\n" } else { "" };
        let base = self.public_dns(setting).for_dnsmasq(setting.validating);
        NameServer::dnsmasq(&self.office.router, &format!("{base}{protection}{lines}"))
    }

    fn unbound(&self, setting: Setting, lines: &str) -> NameServer {
        let private = PRIVATE.map(|network| format!("  private-address: {network}\n")).concat();
        let protection = if setting.protected { &private } else { "" };
        let base = self.public_dns(setting).for_unbound(setting.validating);
        NameServer::unbound(&self.office.router, &format!("{base}{protection}{lines}"))
    }

    /// The recipe for forwarding asks for two exceptions in the options, which are there already.
    fn bind(&self, setting: Setting, lines: &str) -> NameServer {
        let (mut options, statements) = self.public_dns(setting).for_bind(setting.validating);
        let asked_for = |exception: &str| {
            let exception = format!("{exception} {{ \"{ZONE}\"; }}");
            if lines.contains(&exception) { exception } else { String::new() }
        };
        if setting.protected {
            let except = asked_for("except-from");
            options += &format!("deny-answer-addresses {{ {}; }} {except};\n", PRIVATE.join("; "));
        }
        let exception = asked_for("validate-except");
        if !exception.is_empty() {
            options += &format!("{exception};\n");
        }
        NameServer::bind(&self.office.router, &options, &format!("{statements}\n{lines}"))
    }

    fn public_dns(&self, setting: Setting) -> &PublicDns {
        let other = self.publics.iter().find(|(publication, _)| *publication == setting.publication);
        other.map_or(&self.office.public_dns, |(_, public_dns)| public_dns)
    }

    /// As an admin puts it in place: BIND's is two files.
    fn recipe(&self, name: &str) -> String {
        if name != "bind" {
            return self.setup(name);
        }
        let zone = self.folder.path().join("db.open-registry");
        fs::write(&zone, self.setup("bind-zone")).expect("a file in a new folder");
        self.setup(name).replace("/etc/bind/db.open-registry", plain(&zone))
    }

    fn setup(&self, recipe: &str) -> String {
        self.gateway.ask(&["setup", recipe]).expect_success().stdout
    }
}

fn outcome(reply: &Reply, family: usize) -> Option<Outcome> {
    let answers: Vec<&str> = reply.answers.iter().map(String::as_str).collect();
    match (reply.status.as_str(), answers.as_slice()) {
        ("NOERROR", [address]) if *address == OURS[family] => Some(Led),
        ("NOERROR", [address]) if *address == PUBLIC_ENTRY[family] => Some(Public),
        ("NOERROR", []) => Some(Emptied),
        ("SERVFAIL", []) => Some(Failed),
        _ => None,
    }
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("a temporary folder with a plain name")
}
