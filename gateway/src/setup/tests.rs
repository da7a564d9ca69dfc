use std::fs;
use std::path::Path;

use super::*;
use crate::config::{Files, Setting, Sources, load};

fn config(settings: Vec<Setting>) -> Config {
    load(&Sources {
        files: Files::Directory("/nonexistent".into()),
        environment: Vec::new(),
        flags: settings,
    })
    .unwrap()
    .config
}

fn setting(key: &str, addresses: &[&str]) -> Setting {
    let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
    Setting::new("test", key, addresses)
}

fn printed(request: &Request, config: &Config) -> (String, String) {
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    run(request, config, Some(PeerId::of_key([7; 32])), &mut out, &mut notes).unwrap();
    (String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
}

fn request(what: &str, addresses: &[&str]) -> Request {
    let address = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Request { what: Some(what.into()), address, ..Request::default() }
}

#[test]
fn every_file_among_the_recipes_is_in_the_catalogue() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/recipes");
    let mut files = 0;
    for folder in [folder.clone(), folder.join("clients")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && path.file_name().unwrap() != "README.md" {
                let text = fs::read_to_string(&path).unwrap();
                assert!(CATALOGUE.iter().any(|entry| entry.recipe.0 == text), "{}", path.display());
                files += 1;
            }
        }
    }
    assert_eq!(files, CATALOGUE.len());
}

#[test]
fn every_recipe_says_where_it_goes_how_to_check_it_and_how_to_undo_it() {
    for entry in &CATALOGUE {
        let for_resolvers = ["Where:", "Rebinding:", "DNSSEC:", "Check:", "Undo:"];
        let for_clients = ["Where:", "Check:", "Undo:"];
        let asks_names = matches!(entry.audience, Audience::Network | Audience::Computer);
        let labels: &[&str] = if asks_names { &for_resolvers } else { &for_clients };
        for label in labels {
            assert!(entry.recipe.0.contains(label), "{:?} does not say {label}", entry.names);
        }
    }
}

#[test]
fn no_recipe_keeps_a_placeholder_or_touches_the_zone_above() {
    for entry in &CATALOGUE {
        for addresses in [&["192.168.7.9"][..], &["fd00::9"], &["192.168.7.9", "192.168.7.10", "fd00::9"]] {
            let (text, _) = printed(&request(entry.names[0], addresses), &config(Vec::new()));
            for line in text.lines() {
                let marks = line
                    .match_indices('{')
                    .any(|(at, _)| line[at + 1..].starts_with(|letter: char| letter.is_ascii_lowercase()));
                assert!(!marks, "{:?}: {line}", entry.names);
                let above = line.replace("registry.open-registry.dev", "");
                assert!(!above.contains("open-registry.dev"), "{:?}: {line}", entry.names);
            }
        }
    }
}

#[test]
fn without_a_family_a_recipe_is_the_whole_one_without_that_familys_lines() {
    let site = |addresses| Site::of(&request("", addresses).said(), &config(Vec::new()), &[]).unwrap().values;
    let (v4, both) = (site(&["192.168.7.9"]), site(&["192.168.7.9", "fd00::9"]));
    let lists = |entry: &Entry| entry.recipe.lines(&both).iter().any(|line| line.contains("9,fd00::9"));
    for entry in CATALOGUE.iter().filter(|entry| !lists(entry)) {
        let both = entry.recipe.lines(&both).into_iter();
        let kept: Vec<_> = both.filter(|line| !line.contains("fd00::9")).collect();
        assert_eq!(entry.recipe.lines(&v4), kept, "{:?}", entry.names);
    }
}

#[test]
fn names_are_unique_and_a_near_miss_is_told() {
    let mut names: Vec<_> = CATALOGUE.iter().flat_map(|entry| entry.names).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    let error = find("dnsmaq").unwrap_err().to_string();
    assert!(error.contains("did you mean \"dnsmasq\"?"), "{error}");
    assert!(!find("quagga").unwrap_err().to_string().contains("did you mean"));
}

#[test]
fn what_announces_a_gateway_says_who_it_is_and_needs_to_know_it() {
    for name in ["avahi", "resolved-dnssd"] {
        let (text, notes) = printed(&request(name, &[]), &config(Vec::new()));
        let id = PeerId::of_key([7; 32]);
        assert!(text.contains(&format!("id={id}")) && text.contains("6738"), "{text}");
        assert_eq!(notes, "");
        let refused = run(&request(name, &[]), &config(Vec::new()), None, &mut Vec::new(), &mut Vec::new());
        assert!(refused.unwrap_err().to_string().contains("start it once"));
    }
}

#[test]
fn addresses_come_from_the_flag_before_the_zone_before_the_listeners() {
    let zone = setting("zone.addresses", &["192.168.7.2"]);
    let listen = setting("http.listen", &["127.0.0.1:80", "192.168.7.3:80", "192.168.7.3:6736"]);
    let hosts = |addresses: &[&str], settings| {
        let (text, notes) = printed(&request("hosts", addresses), &config(settings));
        assert_eq!(notes, "");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&["192.168.7.1"], vec![zone.clone(), listen.clone()]), ["192.168.7.1"]);
    assert_eq!(hosts(&[], vec![zone, listen.clone()]), ["192.168.7.2"]);
    assert_eq!(hosts(&[], vec![listen]), ["192.168.7.3"]);
}

#[test]
fn of_configured_addresses_a_networks_recipe_names_the_private_ones() {
    let both = setting("zone.addresses", &["198.51.100.9", "192.168.7.9", "fd00::9", "2001:db8::9"]);
    let (text, notes) = printed(&request("dnsmasq-forward", &[]), &config(vec![both]));
    assert!(text.contains("/192.168.7.9\n") && text.contains("/fd00::9\n"), "{text}");
    assert!(
        !text.contains("198.51.100.9") && !text.contains("2001:db8") && !notes.contains("mix"),
        "{text}{notes}"
    );
    let public = setting("zone.addresses", &["198.51.100.9"]);
    assert!(printed(&request("dnsmasq", &[]), &config(vec![public])).0.contains(",198.51.100.9,"));
}

#[test]
fn a_recipe_that_needs_dns_says_so_where_none_is_configured() {
    let (_, notes) = printed(&request("dhcp-isc", &["192.168.7.9"]), &config(Vec::new()));
    assert!(notes.contains("set listen in [dns]") && notes.contains("set forward in [dns]"), "{notes}");
    let served = vec![setting("dns.listen", &["192.168.7.9:53"]), setting("dns.forward", &["192.168.7.1"])];
    assert_eq!(printed(&request("dhcp-isc", &[]), &config(served)).1, "");
}

#[test]
fn mixed_classes_of_addresses_are_warned_of() {
    let (_, notes) = printed(&request("dnsmasq", &["192.168.7.9", "198.51.100.9"]), &config(Vec::new()));
    assert!(notes.contains("one kind"), "{notes}");
}

#[test]
fn the_url_has_a_port_only_where_clients_need_one() {
    let url = |listen: &[&str]| default_url(&config(vec![setting("http.listen", listen)]), false).to_string();
    assert_eq!(url(&["127.0.0.1:6736"]), "http://registry.open-registry.dev/");
    assert_eq!(url(&["0.0.0.0:6736", "0.0.0.0:80"]), "http://registry.open-registry.dev/");
    assert_eq!(url(&["127.0.0.1:80", "192.168.7.9:6736"]), "http://registry.open-registry.dev:6736/");
    let tls = config(vec![setting("http.tls_listen", &["0.0.0.0:8443"])]);
    assert_eq!(default_url(&tls, false).to_string(), "https://registry.open-registry.dev:8443/");
}

#[test]
fn a_certificate_authority_means_https_and_is_named_by_its_whole_path() {
    let request = Request { ca: Some("/etc/site-ca.pem".into()), ..request("npm", &[]) };
    let (text, _) = printed(&request, &config(Vec::new()));
    assert!(text.contains("\nregistry=https://registry.open-registry.dev/\n"), "{text}");
    assert!(text.contains("\ncafile=/etc/site-ca.pem\n"), "{text}");
}

#[test]
fn yarn_is_told_to_accept_plain_http_only_where_it_is_plain() {
    let (plain, _) = printed(&request("yarn", &[]), &config(Vec::new()));
    assert!(plain.contains("\nunsafeHttpWhitelist: [\"registry.open-registry.dev\"]\n"), "{plain}");
    let safe = Request { url: Some("https://npm.example.com".parse().unwrap()), ..request("yarn", &[]) };
    let (safe, _) = printed(&safe, &config(Vec::new()));
    assert!(!safe.contains("unsafeHttp") && safe.contains("\"https://npm.example.com\""), "{safe}");
}

#[test]
fn an_assumed_url_is_told_and_one_that_was_given_is_not() {
    let assumed = printed(&request("npm", &[]), &config(Vec::new())).1;
    assert!(
        assumed.contains("a service whose systemd sockets serve") && assumed.contains("--url"),
        "{assumed}"
    );
    for url in ["http://registry.open-registry.dev", "http://registry.open-registry.dev:6736"] {
        let request = Request { url: Some(url.parse().unwrap()), ..request("npm", &[]) };
        assert_eq!(printed(&request, &config(Vec::new())).1, "");
    }
}

#[test]
fn the_guide_and_the_list_name_what_exists() {
    let (guide, _) = printed(&Request::default(), &config(Vec::new()));
    assert!(guide.contains("registry=http://registry.open-registry.dev/"), "{guide}");
    let (list, _) = printed(&Request { list: true, ..Request::default() }, &config(Vec::new()));
    for entry in &CATALOGUE {
        assert!(list.contains(&format!("  {}", entry.names[0])), "{:?}", entry.names);
    }
}
