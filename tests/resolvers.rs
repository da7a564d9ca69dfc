//! Promise: every resolver that people run leads to the gateway with the recipe that is shipped for it, whatever
//! filters it has; and which of them do not without it is known.
//!
//! Real resolvers on an office's router, with and without protection against DNS rebinding, with and without DNSSEC
//! validation, in a world where the zone above ours is signed or not. A laptop asks them, and a real gateway answers.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use harness::lan::{NameServer, Office, PUBLIC_ENTRY, PublicDns, Publication, Reply, ZONE};
use harness::{Gateway, in_own_network};
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
fn dnsmasq_needs_an_exception_from_its_protection_and_the_recipes_have_it() {
    in_own_network("dnsmasq_needs_an_exception_from_its_protection_and_the_recipes_have_it", &[], || {
        matrix(Dnsmasq, |setting| match setting {
            Setting { protected: true, .. } => Emptied,
            _ => Led,
        });
    });
}

#[test]
fn unbound_needs_exceptions_from_protection_and_validation_and_the_recipes_have_them() {
    in_own_network(
        "unbound_needs_exceptions_from_protection_and_validation_and_the_recipes_have_them",
        &[],
        || {
            matrix(Unbound, |setting| match setting {
                Setting { validating: true, publication: Publication::Signed, .. } => Failed,
                Setting { protected: true, .. } => Emptied,
                _ => Led,
            });
        },
    );
}

#[test]
fn bind_needs_exceptions_from_protection_and_validation_and_the_recipes_have_them() {
    in_own_network(
        "bind_needs_exceptions_from_protection_and_validation_and_the_recipes_have_them",
        &[],
        || {
            matrix(Bind, |setting| match setting {
                Setting { validating: true, publication: Publication::Signed, .. } => Failed,
                Setting { protected: true, .. } => Failed,
                _ => Led,
            });
        },
    );
}

/// Tries every setting: with the bare line the outcome is as `known`, with each recipe it is the gateway.
fn matrix(make: Make, known: impl Fn(Setting) -> Outcome) {
    let scene = Scene::new(&[]);
    let mut surprises = Vec::new();
    for setting in settings() {
        let mut expect = |way, expected| {
            let found = scene.outcome(make, setting, way);
            if found != [expected; 2] {
                surprises.push(format!("{setting:?}, {way:?}: {found:?} instead of {expected:?}"));
            }
        };
        expect(Untold, Public);
        expect(BareLine, known(setting));
        recipes(make).for_each(|recipe| expect(Recipe(recipe), Led));
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
                assert_eq!(scene.outcome(make, strictest, Recipe(recipe)), [Led; 2], "{recipe}");
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
                assert_eq!(
                    scene.office.laptop.look_up(ZONE),
                    [OURS[0].parse::<IpAddr>().expect("an address")]
                );
            }
        }
    });
}

/// The matrix of what filters take, which says why a gateway never names addresses of two kinds at once.
#[test]
fn filters_take_private_addresses_and_dnsmasq_takes_public_ones_with_them() {
    let (private, shared, public) = ("192.168.7.9", "100.64.0.9", "45.83.220.9");
    let test = "filters_take_private_addresses_and_dnsmasq_takes_public_ones_with_them";
    in_own_network(test, &[], || {
        for (addresses, of_dnsmasq, of_unbound) in
            [(&[private][..], "", ""), (&[shared], shared, shared), (&[public], public, public)]
        {
            let scene = Scene::new(addresses);
            let protected =
                Setting { protected: true, validating: false, publication: Publication::Unsigned };
            for (make, left) in [(Dnsmasq, of_dnsmasq), (Unbound, of_unbound)] {
                let _resolver = scene.start(make, protected, BareLine);
                assert_eq!(scene.ask("A").answers.join(" "), left, "{make:?} {addresses:?}");
            }
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
        let builder = Gateway::builder().offline().dns(server.at(53)).dns(server.at_v6(53));
        let builder = builder.config_toml(&format!("[zone]\naddresses = {addresses:?}\n"));
        let gateway = server.run(|| builder.start());
        Self { office, gateway, publics, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// What the laptop gets: for A and for AAAA.
    fn outcome(&self, make: Make, setting: Setting, way: Way) -> [Outcome; 2] {
        let resolver = self.start(make, setting, way);
        [0, 1].map(|family| {
            let reply = self.ask(["A", "AAAA"][family]);
            outcome(&reply, family).unwrap_or_else(|| panic!("{reply}\n{}", resolver.log().join("\n")))
        })
    }

    fn ask(&self, record: &str) -> Reply {
        self.office.laptop.dig(&[record, ZONE])
    }

    fn start(&self, make: Make, setting: Setting, way: Way) -> NameServer {
        match make {
            Dnsmasq => self.dnsmasq(setting, way),
            Unbound => self.unbound(setting, way),
            Bind => self.bind(setting, way),
        }
    }

    fn dnsmasq(&self, setting: Setting, way: Way) -> NameServer {
        let protection = if setting.protected { "stop-dns-rebind\n" } else { "" };
        let base = self.public_dns(setting).for_dnsmasq(setting.validating);
        let lines = self.lines(way, &format!("server=/{ZONE}/{}\n", OURS[0]));
        NameServer::dnsmasq(&self.office.router, &format!("{base}{protection}{lines}"))
    }

    fn unbound(&self, setting: Setting, way: Way) -> NameServer {
        let private = PRIVATE.map(|network| format!("  private-address: {network}\n")).concat();
        let protection = if setting.protected { &private } else { "" };
        let base = self.public_dns(setting).for_unbound(setting.validating);
        let bare = format!("forward-zone:\n  name: \"{ZONE}.\"\n  forward-addr: {}\n", OURS[0]);
        let lines = self.lines(way, &bare);
        NameServer::unbound(&self.office.router, &format!("{base}{protection}{lines}"))
    }

    /// The recipe for forwarding asks for two exceptions in the options, which are there already.
    fn bind(&self, setting: Setting, way: Way) -> NameServer {
        let (mut options, statements) = self.public_dns(setting).for_bind(setting.validating);
        let bare =
            format!("zone \"{ZONE}\" {{ type forward; forward only; forwarders {{ {}; }}; }};\n", OURS[0]);
        let lines = self.lines(way, &bare);
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

    /// What the resolver's admin adds.
    fn lines(&self, way: Way, bare: &str) -> String {
        match way {
            Untold => String::new(),
            BareLine => bare.to_owned(),
            Recipe("bind") => {
                let zone = self.folder.path().join("db.open-registry");
                fs::write(&zone, self.setup("bind-zone")).expect("a file in a new folder");
                self.setup("bind").replace("/etc/bind/db.open-registry", plain(&zone))
            }
            Recipe(name) => self.setup(name),
        }
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
